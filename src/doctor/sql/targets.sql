-- Each object type with its table, what is installed for it, and whether the function is as it was written.
-- $1 object types, $2 schemas, $3 tables.
select
    a.object_type,
    format('%I.%I', a.schema, a.name) as table_name,
    c.oid::bigint as relation,
    t.id as target,
    t.relation::bigint as target_relation,
    p.oid is not null as has_function,
    coalesce(f.seal = t.function_seal, false) as is_as_written,
    pg_catalog.pg_get_userbyid(p.proowner)::text as owner
from unnest($1, $2, $3) as a (object_type, schema, name)
left join pg_catalog.pg_namespace as n on n.nspname = a.schema
left join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = a.name and c.relkind in ('r', 'p')
left join rowcall.capture_target as t on t.object_type = a.object_type and t.removed_at is null
left join (pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as o on o.oid = p.pronamespace and o.nspname = 'rowcall')
    on p.proname = 'capture_' || t.id
left join rowcall.capture_function as f on f.target = t.id
order by a.object_type
