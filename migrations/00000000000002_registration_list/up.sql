-- The registration list: who is told of what, how and where.

create table rowcall.subscription (
    id           uuid primary key,
    name         text not null check (name <> ''),
    origin       text not null check (origin in ('folder', 'api')),
    -- The API key that registered it; null for those of the metadata folder.
    owner        text,
    state        text not null check (state in ('active', 'paused', 'disabled', 'deleted')),
    state_reason text,
    mode         text not null check (mode in ('synchronous')),
    -- The specification as it was given, without name and without secret.
    definition   json not null check (json_typeof(definition) = 'object'),
    -- The definition's object_keys, spelled as events spell them; empty if every object is meant.
    object_key_texts text[] not null default '{}',
    -- XChaCha20-Poly1305: 24 bytes of nonce, then the ciphertext with its tag.
    secret       bytea check (octet_length(secret) > 40),
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    check (updated_at >= created_at)
);

create unique index subscription_name on rowcall.subscription (name) where state <> 'deleted';

-- The last sequence number given to a delivery of the subscription. Apart from the registration
-- list because publishing writes it with every batch.
create table rowcall.subscription_sequence (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    assigned        bigint not null default 0 check (assigned >= 0)
) with (fillfactor = 50);
