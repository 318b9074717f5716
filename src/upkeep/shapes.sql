-- The captured tables whose columns are others than when they were last looked at. The id of the transaction that wrote
-- a column's row tells every change of it, also one that was taken back; a table that is gone has a fingerprint, too.
select t.id, coalesce(found.shape, 'gone') as shape
from rowcall.capture_target as t
left join lateral (
    select c.oid || ':' || pg_catalog.md5(coalesce(
        pg_catalog.string_agg(a.attnum || ' ' || a.xmin::text, ',' order by a.attnum), '')) as shape
    from pg_catalog.pg_namespace as n
    join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
    left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where n.nspname = pg_catalog.split_part(t.table_name, '.', 1)
        and c.relname = pg_catalog.split_part(t.table_name, '.', 2)
    group by c.oid
) as found on true
where t.removed_at is null and t.shape <> coalesce(found.shape, 'gone')
order by t.id
