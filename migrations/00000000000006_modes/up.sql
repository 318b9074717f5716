-- The three modes, and what conditions and constraints make of an event.

alter table rowcall.subscription
    drop constraint subscription_mode_check,
    add constraint subscription_mode_check check (mode in ('synchronous', 'synchronous_delayed', 'batch'));

alter table rowcall.catalog_item
    drop constraint catalog_item_kind_check,
    add constraint catalog_item_kind_check
        check (kind in ('namespace', 'object_type', 'event_type', 'constraint'));

-- Events of the API have a subject and no object type.
do $$
declare
    name text;
begin
    for name in
        select conname from pg_catalog.pg_constraint
        where conrelid = 'rowcall.event'::regclass and contype = 'c'
            and pg_catalog.pg_get_constraintdef(oid) like '%object_type IS NOT NULL%'
    loop
        execute pg_catalog.format('alter table rowcall.event drop constraint %I', name);
    end loop;
end
$$;

-- A subscription's digests. Events are added to the open one until its window closes.
create table rowcall.digest (
    id              uuid primary key,
    subscription_id uuid not null,
    -- The subscription's digests in their order, from 1. Given at the close, when all before it are known.
    number          bigint check (number > 0),
    -- open: events are added; closed: to be condensed; condensed: its parts are deliveries;
    -- empty: nothing of it is sent; cancelled: its subscription was deleted first.
    state           text not null check (state in ('open', 'closed', 'condensed', 'empty', 'cancelled')),
    -- The window: from the close before this one, or for the first from its opening, to its own close.
    opened_at       timestamptz not null,
    closed_at       timestamptz,
    closed_by       text check (closed_by in ('schedule', 'max_items', 'max_wait', 'ended')),
    -- When the first event was added; null while there is none.
    first_at        timestamptz,
    -- When it is to be closed at the latest, and because of what; null: by its number of events only.
    close_at        timestamptz,
    close_by        text check (close_by in ('schedule', 'max_wait')),
    events          bigint not null default 0 check (events >= 0),
    -- Of these, how many are in no part: what was done was undone, or the filter did not want it.
    vanished        bigint not null default 0 check (vanished between 0 and events),
    parts           integer check (parts >= 0),
    unique (subscription_id, number),
    check (closed_at >= opened_at),
    check ((state = 'open') = (closed_at is null)),
    check ((state = 'open') = (closed_by is null)),
    check ((state = 'open') = (number is null)),
    check ((events > 0) = (first_at is not null)),
    check ((close_at is null) = (close_by is null)),
    check ((state in ('condensed', 'empty')) = (parts is not null)),
    check (state <> 'empty' or (parts = 0 and vanished = events))
) with (fillfactor = 70);

create unique index digest_open on rowcall.digest (subscription_id) where state = 'open';
create index digest_close on rowcall.digest (close_at) where state = 'open' and close_at is not null;
create index digest_closed on rowcall.digest (closed_at) where state = 'closed';

-- Which events are in which digest. An event is added once for each subscription, by the transaction
-- that publishes or releases it, and never moved.
create table rowcall.digest_member (
    digest_id       uuid not null,
    -- The event's position.
    position        bigint not null,
    event_id        uuid not null,
    subscription_id uuid not null,
    event_type      text not null,
    object_type     text,
    object_key      text,
    previous_key    text,
    "time"          timestamptz not null,
    primary key (digest_id, position, event_id),
    -- An event is in one digest of a subscription.
    unique (event_id, subscription_id)
);

-- What is sent of a digest, exactly as it is sent apart from the sequence.
create table rowcall.digest_part (
    digest_id uuid not null references rowcall.digest on delete cascade,
    part      integer not null check (part > 0),
    body      text not null,
    primary key (digest_id, part)
);

alter table rowcall.delivery
    alter column event_id drop not null,
    alter column sequence drop not null,
    -- What is owed instead of an event.
    add column digest_id uuid,
    add column part integer check (part > 0),
    -- 0 synchronous, 1 synchronous_delayed, 2 batch.
    add column urgency smallint not null default 0 check (urgency between 0 and 2),
    -- How often whoever was to send it vanished before telling what became of it.
    add column lost_leases integer not null default 0 check (lost_leases >= 0),
    -- When a held one is withdrawn.
    add column hold_until timestamptz,
    -- It has not passed the constraints that are judged at the event.
    add column is_unjudged boolean not null default false,
    -- It has been counted by the rates that are judged at send.
    add column is_rate_spent boolean not null default false,
    drop constraint delivery_state_check,
    add constraint delivery_state_check check (state in ('pending', 'held', 'sending',
        'delivered', 'dead', 'suppressed', 'withdrawn', 'cancelled'));

