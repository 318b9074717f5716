-- What there is to do at $1: leaves that were closed before $2, at least $3 failures in a row,
-- keys from before $4, rates from before $5, ids of events from before $6. And what the triggers depend on, beside the
-- tables that they are on.
select
    (select r.revision from rowcall.registry as r) as revision,
    o.number as leaf,
    o.opened_at as leaf_opened_at,
    pg_catalog.current_setting('max_prepared_transactions') as prepared_max,
    (select pg_catalog.md5(pg_catalog.string_agg(t.id || t.function_sql, ' ' order by t.id))
     from rowcall.capture_target as t where t.removed_at is null) as functions,
    exists (select from rowcall.rotation as e where e.closed_at < $2) as has_expired,
    exists (
        select from rowcall.subscription as s
        cross join lateral (
            select from rowcall.delivery as d
            where d.subscription_id = s.id and d.settled_at is null and d.lease_until is null limit 1
        ) as d
        where s.state = 'deleted'
    ) as has_orphans,
    exists (select from rowcall.subscription_failing as f where f.failures >= $3) as has_failing,
    exists (select from rowcall.subscription as s where s.state in ('disabled', 'paused')) as has_stopped,
    exists (select from rowcall.idempotency as i where i.created_at < $4) as has_old_keys,
    exists (select from rowcall.rate as w where w.window_start < $5) as has_old_rates,
    exists (select from rowcall.event_accepted as a where a.accepted_at < $6) as has_old_ids,
    exists (select from rowcall.subscription_secret as k where k.valid_until <= $1) as has_old_secrets
from (select 1) as one
left join rowcall.rotation as o on o.closed_at is null
