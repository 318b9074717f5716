-- Which of the lanes ($1, $2) have deliveries that are unsettled or block.
select lane.place::integer as place
from unnest($1::uuid[], $2::bigint[]) with ordinality as lane (subscription_id, number, place)
where exists (
        select from rowcall.delivery as d
        where d.subscription_id = lane.subscription_id and d.lane = lane.number
            and (d.state in ('pending', 'held', 'sending') or d.blocks))
    or exists (
        select from rowcall.delivery as d
        where d.subscription_id = lane.subscription_id and d.lane_previous = lane.number
            and d.lane_previous is not null and (d.state in ('pending', 'held', 'sending') or d.blocks))
