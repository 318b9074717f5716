-- The catalogue: what the business objects are, in versions. One row of catalog_item is one thing
-- as it was from version_from up to, not including, version_to.

create table rowcall.catalog_version (
    version    bigint primary key check (version > 0),
    applied_at timestamptz not null,
    author     text not null,
    reason     text not null,
    origin     text not null check (origin in ('folder', 'api')),
    -- SHA-256 of the folder's files, so that an unchanged folder is applied once.
    digest     bytea check (octet_length(digest) = 32),
    check ((origin = 'folder') = (digest is not null))
);

create table rowcall.catalog_item (
    kind         text not null check (kind in ('namespace', 'object_type')),
    name         text not null check (name <> ''),
    origin       text not null check (origin in ('folder', 'api')),
    definition   json not null check (json_typeof(definition) = 'object'),
    version_from bigint not null references rowcall.catalog_version,
    version_to   bigint references rowcall.catalog_version,
    primary key (kind, name, version_from),
    check (version_to > version_from)
);

create unique index catalog_item_current on rowcall.catalog_item (kind, name)
    where version_to is null;

-- One row. Its lock orders publishing and edits: an edit of the catalogue or of the registration
-- list takes it for update and raises the revision; publishing takes it for share.
create table rowcall.registry (
    singleton       boolean primary key default true check (singleton),
    revision        bigint not null default 0 check (revision >= 0),
    -- Names the key that encrypts the secrets, so that a wrong key is noticed at start.
    secret_key_id   text
);

insert into rowcall.registry default values;
