-- Who may call the API.

create table rowcall.api_key (
    id         text primary key check (id ~ '^[a-z0-9]{12}$'),
    name       text not null check (name <> ''),
    role       text not null check (role in ('admin', 'publisher', 'subscriber', 'viewer')),
    -- HMAC-SHA256 of the secret under the salt; the secret itself is shown once and never stored.
    salt       bytea not null check (octet_length(salt) = 32),
    hash       bytea not null check (octet_length(hash) = 32),
    created_at timestamptz not null,
    revoked_at timestamptz,
    check (revoked_at >= created_at)
);

-- What a POST with an Idempotency-Key made, so that its repetition answers the same.
create table rowcall.idempotency (
    principal   text not null,
    key         text not null check (length(key) between 1 and 255),
    -- SHA-256 of method, path and body: the same key with another request is refused.
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    resource_id uuid not null,
    created_at  timestamptz not null,
    primary key (principal, key)
);
