-- The types of the columns $3 of the table $1.$2. A value is read as the type under all domains: their checks would
-- run their owner's functions with Rowcall's rights, and an event's key is spelled by the type below anyway. A domain
-- inside of a type (an array's, a range's, a field's) can't be looked through. A cast to json that somebody defined
-- is not called when a row is captured, either (see capture/install/tables/columns.sql).
with recursive named as (
    select a.attname, a.atttypid, a.atttypmod
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2 and a.attname = any($3) and a.attnum > 0 and not a.attisdropped
),
below (name, type, typmod) as (
    select attname, atttypid, atttypmod from named
    union all
    select b.name, t.typbasetype, t.typtypmod
    from below as b join pg_type as t on t.oid = b.type and t.typtype = 'd'
),
base as (
    select b.name, b.type, b.typmod from below as b join pg_type as t on t.oid = b.type and t.typtype <> 'd'
),
part (name, type) as (
    select name, type from base
    union
    select part.name, inside.type
    from part
    join pg_type as t on t.oid = part.type
    cross join lateral (
        select t.typbasetype where t.typtype = 'd'
        union all
        select t.typelem where t.typcategory = 'A' and t.typelem <> 0
        union all
        select a.atttypid from pg_attribute as a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        union all
        select r.rngsubtype from pg_range as r where t.oid in (r.rngtypid, r.rngmultitypid)
    ) as inside (type)
)
select
    named.attname::text as name,
    format_type(named.atttypid, named.atttypmod) as named,
    format_type(base.type, base.typmod) as bounded,
    format_type(base.type, -1) as unbounded,
    exists (
        select from part join pg_type as t on t.oid = part.type
        where part.name = named.attname and t.typtype = 'd'
    ) as has_domain_inside,
    exists (
        -- 16384: the first oid that is not Postgres' own.
        select from (table below union all select name, type, null from part) as p (name, type, typmod)
        join pg_cast as c on c.castsource = p.type and c.casttarget = 'json'::regtype and c.oid >= 16384
        where p.name = named.attname
    ) as has_json_cast
from named join base on base.name = named.attname
