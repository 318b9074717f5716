-- The triggers are removed first, by `rowcall` itself; the functions that remain go with the schema's objects.
-- The role stays: other databases of the cluster may use it.
do $$
declare
    target record;
begin
    for target in
        select p.oid::regprocedure as signature
        from pg_catalog.pg_proc p
        where p.pronamespace = 'rowcall'::regnamespace and p.proname like 'capture\_%'
    loop
        execute format('drop function %s cascade', target.signature);
    end loop;
end
$$;
drop table rowcall.source;
drop table rowcall.capture_target;
drop table rowcall.rotation;
drop table rowcall.change;
drop sequence rowcall.change_seq;
revoke usage on schema rowcall from rowcall_capture;
