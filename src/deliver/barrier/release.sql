-- Makes the delayed deliveries of the events $1 due at $2 that wait for nothing else: those whose event has no
-- synchronous delivery that is to be tried first (migrations/00000000000006_modes/up.sql: untried). One that starts
-- later, because its receiver has more than its share in memory, or asked for a wait before the first attempt, is
-- waited for until the barrier's end, which is $3 for what is written now.
with waiting as (
    select d.id from rowcall.delivery as d
    where d.event_id = any($1) and d.urgency = 1 and d.state = 'pending' and d.attempts = 0
        and d.due_at > $2 and d.due_at < 'infinity'
        and not exists (
            select from rowcall.untried as u
            where u.event_id = d.event_id
                and (u.starts_at <= $2 or d.created_at > $2 - ($3 - $2)))
    order by d.id
    for no key update
)
update rowcall.delivery as d
set due_at = $2
from waiting
where d.id = waiting.id and d.state = 'pending' and d.due_at > $2
