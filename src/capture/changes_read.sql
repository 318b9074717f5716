-- What is visible in snapshot $2 and not in snapshot $1, after change $3. The first part is the transactions that
-- began after $1; the second those that were open in $1 and have ended. A transaction that stays open is looked up
-- by neither, so it costs nothing until it ends.
with ended as (
    select array(
        select x from pg_catalog.pg_snapshot_xip($1::pg_snapshot) as x
        except
        select x from pg_catalog.pg_snapshot_xip($2::pg_snapshot) as x
    ) as xids
)
select c.seq, c.xid::text::bigint as xid, c.source_xid::text::bigint as source_xid, c.target,
    c.relation::bigint as relation, c.op::text as op,
    c.before::text as before, c.after::text as after, c.at, c.role,
    nullif(c.actor, '') as actor, nullif(c.traceparent, '') as traceparent
from rowcall.change as c
where c.xid >= pg_catalog.pg_snapshot_xmax($1::pg_snapshot)
    and c.xid < pg_catalog.pg_snapshot_xmax($2::pg_snapshot)
    and pg_catalog.pg_visible_in_snapshot(c.xid, (select $2::pg_snapshot))
    and c.seq > $3
union all
select c.seq, c.xid::text::bigint, c.source_xid::text::bigint, c.target,
    c.relation::bigint, c.op::text,
    c.before::text, c.after::text, c.at, c.role,
    nullif(c.actor, ''), nullif(c.traceparent, '')
from rowcall.change as c
where c.xid = any ((select xids from ended)::xid8[])
    and c.seq > $3
order by seq
