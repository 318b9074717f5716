-- How many changes of source $1 are committed and not yet published, $2 at most: after the cursor, and in the backlogs,
-- which are there only after a rebase. Of a source that is stopped the cursor may be of another history, whose
-- transaction ids say nothing of what was captured since: that has numbers which the cursor has not seen.
select count(*) from (
    select from rowcall.change as c, rowcall.source as s
    where s.name = $1 and c.xid >= pg_catalog.pg_snapshot_xmin(s.snapshot)
        and c.seq > s.seq_floor
        and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)
        and (s.batch_snapshot is null or c.seq > s.batch_seq
            or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot))
    union all
    select from rowcall.source as s, rowcall.change as c
    where s.name = $1 and s.name = 'default' and s.stopped_at is not null and c.seq > s.seq_floor and c.seq > s.seq_seen
        and pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)
    union all
    select from rowcall.backlog_change as c where c.source = $1 and c.seq > c.seq_published
    limit $2
) as unread
