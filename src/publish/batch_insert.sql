-- Writes the events ($11 to $21) and the deliveries ($22 to $36) of a batch, at $9; those that are born claimed are
-- held by $10. In one statement with the cursor, because the way to the server is a part of each delivery's delay.
with new_event as (
    insert into rowcall.event (published_at, source, id, position, type, object_type, object_key, previous_key,
        "time", change_seq, xid, body)
    select $9, e.source, e.id, e.position, e.type, e.object_type, e.object_key, e.previous_key,
        e.at, e.change_seq, e.xid::text::xid8, e.body
    from unnest($11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) as e (source, id, position, type, object_type,
        object_key, previous_key, at, change_seq, xid, body)
),
new_delivery as (
    insert into rowcall.delivery (created_at, id, subscription_id, event_id, position, lane, lane_previous, sequence,
        urgency, state, due_at, lease_holder, lease_until, hold_until, is_unjudged, is_rate_spent, settled_at)
    select $9, d.id, d.subscription_id, d.event_id, d.position, d.lane, d.lane_previous, d.sequence,
        d.urgency, d.state, case when d.parked then 'infinity' else d.due_at end,
        case when d.state = 'sending' then $10 end, d.lease_until, d.hold_until, d.unjudged, d.rate_spent,
        case when d.state = 'suppressed' then $9 end
    from unnest($22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36) as d (id, subscription_id,
        event_id, position, lane, lane_previous, sequence, urgency, state, hold_until, unjudged, rate_spent, due_at,
        parked, lease_until)
)
