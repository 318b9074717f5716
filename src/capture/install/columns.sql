-- The columns of a table and of everything that inherits from it, each with its base type's name (domains are looked
-- through) and whether somebody defined a cast to json of the type or of one of its parts, which row_to_json would
-- call inside the writer's statement.
with recursive tree (oid) as (
    select $1::oid
    union
    select i.inhrelid from tree join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
),
part (attnum, name, type, is_whole) as (
    select a.attnum, a.attname::text, a.atttypid, true
    from tree join pg_catalog.pg_attribute as a on a.attrelid = tree.oid
    where a.attnum > 0 and not a.attisdropped
    union
    select part.attnum, part.name, inside.type, part.is_whole and inside.is_base
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
select part.name,
    min(t.typname::text) filter (where part.is_whole and t.typtype <> 'd') as base,
    bool_or(exists (
        -- 16384: the first oid that is not Postgres' own.
        select from pg_catalog.pg_cast as c
        where c.castsource = part.type and c.casttarget = 'json'::regtype and c.oid >= 16384
    )) as has_json_cast
from part join pg_catalog.pg_type as t on t.oid = part.type
group by part.name
order by min(part.attnum)
