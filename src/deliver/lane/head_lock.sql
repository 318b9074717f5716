-- Locks the first delivery of each lane ($1, $2) that is unsettled or blocks, if it is neither due nor parked, and
-- tells its lanes. Changes of keys are rare: one look says whether there is any.
select d.subscription_id, d.lane, d.lane_previous
from rowcall.delivery as d
where d.id in (
        select first.id
        from unnest($1::uuid[], $2::bigint[]) as lane (subscription_id, number)
        cross join lateral (
            (select w.id from rowcall.delivery as w
             where w.subscription_id = lane.subscription_id and w.lane = lane.number
                and (w.settled_at is null or w.blocks)
             order by w.position limit 1)
            union all
            (select w.id from rowcall.delivery as w
             where (
                    select true from rowcall.delivery as any_other
                    where any_other.lane_previous is not null and (any_other.settled_at is null or any_other.blocks)
                    order by any_other.subscription_id, any_other.lane_previous limit 1)
                and w.subscription_id = lane.subscription_id and w.lane_previous = lane.number
                and w.lane_previous is not null and (w.settled_at is null or w.blocks)
             order by w.position limit 1)
        ) as first
    )
    and (d.settled_at is null or d.blocks) and d.due_at is null
order by d.id
for no key update
