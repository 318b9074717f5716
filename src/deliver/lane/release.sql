-- Makes the heads of the lanes ($1, $2) due at $3: of each lane the first delivery that is unsettled or blocks, if
-- nothing in its other lane stands before it. A head that is sending, due or parked already, or that blocks, stays as
-- it is. A delayed delivery whose event has synchronous ones that are still to be tried is due at $4, if nobody
-- releases it before.
with lane as (
    select distinct l.subscription_id, l.number
    from unnest($1::uuid[], $2::bigint[]) as l (subscription_id, number)
),
head as (
    select distinct first.id
    from lane
    cross join lateral (
        (select d.id from rowcall.delivery as d
         where d.subscription_id = lane.subscription_id and d.lane = lane.number
            and (d.settled_at is null or d.blocks)
         order by d.position limit 1)
        union all
        (select d.id from rowcall.delivery as d
         where (
                select true from rowcall.delivery as any_other
                where any_other.lane_previous is not null and (any_other.settled_at is null or any_other.blocks)
                order by any_other.subscription_id, any_other.lane_previous limit 1)
            and d.subscription_id = lane.subscription_id and d.lane_previous = lane.number
            and d.lane_previous is not null and (d.settled_at is null or d.blocks)
         order by d.position limit 1)
    ) as first
)
update rowcall.delivery as d
set due_at = case when d.urgency = 1 and d.attempts = 0 and exists (
        select from rowcall.untried as u
        where u.event_id = d.event_id
            and (u.starts_at <= $3 or d.created_at > $3 - ($4 - $3))) then $4 else $3 end
from head
where d.id = head.id and d.settled_at is null and d.lease_until is null and d.due_at is null
    and not exists (
        select from rowcall.delivery as e
        where e.subscription_id = d.subscription_id and e.lane = d.lane
            and (e.settled_at is null or e.blocks) and e.position < d.position)
    and not exists (
        select from rowcall.delivery as e
        where e.subscription_id = d.subscription_id and e.lane_previous = d.lane
            and e.lane_previous is not null
            and (e.settled_at is null or e.blocks) and e.position < d.position)
    and (d.lane_previous is null or not exists (
        select from rowcall.delivery as e
        where e.subscription_id = d.subscription_id and e.lane = d.lane_previous
            and (e.settled_at is null or e.blocks) and e.position < d.position))
    and (d.lane_previous is null or not exists (
        select from rowcall.delivery as e
        where e.subscription_id = d.subscription_id and e.lane_previous = d.lane_previous
            and e.lane_previous is not null
            and (e.settled_at is null or e.blocks) and e.position < d.position))
