-- Locks up to $2 deliveries that are owed to disabled subscriptions since before $1, of each the oldest first.
with beyond as (
    select w.id
    from rowcall.subscription as s
    cross join lateral (
        select d.id from rowcall.delivery as d
        where d.subscription_id = s.id and d.settled_at is null and d.lease_until is null and d.created_at < $1
        order by d.created_at, d.id
        limit $2
    ) as w
    where s.state = 'disabled'
    limit $2
)
select d.id, d.subscription_id, d.lane, d.lane_previous,
    case when d.urgency = 0 and d.attempts = 0 then d.event_id end as awaited
from rowcall.delivery as d
join beyond on beyond.id = d.id
where d.settled_at is null and d.lease_until is null
order by d.id
for update of d skip locked
