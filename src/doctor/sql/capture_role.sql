-- The role that owns the capture functions, which run with its rights inside every writer's statement.
select
    r.rolname::text as role,
    r.rolsuper as is_superuser,
    r.rolcanlogin as can_login,
    r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls as has_attributes,
    coalesce((select json_agg(g.rolname order by g.rolname)
        from pg_catalog.pg_auth_members as m join pg_catalog.pg_roles as g on g.oid = m.roleid
        where m.member = r.oid), '[]') as member_of,
    coalesce((select json_agg(distinct format('%I.%I', n.nspname, c.relname))
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join lateral pg_catalog.aclexplode(c.relacl) as x on x.grantee = r.oid
        where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and (
            c.relowner = r.oid
            or x.grantee is not null and not (n.nspname = 'rowcall' and (
                c.relname ~ '^change_[0-9]+$' and x.privilege_type = 'INSERT'
                or c.relname = 'change_seq' and x.privilege_type = 'USAGE')))), '[]') as reaches
from pg_catalog.pg_roles as r
where r.rolname = 'rowcall_capture'
