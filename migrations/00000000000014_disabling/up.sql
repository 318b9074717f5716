-- Subscriptions whose attempts all fail, and what is kept for those that are sent nothing.

-- A row for each subscription whose last attempt failed. Written when an attempt fails, and removed by the first that
-- does not: where all is well there is nothing to write.
create table rowcall.subscription_failing (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    -- When the first of the attempts began that failed in a row, and when the last one ended.
    since           timestamptz not null,
    last_at         timestamptz not null,
    failures        bigint not null check (failures > 0),
    -- Why the last one failed, in our words.
    last_detail     text not null,
    check (last_at >= since)
) with (fillfactor = 50);

-- Why it was cancelled; null: its subscription was deleted.
alter table rowcall.delivery
    add column cancelled_by text check (cancelled_by in ('backlog_age', 'backlog_count')),
    add constraint delivery_cancelled_check check (cancelled_by is null or state = 'cancelled');

-- What a subscription is still owed, oldest first. What is claimed at birth never enters it.
create index delivery_backlog on rowcall.delivery (subscription_id, created_at, id)
    where state in ('pending', 'held');
