-- Claims what follows the claimed heads ($4, one lane $5 of subscription $6 each, at position $7) in their lanes, so
-- that a lane with many deliveries is sent without a claim for each. A change of an object's key is in two lanes; it
-- ends the run in both.
with run as (
    select f.id, f.is_single, f.position, f.barrier,
        bool_and(f.is_single) over (partition by head.place order by f.position) as unbroken
    from unnest($4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[]) with ordinality
        as head (id, lane, subscription_id, position, place)
    cross join lateral (
        select d.id, d.position, d.lane_previous is null as is_single,
            (select min(x.position) from rowcall.delivery as x
             where x.subscription_id = head.subscription_id and x.lane_previous = head.lane
                and x.lane_previous is not null and x.state in ('pending', 'sending')) as barrier
        from rowcall.delivery as d
        where d.subscription_id = head.subscription_id and d.lane = head.lane
            and d.state in ('pending', 'sending') and d.position > head.position
        order by d.position
        limit $3
    ) as f
),
follower as (
    select d.id from rowcall.delivery as d
    where d.id in (
            select run.id from run
            where run.unbroken and (run.barrier is null or run.position < run.barrier)
            limit $8)
        and d.state = 'pending'
    for update skip locked
)
update rowcall.delivery as d
set state = 'sending', due_at = null, lease_holder = $1, lease_until = $2
from follower
where d.id = follower.id
returning d.id, d.subscription_id, d.event_id, d.lane, d.lane_previous, d.position, d.sequence, d.attempts,
    'active' as state
