-- What a capture function is in the server's catalogue, in one value, to see that nobody edited it.

create view rowcall.capture_function as
select
    t.id as target,
    md5(string_agg(concat_ws(E'\n', p.proname, p.prosecdef, p.proconfig, p.prosrc), E'\n' order by p.proname)) as seal
from rowcall.capture_target as t
join pg_catalog.pg_namespace as n on n.nspname = 'rowcall'
join pg_catalog.pg_proc as p
    on p.pronamespace = n.oid and p.proname in ('capture_' || t.id, 'capture_' || t.id || '_careful')
group by t.id;

-- The seal of what Rowcall wrote. What is installed is taken to be that.
alter table rowcall.capture_target add column function_seal text not null default '';

update rowcall.capture_target as t set function_seal = f.seal
from rowcall.capture_function as f where f.target = t.id;
