-- What this database is now. The sequence is asked by its function and not as a table: who reads its row sees it change
-- under somebody else's nextval, for a moment up to 32 too high, which is how much is logged ahead. The timeline is
-- taken from the name of the current file of the write-ahead log, because the control file learns of a promotion only
-- with the next checkpoint.
select pg_catalog.pg_current_snapshot()::text as seen_snapshot,
    coalesce(pg_catalog.pg_sequence_last_value('rowcall.change_seq'), 0) as seen_seq_last,
    c.system_identifier as seen_system_identifier, d.oid::bigint as seen_database_oid,
    case when pg_catalog.pg_is_in_recovery() then null
        else ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(
            pg_catalog.pg_current_wal_insert_lsn()), 8))::bit(32)::integer end as seen_timeline
from pg_catalog.pg_control_system() as c, pg_catalog.pg_database as d
where d.datname = pg_catalog.current_database()
