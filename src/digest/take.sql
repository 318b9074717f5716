-- Opens the digests $2 of the subscriptions $3 at $1 with $4 events each, to be closed at $5 because of $6; where one is
-- open, adds the events to it instead. One atomic step a row, in the order of subscriptions: an open digest that is
-- closed at this moment is waited for, and another is opened.
insert into rowcall.digest as d (id, subscription_id, state, opened_at, first_at, events, close_at, close_by)
select o.id, o.subscription_id, 'open', $1, case when o.events > 0 then $1 end, o.events, o.close_at, o.close_by
from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::text[])
    as o (id, subscription_id, events, close_at, close_by)
order by o.subscription_id
on conflict (subscription_id) where state = 'open' do update
set events = d.events + excluded.events,
    first_at = coalesce(d.first_at, excluded.first_at),
    -- A digest without events waits for its hour only; from its first event on, for max_wait too.
    close_at = case when d.events = 0 then least(d.close_at, excluded.close_at) else d.close_at end,
    close_by = case when d.events = 0 and coalesce(excluded.close_at < d.close_at, d.close_at is null)
        then excluded.close_by else d.close_by end
returning d.id, d.subscription_id, d.events, coalesce(d.close_at <= $1, false) as is_overdue
