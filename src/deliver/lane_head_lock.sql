-- Locks the changes of key that wait in the lanes ($1, $2). Such a delivery is released by whoever settles the last
-- one before it in either lane; two that do so at the same moment must take turns, or neither would see the other's.
select d.id from rowcall.delivery as d
where d.id in (
    select first.id
    from (select distinct l.subscription_id, l.number
          from unnest($1::uuid[], $2::bigint[]) as l (subscription_id, number)) as lane
    cross join lateral (
        (select w.id from rowcall.delivery as w
         where w.subscription_id = lane.subscription_id and w.lane = lane.number
            and w.state in ('pending', 'sending')
         order by w.position limit 1)
        union all
        (select w.id from rowcall.delivery as w
         where w.subscription_id = lane.subscription_id and w.lane_previous = lane.number
            and w.lane_previous is not null and w.state in ('pending', 'sending')
         order by w.position limit 1)
    ) as first
)
and d.lane_previous is not null and d.state = 'pending'
order by d.id
for update
