-- Capture in a database that is not the repository's: what triggers write, rotation keeps and the copier reads. These
-- tables are those of the repository, so that the same code installs, rotates and reads.

do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'rowcall_capture') then
        -- Two databases of one cluster may be set up at the same time; the role is the cluster's.
        begin
            create role rowcall_capture nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    -- Creating a function that the role owns asks for SET ROLE; a superuser may do so already. From
    -- PostgreSQL 16 on, who creates a role is its member and yet may not.
    if not pg_catalog.pg_has_role(current_user, 'rowcall_capture',
            case when pg_catalog.current_setting('server_version_num')::integer < 160000
                then 'member' else 'set' end) then
        execute pg_catalog.format('grant rowcall_capture to %I', current_user);
    end if;
end
$$;

grant usage on schema rowcall to rowcall_capture;

-- Whose changes these are: of two repositories that read one change table, each would drop what the other has not read.
create table rowcall.captured_for (
    singleton  boolean primary key default true check (singleton),
    repository uuid not null,
    -- What the repository calls this database.
    source     text not null check (source <> '')
);

create sequence rowcall.change_seq as bigint cache 1;
grant usage on sequence rowcall.change_seq to rowcall_capture;

create table rowcall.change (
    seq         bigint not null,
    xid         xid8 not null,
    rotation    integer not null,
    target      integer not null,
    relation    oid not null,
    op          "char" not null,
    before      json,
    after       json,
    at          timestamptz not null,
    role        text not null,
    actor       text,
    traceparent text,
    -- Always null here.
    source_xid  xid8
) partition by list (rotation);

create table rowcall.rotation (
    number    integer primary key check (number > 0),
    opened_at timestamptz not null,
    closed_at timestamptz,
    check (closed_at >= opened_at)
);

create unique index rotation_open on rowcall.rotation ((closed_at is null)) where closed_at is null;

create table rowcall.capture_target (
    id           integer primary key generated always as identity,
    object_type  text not null check (object_type <> ''),
    relation     oid not null,
    table_name   text not null,
    function_sql text not null default '',
    installed_at timestamptz not null,
    removed_at   timestamptz,
    -- Not used here: the repository keeps the columns' shapes.
    shape        text not null default '',
    check (removed_at >= installed_at)
);

create unique index capture_target_current on rowcall.capture_target (object_type)
    where removed_at is null;

-- How far the repository has read, as far as this database was told: leaves that hold more are kept. The cursor itself
-- is in the repository, in one transaction with the copies. The row is called `default` as in any database of itself.
create table rowcall.source (
    name        text primary key check (name <> ''),
    snapshot    pg_snapshot not null,
    seq_floor   bigint not null default 0,
    -- Always null here: the repository says it.
    stopped_at  timestamptz,
    detached_at timestamptz
);

-- Always empty here.
create table rowcall.source_backlog (source text not null);
create table rowcall.source_gap (source text not null, object_type text, ended_at timestamptz);
