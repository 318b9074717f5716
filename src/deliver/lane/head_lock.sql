-- Locks the first delivery of each lane ($1, $2) that is unsettled or blocks, if it is neither due nor parked.
select d.id from rowcall.delivery as d
where d.id in (
        select first.id
        from unnest($1::uuid[], $2::bigint[]) as lane (subscription_id, number)
        cross join lateral (
            (select w.id from rowcall.delivery as w
             where w.subscription_id = lane.subscription_id and w.lane = lane.number
                and (w.state in ('pending', 'held', 'sending') or w.blocks)
             order by w.position limit 1)
            union all
            (select w.id from rowcall.delivery as w
             where w.subscription_id = lane.subscription_id and w.lane_previous = lane.number
                and w.lane_previous is not null and (w.state in ('pending', 'held', 'sending') or w.blocks)
             order by w.position limit 1)
        ) as first
    )
    and (d.state in ('pending', 'held', 'sending') or d.blocks) and d.due_at is null
order by d.id
for no key update
