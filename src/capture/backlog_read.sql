-- The changes of source $1's oldest backlog after number $2. Others than backlogs are read by transaction ids.
select c.seq, c.xid::text::bigint as xid, c.source_xid::text::bigint as source_xid, c.target,
    c.relation::bigint as relation, c.op::text as op,
    c.before::text as before, c.after::text as after, c.at, c.role,
    nullif(c.actor, '') as actor, nullif(c.traceparent, '') as traceparent
from rowcall.backlog_change as c
where c.source = $1 and c.seq > $2
    and c.seq_to = (select min(b.seq_to) from rowcall.source_backlog as b where b.source = $1)
order by seq
