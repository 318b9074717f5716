-- Claims what follows the claimed heads (one at position $6 of lane $4 of subscription $5 each) in their lanes, so that
-- a lane with many deliveries is sent without a claim for each. A run ends before the first delivery that can't be
-- taken: what stands behind it must not overtake it. Such are a change of the object's key, which is in two lanes,
-- one that another claim still holds, one that waits for its event's synchronous deliveries ($8 is now, $9 the
-- barrier's end), and one that somebody has locked: the heads are locked in the order in which they are due, so whoever
-- claims must wait for nobody.
with head as (
    select h.lane, h.subscription_id, h.position, h.place,
        (select min(d.position) from rowcall.delivery as d
         where d.subscription_id = h.subscription_id and d.lane_previous = h.lane
            and d.lane_previous is not null and d.settled_at is null) as barrier
    from unnest($4::bigint[], $5::uuid[], $6::bigint[]) with ordinality
        as h (lane, subscription_id, position, place)
),
run as (
    select f.id, f.position, head.place,
        bool_and(f.is_free) over (partition by head.place order by f.position) as is_unbroken
    from head
    cross join lateral (
        select d.id, d.position,
            d.settled_at is null and d.lease_until is null and d.lane_previous is null
                and (head.barrier is null or d.position < head.barrier)
                and (d.urgency <> 1 or not exists (
                    select from rowcall.untried as u
                    where u.event_id = d.event_id
                        and (u.starts_at <= $8 or d.created_at > $8 - ($9 - $8)))) as is_free
        from rowcall.delivery as d
        where d.subscription_id = head.subscription_id and d.lane = head.lane
            and d.settled_at is null and d.position > head.position
        order by d.position
        limit $3
    ) as f
),
locked as (
    select d.id from rowcall.delivery as d
    where d.id in (
            select run.id from run where run.is_unbroken order by run.place, run.position limit $7)
        and d.settled_at is null and d.lease_until is null
    order by d.id
    for no key update skip locked
),
follower as (
    select free.id
    from (
        select run.id,
            bool_and(locked.id is not null) over (partition by run.place order by run.position) as is_unbroken
        from run left join locked on locked.id = run.id
        where run.is_unbroken
    ) as free
    where free.is_unbroken
)
update rowcall.delivery as d
set state = 'sending', due_at = null, lease_holder = $1, lease_until = $2
from follower
where d.id = follower.id
returning d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
    d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent, false as is_fresh, true as is_active,
    case when d.attempts > 0 then (
        select a.started_at from rowcall.attempt as a where a.delivery_id = d.id and a.number = 1
    ) end as first_tried_at
