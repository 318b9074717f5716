-- Secrets: which key encrypted them, several at a time, and whether a receiver wants what is sent.

-- The id of the key that `secret` is encrypted with; null of those that were written before ids
-- were kept, which any known key may open.
alter table rowcall.subscription
    add column secret_key_id text check (secret_key_id <> ''),
    -- The public half of an ed25519 key pair, `whpk_` and base64.
    add column public_key text check (public_key like 'whpk\_%');

-- The repository was used with one key until now, and remembers which.
update rowcall.subscription as s set secret_key_id = r.secret_key_id
from rowcall.registry as r where s.secret is not null;

-- What a subscription keeps encrypted besides its signing secret: the one before it, while a
-- rotation goes on, and the values of headers.
create table rowcall.subscription_secret (
    subscription_id uuid not null references rowcall.subscription on delete cascade,
    kind        text not null check (kind in ('previous', 'credentials')),
    key_id      text not null check (key_id <> ''),
    -- XChaCha20-Poly1305: 24 bytes of nonce, then the ciphertext with its tag.
    sealed      bytea not null check (octet_length(sealed) > 40),
    -- Of a previous secret: it signs until then, and is forgotten after.
    valid_until timestamptz,
    primary key (subscription_id, kind),
    check ((kind = 'previous') = (valid_until is not null))
);

create index subscription_secret_until on rowcall.subscription_secret (valid_until)
where valid_until is not null;

-- The handshake with a receiver that has to consent before it is sent anything.
create table rowcall.verification (
    subscription_id uuid primary key references rowcall.subscription on delete cascade,
    state       text not null check (state in ('asking', 'granted', 'given_up')),
    -- Raised whenever it begins anew, so that the answer to an older question counts no more.
    round       integer not null default 1 check (round > 0),
    attempts    integer not null default 0 check (attempts >= 0),
    asked_at    timestamptz not null,
    due_at      timestamptz,
    -- Whether a grant makes the subscription active; false if its owner paused it meanwhile.
    resumes     boolean not null default true,
    detail      text,
    granted_at  timestamptz,
    -- What the receiver allows; null if it named no bound.
    rate_per_minute bigint check (rate_per_minute > 0),
    check ((state = 'asking') = (due_at is not null)),
    check ((state = 'granted') = (granted_at is not null))
);

create index verification_due on rowcall.verification (due_at) where state = 'asking';
