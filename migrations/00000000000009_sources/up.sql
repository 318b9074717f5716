-- Rows of other databases. Their changes are copied into the change table, in one transaction with the cursor that
-- rowcall.source has for each of them.

-- The writer's transaction there. Null: it was a transaction of this database, and xid is its id.
alter table rowcall.change add column source_xid xid8;

-- What the other databases know this repository by.
alter table rowcall.registry add column repository uuid not null default pg_catalog.gen_random_uuid();

-- What copied changes have as their target. The numbers are apart from those of capture_target, whose sequence they
-- share; they stay, for changes name them.
create table rowcall.source_target (
    id          integer primary key
        default pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('rowcall.capture_target', 'id')),
    source      text not null check (source <> 'default'),
    object_type text not null check (object_type <> ''),
    unique (source, object_type)
);

-- The tables of object types of other sources as they were when somebody looked last, so that conditions can be
-- judged while such a database is away.
create table rowcall.source_table (
    source      text not null check (source <> 'default'),
    schema_name text not null,
    table_name  text not null,
    shape       json not null check (json_typeof(shape) = 'object'),
    primary key (source, schema_name, table_name)
);

-- As before, with the writer's transaction.
create or replace view rowcall.backlog_change as
select b.source, b.seq_to, b.seq as seq_published,
    c.seq, c.xid, c.target, c.relation, c.op, c.before, c.after, c.at, c.role, c.actor, c.traceparent, c.source_xid
from rowcall.source_backlog as b
join rowcall.change as c on c.seq > b.seq_from and c.seq <= b.seq_to
where (c.seq > b.seq_seen or not pg_catalog.pg_visible_in_snapshot(c.xid, b.snapshot))
    and (b.batch_snapshot is null or c.seq > b.batch_seq
        or not pg_catalog.pg_visible_in_snapshot(c.xid, b.batch_snapshot));
