-- Claims the heartbeats that are due at $1, at most $2, by moving them to their next time, and reads what they tell, in
-- the one snapshot of this statement. Times that were missed are not made up for.
with due as (
    select h.subscription_id from rowcall.heartbeat as h
    where h.due_at <= $1
    order by h.due_at
    limit $2
    for update skip locked
),
claimed as (
    update rowcall.heartbeat as h
    set due_at = case
        when h.due_at + h.every_ms * interval '1 millisecond' > $1 then h.due_at + h.every_ms * interval '1 millisecond'
        else $1 + h.every_ms * interval '1 millisecond' end
    from due
    where h.subscription_id = due.subscription_id
    returning h.subscription_id
)
select n.subscription_id, n.assigned, n.settled_through
from claimed
join rowcall.subscription as s on s.id = claimed.subscription_id and s.state = 'active'
join rowcall.numbering as n on n.subscription_id = claimed.subscription_id
