-- Subscriptions that begin with what is there already: the rows of their tables, or events since a time.

create table rowcall.start (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    -- Events from this time on; null: the rows that exist.
    since           timestamptz,
    state           text not null check (state in ('running', 'done', 'failed')),
    -- Why it failed, or what keeps it waiting.
    reason          text,
    begun_at        timestamptz not null,
    ended_at        timestamptz,
    -- Of rows: the object types in the order in which they are read, the place of the present one from 0, the table
    -- of its tree, and the key of the last row that was read of it.
    object_types    text[] not null default '{}',
    place           integer not null default 0 check (place >= 0),
    relation        oid,
    last_key        text[],
    -- Of events: the position of the last one that was looked at, that of the last one before the registration, up to
    -- which "since" counts, and from when on there are events.
    position        bigint not null default 0 check (position >= 0),
    registered_at   bigint not null default 0 check (registered_at >= 0),
    complete_from   timestamptz,
    -- Rows or events that were looked at, how many of them are owed to the subscription, and how many there may be.
    done            bigint not null default 0 check (done >= 0),
    told            bigint not null default 0 check (told between 0 and done),
    estimate        bigint check (estimate >= 0),
    -- The source's revision in which it had its last turn.
    turn            bigint not null default 0,
    check ((state = 'running') = (ended_at is null)),
    check (state <> 'failed' or reason is not null),
    check (last_key is null or relation is not null)
);

create index start_running on rowcall.start (turn) where state = 'running';

-- Past events are read in the order in which they were published.
create index event_position on rowcall.event (position);
