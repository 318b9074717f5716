-- The deliveries of the subscription $3 behind $1 and up to $2 that are in one of the states $4 and of which columns
-- say that they are meant: times from $5 until before $6, the event type $7, the object type $8, its object $9. Of a
-- digest the time is that of its close, and it is meant if an event in it is. What can't be judged, because its event
-- is not kept, is among them.
select d.id, d.event_id, d.sequence is not null and (e.id is not null or p.digest_id is not null) as is_kept
from rowcall.delivery as d
left join rowcall.event as e on e.id = d.event_id
left join rowcall.digest as g on g.id = d.digest_id
left join rowcall.digest_part as p on p.digest_id = d.digest_id and p.part = d.part
where d.id > $1 and d.id <= $2 and d.subscription_id = $3 and d.state = any($4)
    and ($5::timestamptz is null or coalesce(e."time", g.closed_at, d.created_at) >= $5)
    and ($6::timestamptz is null or coalesce(e."time", g.closed_at, d.created_at) < $6)
    and (
        num_nonnulls($7::text, $8::text, $9::text) = 0
        or d.event_id is not null and e.id is null
        or (($7::text is null or e.type = $7) and ($8::text is null or e.object_type = $8)
            and ($9::text is null or e.object_key = $9 or e.previous_key = $9) and e.id is not null)
        or exists (
            select from rowcall.digest_member as m
            where m.digest_id = d.digest_id
                and ($7::text is null or m.event_type = $7) and ($8::text is null or m.object_type = $8)
                and ($9::text is null or m.object_key = $9 or m.previous_key = $9)))
order by d.id
