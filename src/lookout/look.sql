-- What there may be to do for anybody: the registry's revision, and when what comes first of each kind is due. Each
-- part is the first entry of an index.
select
    (select r.revision from rowcall.registry as r) as revision,
    least(
        (select min(d.due_at) from rowcall.delivery as d
         where d.urgency = 0 and d.due_at < 'infinity'),
        (select min(d.due_at) from rowcall.delivery as d
         where d.urgency = 1 and d.due_at < 'infinity'),
        (select min(d.due_at) from rowcall.delivery as d
         where d.urgency = 2 and d.due_at < 'infinity'),
        (select min(d.lease_until) from rowcall.delivery as d where d.lease_until is not null)
    ) as delivery_at,
    least(
        (select min(g.close_at) from rowcall.digest as g where g.state = 'open' and g.close_at is not null),
        (select min(g.closed_at) from rowcall.digest as g where g.state = 'closed')
    ) as digest_at,
    (select min(h.due_at) from rowcall.heartbeat as h) as heartbeat_at,
    exists (select from rowcall.replay as p where p.state in ('searching', 'sending'))
        or exists (select from rowcall.replay_item as i where i.state = 'sending') as is_replaying,
    (select min(v.due_at) from rowcall.verification as v where v.state = 'asking') as verification_at
