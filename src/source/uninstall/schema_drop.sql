-- The statements that drop all of the schema rowcall, in their order. Each kind in one statement, so that without
-- CASCADE its members may depend on each other, and nothing outside.
select statement from (
    select 1 as place, format('drop function %s restrict', string_agg(oid::regprocedure::text, ', ')) as statement
    from pg_catalog.pg_proc where pronamespace = 'rowcall'::regnamespace having count(*) > 0
    union all
    select 2, format('drop view %s restrict', string_agg(oid::regclass::text, ', '))
    from pg_catalog.pg_class where relnamespace = 'rowcall'::regnamespace and relkind = 'v' having count(*) > 0
    union all
    select 3, format('drop table %s restrict', string_agg(oid::regclass::text, ', '))
    from pg_catalog.pg_class
    where relnamespace = 'rowcall'::regnamespace and relkind in ('r', 'p') and not relispartition having count(*) > 0
    union all
    select 4, format('drop sequence if exists %s restrict', string_agg(oid::regclass::text, ', '))
    from pg_catalog.pg_class
    where relnamespace = 'rowcall'::regnamespace and relkind = 'S' having count(*) > 0
    union all
    select 5, 'drop schema rowcall restrict'
) as s
order by place
