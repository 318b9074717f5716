-- Locks the delayed deliveries of the events $1 that were not tried: also those that wait in their lanes, for whoever
-- releases one of these at this moment looks at the barrier, too.
select d.id from rowcall.delivery as d
where d.event_id = any($1) and d.urgency = 1 and d.state = 'pending' and d.attempts = 0
order by d.id
for no key update
