create or replace view rowcall.numbering as
select s.subscription_id, s.assigned,
    coalesce((
        select min(d.sequence) - 1 from rowcall.delivery as d
        where d.subscription_id = s.subscription_id and d.sequence is not null
            and d.state in ('pending', 'held', 'sending')
    ), s.assigned) as settled_through
from rowcall.subscription_sequence as s;

drop index rowcall.delivery_backlog, rowcall.delivery_due, rowcall.delivery_lane, rowcall.delivery_lane_previous,
    rowcall.delivery_lease, rowcall.delivery_unsettled;
create index delivery_backlog on rowcall.delivery (subscription_id, created_at, id) where state in ('pending', 'held');
create index delivery_due on rowcall.delivery (urgency, due_at)
    where state in ('pending', 'held') and due_at is not null;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'held', 'sending') or blocks;
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where (state in ('pending', 'held', 'sending') or blocks) and lane_previous is not null;
create index delivery_lease on rowcall.delivery (lease_until) where state = 'sending';
create index delivery_unsettled on rowcall.delivery (subscription_id, sequence)
    where sequence is not null and state in ('pending', 'held', 'sending');

alter table rowcall.attempt add foreign key (delivery_id) references rowcall.delivery on delete cascade;