do $$
declare
    name text;
begin
    for name in
        select conname from pg_catalog.pg_constraint
        where conrelid = 'rowcall.delivery'::regclass and contype = 'c'
            and (pg_catalog.pg_get_constraintdef(oid) like '%settled_at IS NOT NULL%'
                or pg_catalog.pg_get_constraintdef(oid) like '%due_at IS NULL%')
    loop
        execute pg_catalog.format('alter table rowcall.delivery drop constraint %I', name);
    end loop;
end
$$;

alter table rowcall.delivery
    add constraint delivery_owed_check check ((event_id is null) <> (digest_id is null)),
    add constraint delivery_part_of_digest_check check ((digest_id is null) = (part is null)),
    add constraint delivery_due_check check (due_at is null or state in ('pending', 'held')),
    add constraint delivery_held_check check (state <> 'held' or hold_until is not null),
    add constraint delivery_settled_check check ((settled_at is not null)
        = (state in ('delivered', 'dead', 'suppressed', 'withdrawn', 'cancelled'))),
    add constraint delivery_numbered_check check (sequence is not null or state <> 'delivered');

create unique index delivery_part_once on rowcall.delivery (digest_id, part) where digest_id is not null;

drop index rowcall.delivery_due, rowcall.delivery_lane, rowcall.delivery_lane_previous;
create index delivery_due on rowcall.delivery (urgency, due_at)
    where state in ('pending', 'held') and due_at is not null;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'held', 'sending');
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where state in ('pending', 'held', 'sending') and lane_previous is not null;

-- The synchronous deliveries that the delayed ones of their events wait for: not tried, and able to start. The one
-- place that says what that is. starts_at is -infinity while one is being sent. One that has lost two leases counts as
-- tried: whoever was to send it died twice, and the others have waited for as long as is promised.
create view rowcall.untried as
select event_id, subscription_id,
    case when state = 'sending' then '-infinity'::timestamptz else due_at end as starts_at
from rowcall.delivery
where urgency = 0 and attempts = 0 and lost_leases < 2
    and (state = 'sending' or state = 'pending' and due_at < 'infinity');

-- Why a delivery was held, suppressed or withdrawn, each time it was judged so.
create table rowcall.judgement (
    event_id           uuid,
    digest_id          uuid,
    subscription_id    uuid not null,
    judged_at          timestamptz not null,
    moment             text not null check (moment in ('event', 'send')),
    decision           text not null check (decision in ('hold', 'suppress', 'withdraw')),
    constraint_name    text not null,
    -- The catalogue's version in which the constraint was last changed.
    constraint_version bigint not null check (constraint_version > 0),
    reason             text not null,
    -- What the condition looked at: names and values as text.
    "values"           json not null check (json_typeof("values") = 'object'),
    check ((event_id is null) <> (digest_id is null))
);

create index judgement_event on rowcall.judgement (event_id, subscription_id) where event_id is not null;
create index judgement_digest on rowcall.judgement (digest_id) where digest_id is not null;

-- How much of a constraint's rate a subscription has used up. A count is of one window of the rate's length.
create table rowcall.rate (
    constraint_name text not null,
    subscription_id uuid not null,
    window_start    timestamptz not null,
    spent           bigint not null check (spent >= 0),
    primary key (constraint_name, subscription_id, window_start)
) with (fillfactor = 70);

create index rate_window on rowcall.rate (window_start);

-- Ids of events that the API has accepted, so that one that is sent twice is published once.
create table rowcall.event_accepted (
    source      text not null check (source <> ''),
    id          text not null check (id <> ''),
    -- SHA-256 of the event as it was accepted: the same id with another content is refused.
    digest      bytea not null check (octet_length(digest) = 32),
    accepted_at timestamptz not null,
    primary key (source, id)
);

create index event_accepted_at on rowcall.event_accepted (accepted_at);
