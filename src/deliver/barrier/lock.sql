-- Locks the delayed deliveries of the events $1 that wait at $2.
select d.id from rowcall.delivery as d
where d.event_id = any($1) and d.urgency = 1 and d.state = 'pending' and d.attempts = 0
    and d.due_at > $2 and d.due_at < 'infinity'
order by d.id
for no key update
