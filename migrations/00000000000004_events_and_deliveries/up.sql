-- Events, what is owed to whom, and what was tried. The states of a delivery are drawn in docs/ARCHITECTURE.md.

create table rowcall.event (
    id           uuid primary key,
    source       text not null,
    -- Publishing order within the source.
    position     bigint not null,
    type         text not null,
    -- Null for events about no object: gaps.
    object_type  text,
    object_key   text,
    previous_key text,
    "time"       timestamptz not null,
    published_at timestamptz not null,
    change_seq   bigint not null,
    xid          xid8 not null,
    -- The CloudEvent without its sequence, exactly as it is sent.
    body         text not null,
    check (object_key is null or object_type is not null),
    check (previous_key is null or object_key is not null)
);

-- Only the key's beginning: a whole one may be longer than an index takes, and an event that can't be
-- written would stop all others.
create index event_object on rowcall.event (object_type, left(object_key, 100), id);

create table rowcall.delivery (
    id              uuid primary key,
    subscription_id uuid not null,
    event_id        uuid not null,
    -- The event's position: the order inside a lane.
    position        bigint not null,
    -- The object whose order is kept, as a hash of object type and object key; a collision only
    -- makes two objects wait for each other. Null: not ordered.
    lane            bigint,
    -- The object's lane before its key changed.
    lane_previous   bigint,
    sequence        bigint not null check (sequence > 0),
    state           text not null check (state in ('pending', 'sending', 'delivered', 'dead', 'cancelled')),
    attempts        integer not null default 0 check (attempts >= 0),
    -- When a pending delivery may be claimed; null while an earlier one of its lane is unsettled;
    -- infinity while its subscription is not active.
    due_at          timestamptz,
    -- The claim that holds it, not the instance: an instance that lost its lease and claimed again is another holder.
    lease_holder    uuid,
    lease_until     timestamptz,
    created_at      timestamptz not null,
    settled_at      timestamptz,
    check (lane is not null or lane_previous is null),
    check (due_at is null or state = 'pending'),
    check ((state = 'sending') = (lease_holder is not null)),
    check ((state = 'sending') = (lease_until is not null)),
    check ((state in ('delivered', 'dead', 'cancelled')) = (settled_at is not null)),
    check (state <> 'delivered' or attempts > 0)
);

-- One event is owed to a subscription once.
create unique index delivery_once on rowcall.delivery (event_id, subscription_id);
create index delivery_due on rowcall.delivery (due_at) where state = 'pending' and due_at is not null;
create index delivery_lease on rowcall.delivery (lease_until) where state = 'sending';
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'sending');
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where state in ('pending', 'sending') and lane_previous is not null;
create index delivery_dead on rowcall.delivery (subscription_id, position) where state = 'dead';

create table rowcall.attempt (
    delivery_id uuid not null references rowcall.delivery on delete cascade,
    number      integer not null check (number > 0),
    instance    uuid not null,
    started_at  timestamptz not null,
    duration_ms integer not null check (duration_ms >= 0),
    outcome     text not null check (outcome in ('delivered', 'retry', 'dead')),
    -- The receiver's HTTP status, where it answered.
    status      integer check (status between 100 and 999),
    -- Why it failed, in our words; never a body.
    detail      text,
    primary key (delivery_id, number)
);
