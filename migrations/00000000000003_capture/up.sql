-- Capture: the change table, written by triggers inside the writers' transactions and never updated.
-- Its leaves are numbered by rotation; the leaves and the trigger functions are made by
-- src/capture, because they are replaced while Rowcall runs.

do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'rowcall_capture') then
        -- Two databases of one cluster may migrate at the same time; the role is the cluster's.
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

create sequence rowcall.change_seq as bigint cache 1;
grant usage on sequence rowcall.change_seq to rowcall_capture;

create table rowcall.change (
    seq         bigint not null,
    xid         xid8 not null,
    rotation    integer not null,
    -- rowcall.capture_target.id
    target      integer not null,
    -- The leaf that was written: a row moved between partitions is a delete and a create of two leaves.
    relation    oid not null,
    -- c create, u update, d delete, t truncate, g gap
    op          "char" not null,
    before      json,
    after       json,
    at          timestamptz not null,
    role        text not null,
    actor       text,
    traceparent text
) partition by list (rotation);

create table rowcall.rotation (
    number    integer primary key check (number > 0),
    opened_at timestamptz not null,
    closed_at timestamptz,
    check (closed_at >= opened_at)
);

create unique index rotation_open on rowcall.rotation ((closed_at is null)) where closed_at is null;

-- What the triggers are installed for.
create table rowcall.capture_target (
    id           integer primary key generated always as identity,
    object_type  text not null check (object_type <> ''),
    relation     oid not null,
    -- schema.table as it was when the triggers were installed
    table_name   text not null,
    -- The trigger function as it was last written.
    function_sql text not null default '',
    installed_at timestamptz not null,
    removed_at   timestamptz,
    check (removed_at >= installed_at)
);

create unique index capture_target_current on rowcall.capture_target (object_type)
    where removed_at is null;

-- How far each source was read. A batch is what is visible in batch_snapshot and not in snapshot;
-- one that is published in several transactions remembers the last change that was.
create table rowcall.source (
    name              text primary key check (name <> ''),
    snapshot          pg_snapshot not null,
    batch_snapshot    pg_snapshot,
    batch_seq         bigint,
    -- The position of the last event; events of one source are numbered in the order they were published.
    position          bigint not null default 0 check (position >= 0),
    changes_published bigint not null default 0 check (changes_published >= 0),
    -- Raised with every batch: a publisher that was overtaken finds another number and gives up.
    revision          bigint not null default 0 check (revision >= 0),
    check ((batch_snapshot is null) = (batch_seq is null))
);

insert into rowcall.source (name, snapshot) values ('default', pg_catalog.pg_current_snapshot());
