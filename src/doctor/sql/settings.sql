-- Roles and databases for which the triggers don't fire or don't ring, and who else may make it so. An empty name
-- stands for every role, or every database.
select
    coalesce((select json_agg(json_build_object('role', coalesce(r.rolname, ''), 'database', coalesce(d.datname, ''),
            'setting', u.setting) order by r.rolname, d.datname, u.setting)
        from pg_catalog.pg_db_role_setting as s
        cross join unnest(s.setconfig) as u (setting)
        left join pg_catalog.pg_roles as r on r.oid = s.setrole
        left join pg_catalog.pg_database as d on d.oid = s.setdatabase
        where (s.setdatabase = 0 or d.datname = current_database())
            and u.setting in ('session_replication_role=replica', 'rowcall.doorbell=off')), '[]') as settings,
    coalesce((select json_agg(distinct
            case x.grantee when 0 then 'PUBLIC' else pg_catalog.pg_get_userbyid(x.grantee) end)
        from pg_catalog.pg_parameter_acl as p
        cross join lateral pg_catalog.aclexplode(p.paracl) as x
        where p.parname = 'session_replication_role' and x.privilege_type = 'SET'
            and x.grantee is distinct from 10), '[]') as granted
