-- How many changes of source $1 are committed and not yet published: after the cursor, and in the backlogs, which
-- are there only after a rebase (see backlog_read.sql).
select (
    select count(*) from rowcall.change as c, rowcall.source as s
    where s.name = $1 and c.xid >= pg_catalog.pg_snapshot_xmin(s.snapshot)
        and c.seq > s.seq_floor
        and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)
        and (s.batch_snapshot is null or c.seq > s.batch_seq
            or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot))
) + (
    select count(*) from rowcall.source_backlog as b
    join rowcall.change as c on c.seq > b.seq and c.seq <= b.seq_to
    where b.source = $1
        and (c.seq > b.seq_seen or not pg_catalog.pg_visible_in_snapshot(c.xid, b.snapshot))
        and (b.batch_snapshot is null or c.seq > b.batch_seq
            or not pg_catalog.pg_visible_in_snapshot(c.xid, b.batch_snapshot))
) as count
