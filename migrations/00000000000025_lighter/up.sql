-- What a delivery costs, without what nobody needs (docs/PERFORMANCE.md, "Where a drain's time goes").

-- Each attempt looked up and locked its delivery, whose row its own transaction has locked already. Whoever removes a
-- delivery removes its attempts (src/deliver/store.rs).
alter table rowcall.attempt drop constraint attempt_delivery_id_fkey;

-- A row that is written is judged by the predicate of each index. By the columns that say the same as its state it is
-- judged faster: settled_at is set exactly when it is settled, lease_until exactly while it is sending, and due_at only
-- while it is pending or held.
drop index rowcall.delivery_backlog;
create index delivery_backlog on rowcall.delivery (subscription_id, created_at, id)
    where settled_at is null and lease_until is null;
drop index rowcall.delivery_due;
create index delivery_due on rowcall.delivery (urgency, due_at) where due_at is not null;
drop index rowcall.delivery_lane;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where lane is not null and (settled_at is null or blocks);
drop index rowcall.delivery_lane_previous;
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where lane_previous is not null and (settled_at is null or blocks);
drop index rowcall.delivery_lease;
create index delivery_lease on rowcall.delivery (lease_until) where lease_until is not null;
drop index rowcall.delivery_unsettled;
create index delivery_unsettled on rowcall.delivery (subscription_id, sequence)
    where sequence is not null and settled_at is null;

create or replace view rowcall.numbering as
select s.subscription_id, s.assigned,
    coalesce((
        select min(d.sequence) - 1 from rowcall.delivery as d
        where d.subscription_id = s.subscription_id and d.sequence is not null and d.settled_at is null
    ), s.assigned) as settled_through
from rowcall.subscription_sequence as s;
