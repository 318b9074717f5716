alter table rowcall.delivery
    -- It could not start when it was to, because of its subscription's rate or an open circuit breaker.
    add column is_deferred boolean not null default false;

-- What could not start counts as tried (docs/decisions/0005-barrier.md).
create or replace view rowcall.untried as
select event_id, subscription_id,
    case when state = 'sending' then '-infinity'::timestamptz else due_at end as starts_at
from rowcall.delivery
where urgency = 0 and attempts = 0 and lost_leases < 2 and not is_deferred
    and (state = 'sending' or state = 'pending' and due_at < 'infinity');

-- How much of its rate a subscription has used up: the time at which its bucket of requests is full again.
create table rowcall.subscription_rate (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    full_at         timestamptz not null
) with (fillfactor = 50);
