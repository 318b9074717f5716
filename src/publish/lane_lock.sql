-- Locks the last delivery of each lane ($1, $2) that is unsettled or blocks, against being settled or unblocked, and
-- against nothing else: whoever claims or releases it need not wait. In the order of ids, which is the order in which
-- results are written, so that the two never wait for each other. Tells the lanes that have one, and whether it is
-- locked now or was settled while this waited for it. Changes of keys are rare: one look says whether there is any.
with tail as (
    select lane.place, last.id
    from unnest($1::uuid[], $2::bigint[]) with ordinality as lane (subscription_id, number, place)
    cross join lateral (
        (select d.id, d.position from rowcall.delivery as d
         where d.subscription_id = lane.subscription_id and d.lane = lane.number
            and (d.settled_at is null or d.blocks)
         order by d.position desc limit 1)
        union all
        (select d.id, d.position from rowcall.delivery as d
         where (
                select true from rowcall.delivery as any_other
                where any_other.lane_previous is not null and (any_other.settled_at is null or any_other.blocks)
                order by any_other.subscription_id, any_other.lane_previous limit 1)
            and d.subscription_id = lane.subscription_id and d.lane_previous = lane.number
            and d.lane_previous is not null and (d.settled_at is null or d.blocks)
         order by d.position desc limit 1)
    ) as last
),
locked as (
    select d.id from rowcall.delivery as d
    where d.id in (select tail.id from tail) and (d.settled_at is null or d.blocks)
    order by d.id
    for key share
)
select tail.place::integer as place, bool_or(locked.id is not null) as is_locked
from tail left join locked on locked.id = tail.id
group by tail.place
