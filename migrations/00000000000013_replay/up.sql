-- Dead deliveries that hold their lanes, what receivers answered, and deliveries that are sent again.

alter table rowcall.attempt
    -- How the receiver's answer begins, where it did not acknowledge; without secrets of ours.
    add column answer text check (char_length(answer) <= 1000);

alter table rowcall.delivery
    -- A dead one behind which its lanes wait, until it is sent again with success or released.
    add column blocks boolean not null default false,
    add constraint delivery_blocks_check check (not blocks or state = 'dead' and lane is not null);

-- What stands in a lane is what is not settled, and what blocks.
drop index rowcall.delivery_lane, rowcall.delivery_lane_previous, rowcall.delivery_dead;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'held', 'sending') or blocks;
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where (state in ('pending', 'held', 'sending') or blocks) and lane_previous is not null;
-- Dead letters in pages: of one subscription, and of all.
create index delivery_dead on rowcall.delivery (subscription_id, id) where state = 'dead';
create index delivery_dead_all on rowcall.delivery (id) where state = 'dead';

-- An order to send settled deliveries again. It is searched for in chunks first, and then sent at its rate.
create table rowcall.replay (
    id              uuid primary key,
    subscription_id uuid not null references rowcall.subscription,
    -- The id of the key, or `bootstrap`.
    asked_by        text not null,
    -- What is to be sent again, as it was asked for.
    selection       json not null check (json_typeof(selection) = 'object'),
    rate            text not null,
    -- The time between two sends at this rate.
    interval_us     bigint not null check (interval_us > 0),
    state           text not null check (state in ('searching', 'sending', 'done', 'cancelled', 'failed')),
    reason          text,
    created_at      timestamptz not null,
    ended_at        timestamptz,
    -- The deliveries behind looked_at, up to looked_upto, are still to be looked at.
    looked_at       uuid not null,
    looked_upto     uuid not null,
    found           bigint not null default 0 check (found >= 0),
    -- Of those found: what is no longer kept, was acknowledged, was given up, or was cancelled.
    gone            bigint not null default 0 check (gone >= 0),
    sent            bigint not null default 0 check (sent >= 0),
    failed          bigint not null default 0 check (failed >= 0),
    cancelled       bigint not null default 0 check (cancelled >= 0),
    -- The rate allows no send before.
    paced_until     timestamptz not null,
    -- There is nothing to send before.
    due_at          timestamptz not null,
    check ((ended_at is null) = (state in ('searching', 'sending'))),
    check (state <> 'failed' or reason is not null),
    check (gone + sent + failed + cancelled <= found)
) with (fillfactor = 70);

create index replay_running on rowcall.replay (due_at) where state in ('searching', 'sending');
create index replay_of_subscription on rowcall.replay (subscription_id, id);

-- One delivery that is sent again. The delivery itself, its lane and the account stay as they are.
create table rowcall.replay_item (
    id           uuid primary key,
    replay_id    uuid not null references rowcall.replay on delete cascade,
    delivery_id  uuid not null references rowcall.delivery on delete cascade,
    state        text not null default 'pending'
        check (state in ('pending', 'sending', 'sent', 'failed', 'cancelled', 'gone')),
    attempts     integer not null default 0 check (attempts >= 0),
    due_at       timestamptz,
    lease_holder uuid,
    lease_until  timestamptz,
    settled_at   timestamptz,
    unique (replay_id, delivery_id),
    check ((state = 'pending') = (due_at is not null)),
    check ((state = 'sending') = (lease_holder is not null)),
    check ((state = 'sending') = (lease_until is not null)),
    check ((state in ('sent', 'failed', 'cancelled', 'gone')) = (settled_at is not null)),
    check (state <> 'sent' or attempts > 0)
);

create index replay_item_due on rowcall.replay_item (replay_id, due_at, id) where state = 'pending';
create index replay_item_lease on rowcall.replay_item (lease_until) where state = 'sending';
create index replay_item_sending on rowcall.replay_item (replay_id) where state = 'sending';
create index replay_item_delivery on rowcall.replay_item (delivery_id, id);

-- As rowcall.attempt, of a delivery that is sent again.
create table rowcall.replay_attempt (
    item_id     uuid not null references rowcall.replay_item on delete cascade,
    number      integer not null check (number > 0),
    instance    uuid not null,
    started_at  timestamptz not null,
    duration_ms integer not null check (duration_ms >= 0),
    outcome     text not null check (outcome in ('delivered', 'retry', 'dead')),
    status      integer check (status between 100 and 999),
    detail      text,
    answer      text check (char_length(answer) <= 1000),
    primary key (item_id, number)
);
