-- The columns of the object types' tables that may be large, or that can't be captured as they are. Domains are looked
-- through, and the parts of arrays and composites too. $1 object types, $2 schemas, $3 tables.
with recursive root (object_type, oid) as (
    select a.object_type, c.oid
    from unnest($1, $2, $3) as a (object_type, schema, name)
    join pg_catalog.pg_namespace as n on n.nspname = a.schema
    join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = a.name and c.relkind in ('r', 'p')
),
tree (object_type, oid) as (
    select * from root
    union
    select tree.object_type, i.inhrelid from tree join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
),
toast (object_type, bytes) as (
    select tree.object_type, sum(pg_catalog.pg_relation_size(c.reltoastrelid))::bigint
    from tree join pg_catalog.pg_class as c on c.oid = tree.oid and c.reltoastrelid <> 0
    group by tree.object_type
),
part (object_type, attnum, type, is_whole) as (
    select root.object_type, a.attnum, a.atttypid, true
    from root join pg_catalog.pg_attribute as a on a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped
    union
    select part.object_type, part.attnum, inside.type, part.is_whole and inside.is_base
    from part
    join pg_catalog.pg_type as t on t.oid = part.type
    cross join lateral (
        select t.typbasetype, true where t.typtype = 'd'
        union all
        select t.typelem, false where t.typelem <> 0
        union all
        select a.atttypid, false from pg_catalog.pg_attribute as a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) as inside (type, is_base)
)
select
    root.object_type,
    a.attname as name,
    format_type(a.atttypid, a.atttypmod) as type,
    -- Kept out of line when it is large.
    a.attlen = -1 and a.attstorage in ('x', 'e') as is_extendable,
    coalesce(toast.bytes, 0) as toast_bytes,
    exists (select from part where part.object_type = root.object_type and part.attnum = a.attnum
        and part.is_whole and part.type = 'json'::regtype) as is_json,
    exists (
        -- 16384: the first oid that is not Postgres' own.
        select from part join pg_catalog.pg_cast as c on c.castsource = part.type
        where part.object_type = root.object_type and part.attnum = a.attnum
            and c.casttarget = 'json'::regtype and c.oid >= 16384) as has_json_cast
from root
join pg_catalog.pg_attribute as a on a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped
left join toast on toast.object_type = root.object_type
order by root.object_type, a.attnum
