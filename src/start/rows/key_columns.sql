-- The key columns $2 of the table $1: those of a unique index that has no others first, in its order; so that an
-- ordered read can use it. The type is that under all domains, whose checks would run their owner's functions with
-- Rowcall's rights. A type that brings its own order brings operators in a schema of its own.
with recursive named as (
    select a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, k.place
    from unnest($2::text[]) with ordinality as k (name, place)
    join pg_attribute as a on a.attrelid = $1::oid and a.attname = k.name and a.attnum > 0 and not a.attisdropped
),
base (attnum, type, typmod) as (
    select attnum, atttypid, atttypmod from named
    union all
    select b.attnum, t.typbasetype, t.typtypmod
    from base as b join pg_type as t on t.oid = b.type where t.typtype = 'd'
),
wanted as (
    select a.attnum, a.attname::text as name, format_type(b.type, b.typmod) as type_name, a.place,
        (select quote_ident(n.nspname)
         from pg_opclass as c
         join pg_am as m on m.oid = c.opcmethod and m.amname = 'btree'
         join pg_amop as o on o.amopfamily = c.opcfamily and o.amopstrategy = 5
            and o.amoplefttype = c.opcintype and o.amoprighttype = c.opcintype
         join pg_operator as p on p.oid = o.amopopr
         join pg_namespace as n on n.oid = p.oprnamespace
         where c.opcintype = b.type and c.opcdefault and n.nspname <> 'pg_catalog') as operators,
        (select format('%I.%I', n.nspname, c.collname)
         from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace
         where c.oid = a.attcollation) as collation
    from named as a
    join base as b on b.attnum = a.attnum
    join pg_type as t on t.oid = b.type and t.typtype <> 'd'
),
candidate as (
    select i.indexrelid
    from pg_index as i
    where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
        and not exists (
            select from unnest(i.indkey::int2[]) with ordinality as c (attnum, place)
            where c.place <= i.indnkeyatts and c.attnum not in (select attnum from wanted))
    order by i.indisprimary desc, i.indnkeyatts desc, i.indexrelid
    limit 1
)
select w.name, w.type_name, w.collation, w.operators
from wanted as w
left join lateral (
    select c.place
    from candidate join pg_index as i using (indexrelid)
    cross join unnest(i.indkey::int2[]) with ordinality as c (attnum, place)
    where c.attnum = w.attnum and c.place <= i.indnkeyatts
) as indexed on true
order by indexed.place nulls last, w.place
