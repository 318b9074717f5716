-- The server and this database, as far as Rowcall depends on their settings.
select
    current_database()::text as database,
    current_user::text as role,
    current_setting('is_superuser') = 'on' as is_superuser,
    current_setting('session_replication_role') as replication_role,
    current_setting('max_prepared_transactions')::integer as prepared_max,
    pg_catalog.pg_notification_queue_usage() as queue_usage,
    to_regclass('rowcall.registry') is not null as has_repository,
    to_regclass('rowcall.__diesel_schema_migrations') is not null as has_versions,
    (select count(*) from pg_catalog.pg_stat_activity as a
        where a.datname = current_database() and a.application_name = 'rowcall'
            and a.pid <> pg_backend_pid()) as sessions
