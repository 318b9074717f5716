-- What became of the events in digests. Each is counted where its digest is; of a condensed one, the events that no part
-- tells of are done with, and the others are where its parts are: pending until the last of them is settled, and then as
-- the worst of them. A digest whose deliveries are missing is in no sum, so that the account does not add up.
with part as (
    select digest_id,
        case
            when bool_or(state in ('pending', 'held', 'sending')) then 'pending'
            when bool_or(state = 'dead') then 'dead'
            when bool_or(state = 'withdrawn') then 'withdrawn'
            when bool_or(state = 'suppressed') then 'suppressed'
            when bool_or(state = 'cancelled') then 'cancelled'
            else 'delivered'
        end as outcome
    from rowcall.delivery
    where digest_id is not null
    group by digest_id
),
told as (
    select d.events - d.vanished as events, d.vanished,
        case d.state
            when 'open' then 'pending'
            when 'closed' then 'pending'
            when 'cancelled' then 'cancelled'
            when 'condensed' then part.outcome
        end as outcome
    from rowcall.digest as d
    left join part on part.digest_id = d.id
)
select (select count(*) from rowcall.digest_member) as matched,
    coalesce(sum(vanished), 0)::bigint as condensed,
    coalesce(sum(events) filter (where outcome = 'pending'), 0)::bigint as pending,
    coalesce(sum(events) filter (where outcome = 'delivered'), 0)::bigint as delivered,
    coalesce(sum(events) filter (where outcome = 'dead'), 0)::bigint as dead,
    coalesce(sum(events) filter (where outcome = 'withdrawn'), 0)::bigint as withdrawn,
    coalesce(sum(events) filter (where outcome = 'suppressed'), 0)::bigint as suppressed,
    coalesce(sum(events) filter (where outcome = 'cancelled'), 0)::bigint as cancelled
from told
