-- Which database a source is, so that one that was restored, promoted or replaced is noticed; and what was not
-- captured, or not published, from when to when.

alter table rowcall.source
    -- What the database was when it was last read; null until it is read for the first time.
    add column system_identifier bigint,
    add column database_oid      oid,
    add column timeline          integer,
    -- The last number that the sequence of changes had given when a batch was read. What was published has none
    -- above it.
    add column seq_seen          bigint not null default 0,
    -- Changes up to this number were published, skipped, or are in the backlog: they are not looked at again, whatever
    -- their transaction ids, which may be those of another database.
    add column seq_floor         bigint not null default 0,
    -- When seq_floor was set.
    add column rebased_at        timestamptz,
    -- Reading stops until `rowcall source rebase`.
    add column stopped_at        timestamptz,
    add column stop_kind         text check (stop_kind in ('restored', 'failover', 'sequence')),
    add column stop_reason       text,
    -- Nothing of it is captured until `rowcall source attach`.
    add column detached_at       timestamptz,
    add constraint source_epoch_check check (num_nulls(system_identifier, database_oid, timeline) in (0, 3)),
    add constraint source_stop_check check (num_nulls(stopped_at, stop_kind, stop_reason) in (0, 3));

-- Changes that were unread when a source was rebased: of the numbers from seq_from, not included, up to seq_to those
-- that the cursor of that time had not passed. They are published before anything newer, the lowest numbers first.
create table rowcall.source_backlog (
    source         text not null references rowcall.source on delete cascade,
    seq_from       bigint not null,
    seq_to         bigint not null,
    -- The cursor as it was.
    snapshot       pg_snapshot not null,
    batch_snapshot pg_snapshot,
    batch_seq      bigint,
    seq_seen       bigint not null,
    -- The last one that was published.
    seq            bigint not null,
    primary key (source, seq_to),
    check (seq_from <= seq_to),
    check (seq between seq_from and seq_to),
    check ((batch_snapshot is null) = (batch_seq is null))
);

-- What is in the backlogs, and how far they were published: the one place that says it. Only numbers and snapshots are
-- compared, so it does not matter that the transaction ids of some changes are another database's: what was published
-- was visible in the cursor's snapshot and has no number above seq_seen.
create view rowcall.backlog_change as
select b.source, b.seq_to, b.seq as seq_published,
    c.seq, c.xid, c.target, c.relation, c.op, c.before, c.after, c.at, c.role, c.actor, c.traceparent
from rowcall.source_backlog as b
join rowcall.change as c on c.seq > b.seq_from and c.seq <= b.seq_to
where (c.seq > b.seq_seen or not pg_catalog.pg_visible_in_snapshot(c.xid, b.snapshot))
    and (b.batch_snapshot is null or c.seq > b.batch_seq
        or not pg_catalog.pg_visible_in_snapshot(c.xid, b.batch_snapshot));

-- What somebody may miss.
create table rowcall.source_gap (
    id          bigint primary key generated always as identity,
    source      text not null references rowcall.source on delete cascade,
    -- Null: of all that are captured.
    object_type text,
    -- detached: nothing was captured; skipped: it was captured and is not published; restored, failover: what an
    -- earlier state of the database had after began_at may be gone.
    reason      text not null check (reason in ('detached', 'skipped', 'restored', 'failover')),
    -- Null: not known.
    began_at    timestamptz,
    -- Null: it goes on.
    ended_at    timestamptz,
    -- How many changes, where that is known.
    changes     bigint check (changes >= 0),
    check (ended_at >= began_at),
    check (reason <> 'detached' or (object_type is not null and began_at is not null)),
    check (reason = 'detached' or ended_at is not null)
);

create unique index source_gap_open on rowcall.source_gap (source, object_type) where ended_at is null;
