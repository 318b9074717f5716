-- Claims what follows the claimed heads (one at position $6 of lane $4 of subscription $5 each) in their lanes, so that
-- a lane with many deliveries is sent without a claim for each. A run ends before the first delivery that can't be
-- taken: what stands behind it must not overtake it. Such are a change of the object's key, which is in two lanes,
-- one that another claim still holds, and one that waits for its event's synchronous deliveries ($8 is now, $9 the
-- barrier's end). All of them together take $7 places at most, a part of a digest one for each $10 bytes of it, and one
-- more.
with head as (
    select h.lane, h.subscription_id, h.position, h.place,
        (select min(d.position) from rowcall.delivery as d
         where d.subscription_id = h.subscription_id and d.lane_previous = h.lane
            and d.lane_previous is not null and d.state in ('pending', 'held', 'sending')) as barrier
    from unnest($4::bigint[], $5::uuid[], $6::bigint[]) with ordinality
        as h (lane, subscription_id, position, place)
),
run as (
    select f.id, f.position, f.places, head.place,
        bool_and(f.is_free) over (partition by head.place order by f.position) as is_unbroken
    from head
    cross join lateral (
        select d.id, d.position,
            case when d.digest_id is null then 1
                else coalesce((
                    select 1 + pg_catalog.octet_length(p.body) / $10::integer from rowcall.digest_part as p
                    where p.digest_id = d.digest_id and p.part = d.part), 1)
            end as places,
            d.state in ('pending', 'held') and d.lane_previous is null
                and (head.barrier is null or d.position < head.barrier)
                and (d.urgency <> 1 or not exists (
                    select from rowcall.untried as u
                    where u.event_id = d.event_id
                        and (u.starts_at <= $8 or d.created_at > $8 - ($9 - $8)))) as is_free
        from rowcall.delivery as d
        where d.subscription_id = head.subscription_id and d.lane = head.lane
            and d.state in ('pending', 'held', 'sending') and d.position > head.position
        order by d.position
        limit $3
    ) as f
),
follower as (
    select d.id from rowcall.delivery as d
    where d.id in (
            select w.id
            from (
                select run.id, sum(run.places) over (order by run.place, run.position) as upto
                from run where run.is_unbroken
            ) as w
            where w.upto <= $7)
        and d.state in ('pending', 'held')
    order by d.id
    for no key update
)
update rowcall.delivery as d
set state = 'sending', due_at = null, lease_holder = $1, lease_until = $2
from follower
where d.id = follower.id
returning d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
    d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent,
    false as is_fresh, 1 as places, true as is_active,
    case when d.attempts > 0 then (
        select a.started_at from rowcall.attempt as a where a.delivery_id = d.id and a.number = 1
    ) end as first_tried_at
