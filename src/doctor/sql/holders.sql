-- What keeps old rows and leaves from being cleaned away: old transactions, prepared ones, and replication slots.
-- $1 is an age in seconds.
select 'session' as kind, a.pid::text as id, coalesce(a.usename::text, '') as role,
    extract(epoch from clock_timestamp() - a.xact_start)::bigint as seconds
from pg_catalog.pg_stat_activity as a
where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
    and a.xact_start < clock_timestamp() - make_interval(secs => $1)
union all
select 'prepared', p.gid, p.owner::text, extract(epoch from clock_timestamp() - p.prepared)::bigint
from pg_catalog.pg_prepared_xacts as p
where p.database = current_database() and p.prepared < clock_timestamp() - make_interval(secs => $1)
union all
select 'slot', s.slot_name::text, coalesce(s.plugin::text, 'physical'), 0
from pg_catalog.pg_replication_slots as s
where not s.active and (s.xmin is not null or s.restart_lsn is not null)
order by 1, 4 desc, 2
limit 50
