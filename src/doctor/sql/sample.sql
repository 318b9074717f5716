-- How large the columns are in recently captured rows: a few changes from the last pages of the leaf that is written,
-- whose name is put in by store.rs.
select t.object_type, e.key as name, avg(octet_length(e.value::text))::bigint as bytes, count(*) as rows
from (
    select c.target, c.after
    from {{leaf}} as c
    where c.ctid >= format('(%s,0)', greatest(pg_catalog.pg_relation_size('{{leaf}}') / 8192 - 50, 0))::tid
        and c.op in ('c', 'u') and c.after is not null
    limit 100
) as c
join rowcall.capture_target as t on t.id = c.target and t.removed_at is null
cross join lateral json_each(c.after) as e
group by t.object_type, e.key
order by t.object_type, e.key
