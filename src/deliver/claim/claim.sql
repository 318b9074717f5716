-- Claims the heads of lanes that are due: the synchronous ones first, then the delayed ones, then digests, each oldest
-- first, but up to $6 of the synchronous ones are those that came due last, so that what is new does not wait behind
-- all that waits already; of these, what was written no longer ago than $5 is ahead is fresh. The synchronous ones
-- leave $7 places to each of the others, or one backlog would keep all delayed ones and all digests waiting. Skips what
-- another instance is claiming. What is due to a subscription that is not active comes back unclaimed. A delayed one
-- whose event has synchronous ones that could start and were not tried is looked at again at $5, if nobody releases it
-- before.
with newest as (
    select d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
        d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent, d.due_at, d.created_at
    from rowcall.delivery as d
    where d.urgency = 0 and d.due_at <= $1
    order by d.due_at desc
    limit $6
    for no key update skip locked
),
oldest as (
    select d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
        d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent, d.due_at, d.created_at
    from rowcall.delivery as d
    where d.urgency = 0 and d.due_at <= $1
    order by d.due_at
    limit $2 - 2 * $7
    for no key update skip locked
),
immediate as (
    select newest.*, newest.created_at > $1 - ($5 - $1) as is_fresh from newest
    union all
    (select oldest.*, false from oldest where oldest.id not in (select newest.id from newest)
     order by oldest.due_at
     limit $2 - 2 * $7 - (select count(*) from newest))
),
delayed as (
    select d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
        d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent, d.due_at, d.created_at
    from rowcall.delivery as d
    where d.urgency = 1 and d.due_at <= $1
    order by d.due_at
    limit $2 - $7 - (select count(*) from immediate)
    for no key update skip locked
),
digest as (
    select d.id, d.subscription_id, d.event_id, d.digest_id, d.part, d.urgency, d.lane, d.lane_previous, d.position,
        d.sequence, d.attempts, d.hold_until, d.is_unjudged, d.is_rate_spent, d.due_at, d.created_at
    from rowcall.delivery as d
    where d.urgency = 2 and d.due_at <= $1
    order by d.due_at
    limit $2 - (select count(*) from immediate) - (select count(*) from delayed)
    for no key update skip locked
),
-- One that has been tried itself waits for nobody any more.
barred as (
    select delayed.id from delayed
    where delayed.attempts = 0 and exists (
        select from rowcall.untried as u
        where u.event_id = delayed.event_id
            and (u.starts_at <= $1 or delayed.created_at > $1 - ($5 - $1)))
),
waiting as (
    update rowcall.delivery as d set due_at = $5 from barred where d.id = barred.id
),
due as (
    select found.*, s.state = 'active' as is_active,
        case when found.attempts > 0 then (
            select a.started_at from rowcall.attempt as a where a.delivery_id = found.id and a.number = 1
        ) end as first_tried_at
    from (
        select * from immediate
        union all select delayed.*, false from delayed
        union all select digest.*, false from digest
    ) as found
    join rowcall.subscription as s on s.id = found.subscription_id
    where found.id not in (select barred.id from barred)
),
claimed as (
    update rowcall.delivery as d
    set state = 'sending', due_at = null, lease_holder = $3, lease_until = $4
    from due
    where d.id = due.id and due.is_active
)
select * from due order by urgency, due_at, position
