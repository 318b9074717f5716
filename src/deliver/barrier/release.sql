-- Makes the delayed deliveries of the events $1 due at $2 that wait for nothing else: those whose event has no
-- synchronous delivery that could start until $3 and was not tried. One that has lost two leases counts as tried:
-- whoever was to send it died twice, and the others have waited for as long as is promised.
with untried as (
    select distinct s.event_id from rowcall.delivery as s
    where s.event_id = any($1) and s.urgency = 0 and s.attempts = 0 and s.lost_leases < 2
        and (s.state = 'sending' or s.state = 'pending' and s.due_at <= $3)
),
waiting as (
    select d.id from rowcall.delivery as d
    where d.event_id = any($1) and d.urgency = 1 and d.state = 'pending' and d.attempts = 0
        and d.due_at > $2 and d.due_at < 'infinity'
        and not exists (select from untried where untried.event_id = d.event_id)
    order by d.id
    for no key update
)
update rowcall.delivery as d
set due_at = $2
from waiting
where d.id = waiting.id and d.state = 'pending' and d.due_at > $2
