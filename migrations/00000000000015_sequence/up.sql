-- The numbers by which receivers know what they were sent, and heartbeats that tell them how far these go.

-- A number is one delivery's. What came after a number is read from here.
create unique index delivery_sequence on rowcall.delivery (subscription_id, sequence) where sequence is not null;

-- The first of a subscription is the one behind the number up to which everything is settled.
create index delivery_unsettled on rowcall.delivery (subscription_id, sequence)
    where sequence is not null and state in ('pending', 'held', 'sending');

-- How far the numbers of each subscription go: assigned is the last that was given, and settled_through the largest n
-- such that each number up to n is of a settled delivery. A number and the row that has it are committed together, so
-- in one snapshot no number up to assigned is without a row, unless its row was removed; that counts as settled.
create view rowcall.numbering as
select s.subscription_id, s.assigned,
    coalesce((
        select min(d.sequence) - 1 from rowcall.delivery as d
        where d.subscription_id = s.subscription_id and d.sequence is not null
            and d.state in ('pending', 'held', 'sending')
    ), s.assigned) as settled_through
from rowcall.subscription_sequence as s;

-- The subscriptions that are told their numbers, and when the next time is. Whoever moves due_at sends.
create table rowcall.heartbeat (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    every_ms        bigint not null check (every_ms > 0),
    due_at          timestamptz not null
) with (fillfactor = 50);

create index heartbeat_due on rowcall.heartbeat (due_at);
