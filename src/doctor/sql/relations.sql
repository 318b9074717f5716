-- The object types' tables with everything that inherits from them, and the row triggers that call their functions. A
-- partition has a clone of its root's. $1 object types, $2 schemas, $3 tables.
with recursive tree (object_type, oid, is_root) as (
    select a.object_type, c.oid, true
    from unnest($1, $2, $3) as a (object_type, schema, name)
    join pg_catalog.pg_namespace as n on n.nspname = a.schema
    join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = a.name and c.relkind in ('r', 'p')
    union
    select tree.object_type, i.inhrelid, false
    from tree join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
)
select
    tree.object_type,
    tree.is_root,
    format('%I.%I', n.nspname, c.relname) as name,
    c.relkind as kind,
    c.relpersistence as persistence,
    coalesce(pg_catalog.has_table_privilege(c.oid, 'TRIGGER'), false) as can_trigger,
    coalesce((select json_agg(json_build_object(
            'name', g.tgname, 'enabled', g.tgenabled, 'events', g.tgtype::integer & 28) order by g.tgname)
        from pg_catalog.pg_trigger as g
        where g.tgrelid = c.oid and (g.tgtype & 1) = 1 and g.tgfoid = p.oid), '[]') as triggers,
    exists (select from pg_catalog.pg_subscription_rel as s where s.srrelid = c.oid) as is_replicated
from tree
join pg_catalog.pg_class as c on c.oid = tree.oid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join rowcall.capture_target as t on t.object_type = tree.object_type and t.removed_at is null
left join (pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as o on o.oid = p.pronamespace and o.nspname = 'rowcall')
    on p.proname = 'capture_' || t.id
order by tree.object_type, tree.is_root desc, 3
