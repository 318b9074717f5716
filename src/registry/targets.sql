-- The targets of changes, each with the columns that its table and the partitions below it are partitioned by. The name
-- is compared, too: the oid of a table that is gone may be another's.
select t.id, 'default' as source, t.object_type, array(
    with recursive tree (oid) as (
        select c.oid
        from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where c.oid = t.relation and c.relkind = 'p' and n.nspname || '.' || c.relname = t.table_name
        union
        select i.inhrelid from tree join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
    )
    select distinct a.attname::text
    from tree
    join pg_catalog.pg_partitioned_table as p on p.partrelid = tree.oid
    join pg_catalog.pg_attribute as a on a.attrelid = p.partrelid
        and a.attnum = any (p.partattrs::pg_catalog.int2[])
) as partitioned_by
from rowcall.capture_target as t
union all
select id, source, object_type, '{}' from rowcall.source_target
order by id
