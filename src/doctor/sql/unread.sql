-- Changes that were committed and not yet published, up to a number, and when the oldest of these was made.
select count(*) as changes, min(u.at) as oldest
from (
    select c.at
    from rowcall.change as c, rowcall.source as s
    where s.name = 'default'
        and c.xid >= pg_catalog.pg_snapshot_xmin(s.snapshot)
        and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)
        and (s.batch_snapshot is null or c.seq > s.batch_seq
            or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot))
    limit $1
) as u
