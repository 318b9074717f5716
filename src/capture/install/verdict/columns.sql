-- The columns of the tables $1 as lowered conditions see them: where they stand, of which type, and of which type
-- below, if that is a domain.
select
    a.attrelid::bigint as relation,
    a.attname::text as name,
    a.attnum::integer as place,
    a.atttypid::bigint as type_oid,
    below.oid::bigint as base_oid,
    pg_catalog.format_type(below.oid, below.typmod) as value_type,
    t.typtype = 'e' and below.oid = a.atttypid as is_enum,
    -- Such a type becomes text as it is: citext does.
    t.typname = 'citext' and exists (
        select from pg_catalog.pg_cast as c
        where c.castsource = below.oid and c.casttarget = 'text'::pg_catalog.regtype and c.castmethod = 'b'
    ) as is_text
from pg_catalog.pg_attribute as a
cross join lateral (
    with recursive below (oid, typmod) as (
        select a.atttypid, a.atttypmod
        union all
        select d.typbasetype, case d.typtypmod when -1 then b.typmod else d.typtypmod end
        from below as b join pg_catalog.pg_type as d on d.oid = b.oid and d.typtype = 'd'
    )
    select b.oid, b.typmod
    from below as b join pg_catalog.pg_type as d on d.oid = b.oid and d.typtype <> 'd'
) as below
join pg_catalog.pg_type as t on t.oid = below.oid
where a.attrelid = any ($1::bigint[]::pg_catalog.oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
