-- Claims the heads of lanes that are due, oldest first; skips what another instance is claiming. A delivery whose
-- subscription is not active is parked or cancelled instead, so that it does not come up again.
with due as (
    select d.id from rowcall.delivery as d
    where d.state = 'pending' and d.due_at <= $1
    order by d.due_at
    limit $2
    for update skip locked
)
update rowcall.delivery as d
set state = case s.state when 'active' then 'sending' when 'deleted' then 'cancelled' else 'pending' end,
    due_at = case when s.state in ('paused', 'disabled') then 'infinity'::timestamptz end,
    lease_holder = case when s.state = 'active' then $3 end,
    lease_until = case when s.state = 'active' then $4 end,
    settled_at = case when s.state = 'deleted' then $1 end
from due, rowcall.subscription as s
where d.id = due.id and s.id = d.subscription_id
returning d.id, d.subscription_id, d.event_id, d.lane, d.lane_previous, d.position, d.sequence, d.attempts, d.state
