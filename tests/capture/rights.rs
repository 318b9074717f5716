//! Rights: everything works for a role that owns nothing of the application, and writers and owners
//! of tables gain nothing by what runs in their statements.

use chrono::TimeDelta;
use diesel::{PgConnection, connection::SimpleConnection as _};
use rowcall::{
    db::Database,
    source::{
        detach::{attach, detach},
        list::State,
        rebase::Unread,
    },
    stage::Stage as _,
};

use crate::{
    epoch::{SUBSCRIBED, default_source, publish, published, rebased, refusal},
    reading::{ROWS, rows_metadata, run},
    support::{
        app::{Options, TestApp},
        postgres::{TestDatabase, connect, execute},
    },
};

/// An instance that runs with the rights that docs/CAPTURE.md names, the table's owner, and a
/// writer.
struct Least {
    app: TestApp,
    /// A superuser's.
    admin: String,
    owner: String,
    writer: String,
}

impl Least {
    async fn new() -> Self {
        let mut database = TestDatabase::create();
        let (admin, name) = (database.url.clone(), database.name.clone());
        let role = |role: &str| format!("{name}_{role}");
        let url = |role: &str| admin.replace("user=rowcall", &format!("user={name}_{role}"));
        let (service, owner, writer) = (role("service"), role("owner"), role("writer"));
        execute(
            &admin,
            &format!(
                "drop schema rowcall cascade;
                 create role {service} login; create role {owner} login; create role {writer} login;
                 grant rowcall_capture to {service};
                 grant create on database {name} to {service}, {owner}, {writer};
                 {ROWS};
                 alter table public.rows owner to {owner};
                 grant select, insert, update, delete on public.rows to {writer};
                 grant create on schema public to {owner};
                 grant trigger on public.rows to {service}"
            ),
        );
        database.url = url("service");
        rowcall::db::migrate(&database.url).unwrap();
        let app = TestApp::on_database(database, Options::default()).await;
        app.apply(&format!("{}{SUBSCRIBED}", rows_metadata("")))
            .await;
        Self {
            app,
            owner: url("owner"),
            writer: url("writer"),
            admin,
        }
    }

    async fn upkeep(&mut self) {
        let now = self.app.clock.now();
        self.app.instance.upkeep.run_once(now).await.unwrap();
    }
}

#[tokio::test]
async fn everything_works_without_owning_anything() {
    // GIVEN
    let mut least = Least::new().await;
    execute(&least.writer, "insert into public.rows values (1, 'a')");
    publish(&mut least.app).await;
    // WHEN leaves are rotated and dropped
    least.app.clock.advance(TimeDelta::hours(25));
    least.upkeep().await;
    execute(&least.writer, "insert into public.rows values (2, 'a')");
    publish(&mut least.app).await;
    least.app.clock.advance(TimeDelta::days(8));
    // The leaf is counted for the account, and dropped in the next run.
    least.upkeep().await;
    least.upkeep().await;
    assert_eq!(
        least
            .app
            .texts("select number from rowcall.rotation where number = 1"),
        [""; 0]
    );
    // AND it is detached: not the owner, so the triggers stay, do nothing, and are told
    let database = Database::new(&least.app.database.url, 1);
    let now = least.app.clock.now();
    let done = detach(&database, "default", None, now).await.unwrap();
    let statements: Vec<String> = done.left.iter().map(|left| left.drop_statement()).collect();
    assert_eq!(
        statements,
        [
            "DROP TRIGGER \" rowcall\" ON public.rows;",
            "DROP TRIGGER \" rowcall truncate\" ON public.rows;"
        ]
    );
    execute(
        &least.writer,
        "insert into public.rows values (3, 'not captured')",
    );
    // The owner may follow half of the advice.
    execute(&least.owner, &statements[0]);
    execute(
        &least.writer,
        "insert into public.rows values (4, 'not captured')",
    );
    // AND attached again
    attach(&database, "default", None, 100_000, now)
        .await
        .unwrap();
    execute(&least.writer, "insert into public.rows values (5, 'a')");
    publish(&mut least.app).await;
    // AND its sequence is set back, and it is rebased
    execute(&least.admin, "select setval('rowcall.change_seq', 1)");
    assert!(refusal(&mut least.app).await.contains("set back"));
    rebased(&least.app, Unread::Publish).await;
    execute(&least.writer, "insert into public.rows values (6, 'a')");
    publish(&mut least.app).await;
    // THEN
    assert_eq!(
        published(&least.app),
        [
            "created 1",
            "created 2",
            "gap detached",
            "created 5",
            "created 6"
        ]
    );
    assert_eq!(default_source(&least.app).await.state, State::Reading);
}

