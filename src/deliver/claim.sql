-- Claims the heads of lanes that are due, oldest first; skips what another instance is claiming. What is due to a
-- subscription that is not active comes back unclaimed.
with due as (
    select d.id, d.subscription_id, d.event_id, d.lane, d.lane_previous, d.position, d.sequence, d.attempts,
        s.state = 'active' as is_active
    from rowcall.delivery as d
    join rowcall.subscription as s on s.id = d.subscription_id
    where d.state = 'pending' and d.due_at <= $1
    order by d.due_at
    limit $2
    for no key update of d skip locked
),
claimed as (
    update rowcall.delivery as d
    set state = 'sending', due_at = null, lease_holder = $3, lease_until = $4
    from due
    where d.id = due.id and due.is_active
)
select id, subscription_id, event_id, lane, lane_previous, position, sequence, attempts, is_active from due
