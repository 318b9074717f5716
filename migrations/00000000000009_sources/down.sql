drop view rowcall.backlog_change;

drop table rowcall.source_table;
drop table rowcall.source_target;
alter table rowcall.registry drop column repository;
alter table rowcall.change drop column source_xid;

create view rowcall.backlog_change as
select b.source, b.seq_to, b.seq as seq_published,
    c.seq, c.xid, c.target, c.relation, c.op, c.before, c.after, c.at, c.role, c.actor, c.traceparent
from rowcall.source_backlog as b
join rowcall.change as c on c.seq > b.seq_from and c.seq <= b.seq_to
where (c.seq > b.seq_seen or not pg_catalog.pg_visible_in_snapshot(c.xid, b.snapshot))
    and (b.batch_snapshot is null or c.seq > b.batch_seq
        or not pg_catalog.pg_visible_in_snapshot(c.xid, b.batch_snapshot));
