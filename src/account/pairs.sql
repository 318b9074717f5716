-- What became of the pairs of an event and a subscription, by subscription, beside how many publishing counted. An
-- event that is sent alone is where its delivery is. The events of a digest are where the digest is; of a condensed
-- one, those that no part tells of are done with, and the others are where its parts are: pending until the last of
-- them is settled, and then as the worst of them. A digest that has other members than it counts, or fewer deliveries
-- than parts, is in no sum, so that the account does not add up.
with part as (
    select digest_id, count(*) as parts,
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
member as (
    select digest_id, count(*) as members from rowcall.digest_member group by digest_id
),
whole as (
    select d.subscription_id, d.state, d.events, d.vanished, part.outcome
    from rowcall.digest as d
    left join part on part.digest_id = d.id
    left join member on member.digest_id = d.id
    where d.events = coalesce(member.members, 0) and (d.state <> 'condensed' or d.parts = part.parts)
),
found as (
    select subscription_id, case when state = 'sending' then 'pending' else state end as outcome, count(*) as pairs
    from rowcall.delivery
    where event_id is not null
    group by 1, 2
    union all
    select subscription_id,
        case state when 'open' then 'pending' when 'closed' then 'pending' when 'condensed' then outcome
            else state end,
        events - vanished
    from whole
    union all
    select subscription_id, 'condensed', vanished from whole
)
select s.id, s.name, s.owner, s.state, q.matched,
    coalesce(sum(f.pairs) filter (where f.outcome = 'delivered'), 0)::bigint as delivered,
    coalesce(sum(f.pairs) filter (where f.outcome = 'condensed'), 0)::bigint as condensed,
    coalesce(sum(f.pairs) filter (where f.outcome = 'suppressed'), 0)::bigint as suppressed,
    coalesce(sum(f.pairs) filter (where f.outcome = 'withdrawn'), 0)::bigint as withdrawn,
    coalesce(sum(f.pairs) filter (where f.outcome = 'cancelled'), 0)::bigint as cancelled,
    coalesce(sum(f.pairs) filter (where f.outcome = 'held'), 0)::bigint as held,
    coalesce(sum(f.pairs) filter (where f.outcome = 'pending'), 0)::bigint as pending,
    coalesce(sum(f.pairs) filter (where f.outcome = 'dead'), 0)::bigint as dead
from rowcall.subscription as s
join rowcall.subscription_sequence as q on q.subscription_id = s.id
left join found as f on f.subscription_id = s.id
group by s.id, s.name, s.owner, s.state, q.matched
order by s.id
