-- Which of the objects $3 of the type $2 the subscription $1 was told of: the last event of the object that it is owed
-- has the row after it. One whose last event is a delete or a gap is not among them, for its row is there and the
-- subscription does not know it. No event that can be owed has an id below $4.
select k.key
from unnest($3::text[]) as k (key)
cross join lateral (
    select e.body
    from rowcall.event as e
    where e.object_type = $2 and left(e.object_key, 100) = left(k.key, 100) and e.id >= $4
        and e.object_key = k.key
        and (exists (
                select from rowcall.delivery as d
                where d.event_id = e.id and d.subscription_id = $1 and d.state not in ('suppressed', 'withdrawn'))
            or exists (
                select from rowcall.digest_member as m
                where m.event_id = e.id and m.subscription_id = $1))
    order by e.position desc
    limit 1
) as last
-- The first place of this kind is the event's own: before it there are only texts, in which a quote is escaped.
where substring(last.body from '\},"op":"([a-z]+)"') in ('create', 'update', 'snapshot')
