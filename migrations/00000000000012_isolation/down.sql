drop table rowcall.subscription_rate;

create or replace view rowcall.untried as
select event_id, subscription_id,
    case when state = 'sending' then '-infinity'::timestamptz else due_at end as starts_at
from rowcall.delivery
where urgency = 0 and attempts = 0 and lost_leases < 2
    and (state = 'sending' or state = 'pending' and due_at < 'infinity');

alter table rowcall.delivery drop column is_deferred;
