-- What became of the numbers of subscription $1 behind $2 up to $3, in their order, until bodies come to $4 bytes.
-- Of a subscription without any, one row that has no number; no row, if its owner is not $5. A body is read only where
-- it may be told: a constraint that is judged at send has not spoken of what was never tried.
with numbered as (
    select d.sequence, d.state, d.event_id, d.digest_id, d.part,
        d.state = 'delivered' or d.state in ('pending', 'sending', 'dead') and not d.is_unjudged
            and (d.attempts > 0 or not exists (
                select from rowcall.catalog_item as c
                where c.kind = 'constraint' and c.version_to is null
                    and c.definition ->> 'judge' in ('at_send', 'both'))) as is_told
    from rowcall.delivery as d
    where d.subscription_id = $1 and d.sequence > $2 and d.sequence <= $3
),
weighed as (
    select n.sequence, n.state, n.is_told, b.body, max(n.sequence) over () as last,
        coalesce(sum(octet_length(b.body)) over before, 0) as bytes_before
    from numbered as n
    left join lateral (
        select e.body from rowcall.event as e where n.is_told and e.id = n.event_id
        union all
        select p.body from rowcall.digest_part as p
        where n.is_told and p.digest_id = n.digest_id and p.part = n.part
    ) as b on true
    window before as (order by n.sequence rows between unbounded preceding and 1 preceding)
)
select k.assigned, k.settled_through, w.sequence, w.state, w.is_told, w.body, w.last
from rowcall.numbering as k
join rowcall.subscription as s on s.id = k.subscription_id and s.state <> 'deleted' and ($5 is null or s.owner = $5)
left join weighed as w on w.bytes_before < $4
where k.subscription_id = $1
order by w.sequence
