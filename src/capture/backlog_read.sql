-- The changes of source $1's oldest backlog after number $2: those that the cursor which it remembers had not passed.
-- Only numbers and snapshots are compared, so it does not matter that the transaction ids of some are another
-- database's. What was published has no number above seq_seen.
select c.seq, c.xid::text::bigint as xid, c.target, c.relation::bigint as relation, c.op::text as op,
    c.before::text as before, c.after::text as after, c.at, c.role,
    nullif(c.actor, '') as actor, nullif(c.traceparent, '') as traceparent
from rowcall.change as c
join (
    select * from rowcall.source_backlog where source = $1 order by seq_to limit 1
) as b on c.seq > b.seq_from and c.seq <= b.seq_to
where c.seq > $2
    and (c.seq > b.seq_seen or not pg_catalog.pg_visible_in_snapshot(c.xid, b.snapshot))
    and (b.batch_snapshot is null or c.seq > b.batch_seq
        or not pg_catalog.pg_visible_in_snapshot(c.xid, b.batch_snapshot))
order by seq
