-- The key columns $2 of the table $1: those of a unique index that has no others first, in its order; so that an
-- ordered read can use it.
with wanted as (
    select a.attnum, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type_name, k.place,
        (select format('%I.%I', n.nspname, c.collname)
         from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace
         where c.oid = a.attcollation) as collation
    from unnest($2::text[]) with ordinality as k (name, place)
    join pg_attribute as a on a.attrelid = $1::oid and a.attname = k.name and a.attnum > 0 and not a.attisdropped
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
select w.name, w.type_name, w.collation
from wanted as w
left join lateral (
    select c.place
    from candidate join pg_index as i using (indexrelid)
    cross join unnest(i.indkey::int2[]) with ordinality as c (attnum, place)
    where c.attnum = w.attnum and c.place <= i.indnkeyatts
) as indexed on true
order by indexed.place nulls last, w.place
