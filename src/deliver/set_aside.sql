-- Sets aside what is due ($2) to subscriptions that are not active, so that it does not come up at every claim: parked
-- until the subscription is resumed, or cancelled where it is deleted.
update rowcall.delivery as d
set due_at = case when s.state in ('paused', 'disabled') then 'infinity'::timestamptz end,
    state = case when s.state = 'deleted' then 'cancelled' else d.state end,
    settled_at = case when s.state = 'deleted' then greatest($1, d.created_at) end
from rowcall.subscription as s
where d.id = any ($2) and d.state = 'pending' and s.id = d.subscription_id and s.state <> 'active'
