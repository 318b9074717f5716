-- Makes the delayed deliveries of the events $1 due at $2 that wait for nothing else: those whose event has no
-- synchronous delivery that is to be tried first. One that is being sent, or due, is; one that is due later (its
-- receiver has more than its share in memory, or asked for a wait before the first attempt) is waited for until the
-- barrier's end, which is $3 for what is written now. One that has lost two leases counts as tried: whoever was to
-- send it died twice, and the others have waited for as long as is promised.
with waiting as (
    select d.id from rowcall.delivery as d
    where d.event_id = any($1) and d.urgency = 1 and d.state = 'pending' and d.attempts = 0
        and d.due_at > $2 and d.due_at < 'infinity'
        and not exists (
            select from rowcall.delivery as s
            where s.event_id = d.event_id and s.urgency = 0 and s.attempts = 0 and s.lost_leases < 2
                and (s.state = 'sending' or s.state = 'pending' and (s.due_at <= $2
                    or s.due_at < 'infinity' and d.created_at > $2 - ($3 - $2))))
    order by d.id
    for no key update
)
update rowcall.delivery as d
set due_at = $2
from waiting
where d.id = waiting.id and d.state = 'pending' and d.due_at > $2
