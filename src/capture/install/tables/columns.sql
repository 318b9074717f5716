-- The columns of each of the tables $1 and of everything that inherits from it, each with the kinds of values that may
-- be in it (domains, arrays, composites and ranges are looked through: the name of one of Postgres' own types, `enum`,
-- `range`, or `any` for a type that somebody else made) and whether somebody defined a cast to json of the type or of
-- one of its parts, which row_to_json would call inside the writer's statement.
with recursive tree (root, oid) as (
    select w.oid, w.oid from pg_catalog.unnest($1::bigint[]::oid[]) as w (oid)
    union
    select tree.root, i.inhrelid from tree join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
),
part (root, attnum, name, type) as (
    select tree.root, a.attnum, a.attname::text, a.atttypid
    from tree join pg_catalog.pg_attribute as a on a.attrelid = tree.oid
    where a.attnum > 0 and not a.attisdropped
    union
    select part.root, part.attnum, part.name, inside.type
    from part
    join pg_catalog.pg_type as t on t.oid = part.type
    cross join lateral (
        select t.typbasetype where t.typtype = 'd'
        union all
        select t.typelem where t.typcategory = 'A' and t.typelem <> 0
        union all
        select a.atttypid from pg_catalog.pg_attribute as a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        union all
        select r.rngsubtype from pg_catalog.pg_range as r where t.oid in (r.rngtypid, r.rngmultitypid)
    ) as inside (type)
)
select part.root::bigint as root, part.name,
    coalesce(array_agg(distinct
        case
            when t.typtype = 'e' then 'enum'
            when t.typtype in ('r', 'm') then 'range'
            when t.typtype = 'b' and t.typnamespace = 'pg_catalog'::regnamespace then t.typname::text
            else 'any'
        end
    ) filter (where t.typtype not in ('c', 'd') and t.typcategory <> 'A'), '{}') as kinds,
    bool_or(exists (
        -- 16384: the first oid that is not Postgres' own.
        select from pg_catalog.pg_cast as c
        where c.castsource = part.type and c.casttarget = 'json'::regtype and c.oid >= 16384
    )) as has_json_cast
from part join pg_catalog.pg_type as t on t.oid = part.type
group by part.root, part.name
order by part.root, min(part.attnum)
