-- What the conservation account needs and no row tells any more, or none tells independently.

-- One row. A leaf that retention drops takes its changes with it; how many they were stays here, written by the
-- transaction that drops it.
create table rowcall.account (
    singleton       boolean primary key default true check (singleton),
    changes_dropped bigint not null default 0 check (changes_dropped >= 0)
);

-- How many changes of a leaf that is no longer written were visible in a snapshot. It is counted ahead, without a
-- lock; who drops the leaf adds what came later, which the index on xid finds.
create table rowcall.leaf_count (
    rotation integer primary key check (rotation > 0),
    snapshot pg_snapshot not null,
    changes  bigint not null check (changes >= 0)
);

-- How many events were matched with the subscription: counted by the transaction that publishes them, in the
-- statement that numbers what it owes, and by nobody else.
alter table rowcall.subscription_sequence
    add column matched bigint not null default 0 check (matched >= 0);

update rowcall.subscription_sequence as q
set matched = (select count(*) from rowcall.delivery as d
        where d.subscription_id = q.subscription_id and d.event_id is not null)
    + (select count(*) from rowcall.digest_member as m where m.subscription_id = q.subscription_id);

-- Leaves that were dropped before anybody counted them: what is missing now.
insert into rowcall.account (changes_dropped)
select greatest(0, s.changes_published
    + (select coalesce(sum(g.changes), 0) from rowcall.source_gap as g
        where g.source = s.name and g.reason = 'skipped')
    + (select count(*) from rowcall.change as c
        where c.seq > s.seq_floor and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)
            and (s.batch_snapshot is null or c.seq > s.batch_seq
                or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot)))
    + (select count(*) from rowcall.backlog_change as b where b.source = s.name and b.seq > b.seq_published)
    - (select count(*) from rowcall.change))
from rowcall.source as s where s.name = 'default';
