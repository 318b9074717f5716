-- The digest that was closed first, of those that are not among $1; of each subscription the earliest only, of which $2
-- are looked at. With an advisory lock of the class $3, which nobody else may hold. The index of those that are
-- closed says all of it, however many digests have left before.
with candidate as materialized (
    select d.id, d.closed_at
    from rowcall.digest as d
    where d.state = 'closed' and d.id <> all($1)
        and not exists (
            select from rowcall.digest as p
            where p.subscription_id = d.subscription_id and p.state = 'closed' and p.number < d.number)
    order by d.closed_at, d.id
    limit $2
)
select c.id
from candidate as c
where pg_catalog.pg_try_advisory_xact_lock($3, pg_catalog.hashtext(c.id::text))
limit 1
