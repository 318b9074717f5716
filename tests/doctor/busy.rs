//! Installing triggers beside sessions that hold a table.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use rowcall::{
    capture::install::step::TABLE_LOCK_TIMEOUT_MS, doctor::finding::Severity, stage::Stage as _,
};

use crate::{
    house::{found, only, saying, warnings},
    support::app::TestApp,
};

const TABLES: &str = "create table public.a (id integer primary key); \
    create table public.b (id integer primary key); \
    create table public.c (id integer primary key)";

const METADATA: &str = r#"
    [namespace.shop]
    [object_type."shop.a"]
    table = "public.a"
    key = ["id"]
    [object_type."shop.b"]
    table = "public.b"
    key = ["id"]
    [object_type."shop.c"]
    table = "public.c"
    key = ["id"]
"#;

/// Three tables whose triggers somebody dropped.
async fn stripped() -> TestApp {
    let app = TestApp::start(TABLES).await;
    app.apply(METADATA).await;
    for table in ["a", "b", "c"] {
        app.sql(&format!("drop trigger \" rowcall\" on {table}"));
    }
    app
}

fn captured(app: &TestApp) -> Vec<String> {
    app.texts(
        "select c.relname from pg_trigger t join pg_class c on c.oid = t.tgrelid \
         where t.tgname = ' rowcall' order by 1",
    )
}

#[tokio::test]
async fn a_busy_table_keeps_no_other_from_being_captured() {
    // GIVEN a writer that keeps one of the tables in its transaction
    let mut app = stripped().await;
    let mut writer = app.connect();
    writer
        .batch_execute("begin; insert into b values (1)")
        .unwrap();
    // WHEN upkeep runs
    let begun = Instant::now();
    let shown = warnings(&mut app).await;
    // THEN the other two are captured, and it says which is not, having waited for one lock
    assert_eq!(captured(&app), ["a", "c"]);
    assert_eq!(saying(&shown, &["public.b", "is missing"]), 1, "{shown:?}");
    assert_eq!(shown.len(), 1, "{shown:?}");
    only(
        &found(&app, "trigger-missing").await,
        Severity::Error,
        "public.b",
    );
    let patience = Duration::from_millis(u64::from(TABLE_LOCK_TIMEOUT_MS));
    assert!(begun.elapsed() >= patience, "it did not wait: {begun:?}");
    // WHEN the writer ends THEN the next run, which comes soon, captures it too
    writer.batch_execute("commit").unwrap();
    let rested = Instant::now();
    let now = app.clock.now();
    app.instance.upkeep.rest(now).await;
    assert!(rested.elapsed() < Duration::from_secs(10), "{rested:?}");
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    assert_eq!(captured(&app), ["a", "b", "c"]);
}

#[tokio::test]
async fn writers_wait_behind_an_installation_no_longer_than_its_patience() {
    // GIVEN a reader in a transaction on a busy table, and a writer's statement that comes when
    // upkeep waits for the lock
    let mut app = stripped().await;
    let mut holder = app.connect();
    holder
        .batch_execute("begin; insert into b values (1)")
        .unwrap();
    let mut writer = app.connect();
    let mut watcher = app.connect();
    let waits = tokio::task::spawn_blocking(move || {
        // Until upkeep is in the queue for the lock.
        let waiting = "do $$ begin while not exists (select from pg_locks where not granted \
            and relation = 'public.b'::regclass and mode = 'ShareRowExclusiveLock') \
            loop perform pg_stat_clear_snapshot(); end loop; end $$";
        watcher.batch_execute(waiting).unwrap();
        let begun = Instant::now();
        writer.batch_execute("insert into b values (2)").unwrap();
        begun.elapsed()
    });
    // WHEN
    warnings(&mut app).await;
    // THEN the writer went on, though the holder did not
    let waited = waits.await.unwrap();
    let bound = Duration::from_millis(u64::from(TABLE_LOCK_TIMEOUT_MS));
    assert!(
        waited < bound + Duration::from_millis(500),
        "the writer waited for {waited:?}"
    );
    holder.batch_execute("rollback").unwrap();
    warnings(&mut app).await;
    assert_eq!(captured(&app), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_new_leaf_is_written_also_by_the_function_of_a_busy_table() {
    // GIVEN
    let mut app = stripped().await;
    warnings(&mut app).await;
    app.sql("drop trigger \" rowcall\" on b");
    let mut holder = app.connect();
    holder
        .batch_execute("begin; lock table b in access share mode; insert into a values (1)")
        .unwrap();
    // WHEN a leaf is due
    app.clock.advance(chrono::TimeDelta::hours(25));
    warnings(&mut app).await;
    // THEN no function writes into the old one, which may be dropped one day
    assert_eq!(
        app.count(
            "select count(*) from pg_proc where proname ~ '^capture_[0-9]+$' \
                 and prosrc like '%rowcall.change_2%'"
        ),
        3
    );
    holder.batch_execute("rollback").unwrap();
}

#[tokio::test]
async fn a_trigger_that_may_not_be_created_stops_no_other() {
    // GIVEN upkeep as a user who may create triggers on two of three tables
    let app = stripped().await;
    let role = format!("{}_service", app.database.name);
    app.sql(&format!(
        "create role {role} login; grant rowcall_capture to {role}; \
         grant trigger on a, c to {role}; \
         alter schema rowcall owner to {role}"
    ));
    app.sql(&format!("reassign owned by rowcall_capture to rowcall_capture; \
        do $$ declare t record; begin \
            for t in select oid::regclass as name from pg_class where relnamespace = 'rowcall'::regnamespace \
                and relkind in ('r', 'p') loop \
                execute format('alter table %s owner to {role}', t.name); \
            end loop; end $$; alter sequence rowcall.change_seq owner to {role}"));
    let url = app
        .database
        .url
        .replace("user=rowcall", &format!("user={role}"));
    let mut upkeep = rowcall::upkeep::Upkeep::new(
        rowcall::db::Database::new(&url, 2),
        rowcall::config::Limits::for_testing(),
        rowcall::stage::Nudge::default(),
    );
    // WHEN
    let failed = upkeep.run_once(app.clock.now()).await.unwrap_err();
    // THEN
    let text = rowcall::stage::chain(&failed);
    assert!(
        text.contains("shop.b") && text.contains("permission denied"),
        "{text}"
    );
    assert_eq!(captured(&app), ["a", "c"]);
}
