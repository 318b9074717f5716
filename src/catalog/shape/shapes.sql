-- One row for each asked-for relation that is there; its shape as JSON, in shape.rs' names.
select
    n.nspname::text as schema,
    c.relname::text as name,
    json_build_object(
        'kind', c.relkind,
        'temporary', c.relpersistence = 't',
        'can_trigger', has_table_privilege(c.oid, 'TRIGGER'),
        'owned', pg_has_role(c.relowner, 'USAGE'),
        'columns', coalesce((
            select json_agg(json_build_object(
                'name', a.attname,
                'type_name', format_type(a.atttypid, a.atttypmod),
                'type_oid', a.atttypid::bigint,
                'value_type', case when own.typtype <> 'd' then format_type(a.atttypid, a.atttypmod) else (
                    with recursive below (oid, typmod) as (
                        select a.atttypid, a.atttypmod
                        union all
                        select t.typbasetype, case t.typtypmod when -1 then b.typmod else t.typtypmod end
                        from below b join pg_type t on t.oid = b.oid and t.typtype = 'd')
                    select format_type(b.oid, b.typmod)
                    from below b join pg_type t on t.oid = b.oid and t.typtype <> 'd') end,
                'type_kind', own.typtype,
                'not_null', a.attnotnull) order by a.attnum)
            from pg_attribute a join pg_type own on own.oid = a.atttypid
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
        'uniques', coalesce((
            select json_agg(json_build_object(
                'columns', (
                    select json_agg(coalesce(a.attname, '') order by k.position)
                    from unnest(i.indkey::smallint[]) with ordinality k(attnum, position)
                    left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                        and k.attnum > 0
                    -- What follows are INCLUDE columns.
                    where k.position <= i.indnkeyatts),
                'primary', i.indisprimary,
                'immediate', i.indimmediate,
                'whole', i.indpred is null) order by i.indisprimary desc, i.indexrelid)
            from pg_index i
            where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indislive), '[]'),
        'partitioned_by', case when c.relkind <> 'p' then '[]' else (
            with recursive tree (oid) as (
                select c.oid
                union
                select h.inhrelid from tree join pg_inherits h on h.inhparent = tree.oid)
            select coalesce(json_agg(distinct a.attname), '[]')
            from tree
            join pg_partitioned_table p on p.partrelid = tree.oid
            join pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs::int2[])) end
    )::text as shape
from unnest($1, $2) as asked(schema, name)
join pg_namespace n on n.nspname = asked.schema
join pg_class c on c.relnamespace = n.oid and c.relname = asked.name
    -- Indexes, sequences and types share the tables' names; TOAST tables and composite types too.
    and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c', 't')