/// Runs a statement that must be refused for want of a right.
fn refused(connection: &mut PgConnection, sql: &str) {
    let error = connection.batch_execute(sql).unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{sql}: {error}");
}

#[tokio::test]
async fn a_writer_can_neither_forge_changes_nor_read_them() {
    let mut least = Least::new().await;
    let mut writer = connect(&least.writer);
    run(&mut writer, "insert into public.rows values (1, 'a')");
    run(
        &mut writer,
        "create schema mine; create table mine.rows (id integer, v text)",
    );
    for sql in [
        "insert into rowcall.change_1 select * from rowcall.change",
        "insert into rowcall.change (seq) values (1)",
        "select * from rowcall.change",
        "select * from rowcall.event",
        "select rowcall.capture_1()",
        "select setval('rowcall.change_seq', 1)",
        "select nextval('rowcall.change_seq')",
        "create trigger mine after insert on mine.rows for each row \
         execute function rowcall.capture_1()",
        "update rowcall.source set position = 0",
        "set role rowcall_capture",
        "create function rowcall.capture_1() returns trigger language plpgsql as 'begin end'",
    ] {
        refused(&mut writer, sql);
    }
    publish(&mut least.app).await;
    assert_eq!(published(&least.app), ["created 1"]);
}

/// What a writer may put before everything that the capture function names: each would, if it were
/// called, leave its mark in `mine.ran`.
const TRAPS: &str = "
    create schema mine; grant usage on schema mine to public;
    create table mine.ran (who text); grant insert on mine.ran to public;
    create function mine.mark() returns void language plpgsql as $f$
    begin insert into mine.ran values (current_user); end $f$;
    create temp table change_1 (like mine.ran); create temp table change (like mine.ran);
    create table mine.change_1 (who text); create temp sequence trap;
";

/// Functions that shadow those of pg_catalog, in a schema of the writer's.
fn shadow(schema: &str) -> String {
    [
        ("row_to_json", "record", "json", "'{}'::pg_catalog.json"),
        ("nextval", "regclass", "bigint", "1::pg_catalog.int8"),
        ("pg_current_xact_id", "", "xid8", "'1'::pg_catalog.xid8"),
        ("clock_timestamp", "", "timestamptz", "pg_catalog.now()"),
        (
            "current_setting",
            "text, boolean",
            "text",
            "'forged'::pg_catalog.text",
        ),
        (
            "\"left\"",
            "text, integer",
            "text",
            "'forged'::pg_catalog.text",
        ),
        ("lower", "text", "text", "'forged'::pg_catalog.text"),
        ("pg_column_size", "\"any\"", "integer", "0"),
        (
            "pg_try_advisory_lock_shared",
            "integer, integer",
            "boolean",
            "false",
        ),
        (
            "pg_advisory_unlock_shared",
            "integer, integer",
            "boolean",
            "false",
        ),
        ("pg_notify", "text, text", "void", "null"),
        ("json_each", "json", "json", "'{}'::pg_catalog.json"),
    ]
    .iter()
    .filter(|(_, arguments, ..)| !arguments.contains("any"))
    .map(|(name, arguments, result, value)| {
        let answer = if *result == "void" { "" } else { value };
        format!(
            "create function {schema}.{name}({arguments}) returns {result} language plpgsql \
             as $f$ begin perform mine.mark(); return {answer}; end $f$;\n"
        )
    })
    .collect()
}

