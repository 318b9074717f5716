-- Whether there is anything to read, as t or f, and the registry's revision. What is committed since the cursor is of a
-- transaction that began after the cursor's snapshot, or was open in it; the latter are listed first, because joined to
-- the changes they would be looked for in all of them.
select (
    exists (
        select from rowcall.source as s, rowcall.change as c
        where s.name = 'default' and c.seq > s.seq_floor and c.xid >= pg_catalog.pg_snapshot_xmax(s.snapshot))
    or exists (
        select from rowcall.change as c
        where c.xid = any (array(
                select x from rowcall.source as s cross join lateral pg_catalog.pg_snapshot_xip(s.snapshot) as x
                where s.name = 'default'))
            and c.seq > (select s.seq_floor from rowcall.source as s where s.name = 'default'))
    or exists (
        select from rowcall.source as s
        where s.name = 'default' and (s.batch_snapshot is not null or s.stopped_at is not null))
    or exists (select from rowcall.source_backlog as b where b.source = 'default')
)::text || ' ' || (select revision from rowcall.registry)::text
