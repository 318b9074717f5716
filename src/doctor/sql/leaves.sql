-- The leaves of the change table, oldest first.
select r.number, r.opened_at, r.closed_at,
    coalesce(pg_catalog.pg_total_relation_size(c.oid), 0) as bytes,
    greatest(coalesce(c.reltuples, 0), 0)::bigint as rows
from rowcall.rotation as r
left join (pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'rowcall')
    on c.relname = 'change_' || r.number
order by r.number