#[tokio::test]
async fn nothing_that_a_writer_puts_in_the_way_is_run() {
    // GIVEN a writer with functions, operators and tables named as what is used
    let mut least = Least::new().await;
    let mut writer = connect(&least.writer);
    run(&mut writer, TRAPS);
    run(&mut writer, &shadow("mine"));
    run(&mut writer, &shadow("pg_temp"));
    run(
        &mut writer,
        "create function mine.always(anyelement, anyelement) returns boolean language sql \
             as $f$ select mine.mark() is null $f$;
         create operator mine.= (leftarg = anyelement, rightarg = anyelement, function = mine.always);
         create operator mine.> (leftarg = anyelement, rightarg = anyelement, function = mine.always);
         create operator mine.+ (leftarg = integer, rightarg = integer, function = pg_catalog.int4mi);
         create domain mine.json as text; create domain mine.int8 as integer;
         create trigger trap before insert on pg_temp.change_1 for each row \
             execute function suppress_redundant_updates_trigger()",
    );
    // (they do run where a name is not told apart)
    run(
        &mut writer,
        "set search_path = mine, pg_catalog; select lower('A'), nextval('pg_temp.trap')",
    );
    assert_eq!(texts(&least.admin, "select who from mine.ran").len(), 2);
    run(&mut writer, "delete from mine.ran");
    // WHEN it writes with them in front
    for path in [
        "mine, pg_temp, pg_catalog, public",
        "pg_temp, mine, pg_catalog, public",
        "",
    ] {
        run(
            &mut writer,
            &format!("select set_config('search_path', '{path}', false)"),
        );
        run(
            &mut writer,
            "insert into public.rows values (1, 'a'); update public.rows set v = 'b'; \
             delete from public.rows",
        );
    }
    publish(&mut least.app).await;
    // THEN everything is captured as it was, and nothing of it has run
    let wanted = ["created 1", "updated 1", "deleted 1"];
    assert_eq!(published(&least.app), [wanted, wanted, wanted].concat());
    run(&mut writer, "set search_path = public");
    let ran = texts(&least.admin, "select who from mine.ran");
    assert_eq!(ran, [""; 0]);
    let roles = least.app.texts("select distinct role from rowcall.change");
    assert_eq!(roles, [least.app.database.name.clone() + "_writer"]);
}

#[tokio::test]
async fn an_owners_cast_does_not_run_with_others_rights() {
    // GIVEN an owner whose column's type has casts to json and to text, which note who runs them
    let mut least = Least::new().await;
    let mut owner = connect(&least.owner);
    run(
        &mut owner,
        "create schema mine; grant usage on schema mine to public;
         create table mine.ran (who text); grant insert on mine.ran to public;
         create type mine.mood as enum ('sad', 'glad');
         create function mine.as_json(mine.mood) returns json language plpgsql as $f$
         begin insert into mine.ran values (current_user); return '1'; end $f$;
         create function mine.as_text(mine.mood) returns text language plpgsql as $f$
         begin insert into mine.ran values (current_user); return 'forged'; end $f$;
         alter table public.rows add column mood mine.mood",
    );
    run(
        &mut owner,
        "create cast (mine.mood as json) with function mine.as_json(mine.mood);
         create cast (mine.mood as text) with function mine.as_text(mine.mood)",
    );
    least.upkeep().await;
    // WHEN rows are written
    execute(
        &least.writer,
        "insert into public.rows values (1, 'a', 'glad'), (2, 'b', null)",
    );
    publish(&mut least.app).await;
    // THEN the value is captured as Postgres writes it, and nothing of the owner's has run
    assert_eq!(texts(&least.admin, "select who from mine.ran"), [""; 0]);
    let moods = least
        .app
        .texts("select body::json->'data'->'after'->>'mood' from rowcall.event order by position");
    assert_eq!(moods, ["glad", "null"]);
    assert_eq!(published(&least.app), ["created 1", "created 2"]);
}

/// The first column of a query's rows, seen by the role of `url`.
fn texts(url: &str, sql: &str) -> Vec<String> {
    use diesel::{QueryableByName, RunQueryDsl as _, sql_types::Text};
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let rows: Vec<Row> =
        diesel::sql_query(format!("select v::text as value from ({sql}) as q (v)"))
            .load(&mut connect(url))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.value).collect()
}
