//! Detaching: what is not captured meanwhile is told, in its place among what is.

use rowcall::{
    db::Database,
    source::{
        SourceError,
        detach::{Attached, Detachment, attach, detach},
        list::State,
    },
    stage::Stage as _,
};
use serde_json::Value;

use crate::{
    epoch::{SUBSCRIBED, default_source, publish, published},
    reading::{ROWS, rows_metadata, run},
    support::app::{Options, TestApp},
};

const OTHER: &str = "\n[object_type.\"t.other\"]\ntable = \"public.other\"\nkey = [\"id\"]\n";

async fn app() -> TestApp {
    let sql = format!("{ROWS}; create table public.other (id integer primary key)");
    let app = TestApp::start_with(&sql, Options::default()).await;
    app.apply(&format!("{}{OTHER}{SUBSCRIBED}", rows_metadata("")))
        .await;
    app
}

async fn detached(app: &TestApp, only: Option<&str>) -> Result<Detachment, SourceError> {
    let database = Database::new(&app.database.url, 1);
    detach(&database, "default", only, app.clock.now()).await
}

async fn attached(app: &TestApp, only: Option<&str>) -> Vec<Attached> {
    let database = Database::new(&app.database.url, 1);
    attach(&database, "default", only, 100_000, app.clock.now())
        .await
        .unwrap()
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

fn triggers(app: &TestApp) -> i64 {
    app.count("select count(*) from pg_trigger where tgname like ' rowcall%'")
}

#[tokio::test]
async fn what_a_detached_source_does_not_capture_is_told_when_it_is_attached() {
    // GIVEN a change that is unread
    let mut app = app().await;
    app.sql("insert into rows values (1, 'before')");
    // WHEN the source is detached for a while, with an instance that goes on
    let done = detached(&app, None).await.unwrap();
    assert_eq!(done.object_types, ["t.other", "t.row"]);
    assert_eq!((done.left.len(), triggers(&app)), (0, 0));
    upkeep(&mut app).await;
    assert_eq!(triggers(&app), 0, "upkeep put them on again");
    app.sql("insert into rows values (2, 'missed')");
    let missed = app.texts("select clock_timestamp()");
    publish(&mut app).await;
    assert_eq!(published(&app), ["created 1"]);
    let source = default_source(&app).await;
    assert_eq!((source.state, source.detached.len()), (State::Detached, 2));
    // AND detached once more, which changes nothing
    detached(&app, None).await.unwrap();
    let again = default_source(&app).await;
    assert_eq!(again.gaps, source.gaps);
    // AND attached
    let done = attached(&app, None).await;
    assert!(done.iter().all(|attached| attached.is_captured), "{done:?}");
    app.sql("insert into rows values (3, 'after')");
    publish(&mut app).await;
    // THEN what was captured before comes first, then the gaps, then what came after
    assert_eq!(
        published(&app),
        ["created 1", "gap detached", "gap detached", "created 3"]
    );
    let gap: Value = serde_json::from_str(
        &app.texts(
            "select body from rowcall.event where object_type = 't.row' and type like 'rowcall%'",
        )[0],
    )
    .unwrap();
    let data = &gap["data"];
    assert_eq!(data["reason"], "detached");
    assert_eq!(
        (&data["captured_op"], &data["size"], &data["key"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        app.count(&format!(
            "select ('{missed}'::timestamptz between '{from}' and '{to}')::int",
            missed = missed[0],
            from = data["from"].as_str().unwrap(),
            to = data["to"].as_str().unwrap()
        )),
        1,
        "{data}"
    );
    assert_eq!(default_source(&app).await.state, State::Reading);
    assert_eq!(triggers(&app), 4);
    assert_eq!(attached(&app, None).await, []);
    // AND the gap is in the subscriber's digest
    assert_eq!(
        app.count("select count(*) from rowcall.digest_member where object_type = 't.row'"),
        3
    );
}

#[tokio::test]
async fn one_object_type_is_detached_and_the_others_go_on() {
    let mut app = app().await;
    detached(&app, Some("t.row")).await.unwrap();
    app.sql("insert into rows values (1, 'missed'); insert into other values (1)");
    upkeep(&mut app).await;
    publish(&mut app).await;
    assert_eq!(published(&app), ["created 1"]);
    assert_eq!(default_source(&app).await.detached, ["t.row"]);
    // WHEN the metadata is applied meanwhile
    app.apply(&format!("{}{OTHER}{SUBSCRIBED}# again", rows_metadata("")))
        .await;
    // THEN it stays detached until it is attached
    assert_eq!(triggers(&app), 2);
    attached(&app, Some("t.row")).await;
    app.sql("insert into rows values (2, 'a')");
    publish(&mut app).await;
    assert_eq!(published(&app), ["created 1", "gap detached", "created 2"]);
}

#[tokio::test]
async fn a_table_in_use_is_waited_for_in_turns() {
    // GIVEN a writer in the table
    let app = app().await;
    let mut writer = app.connect();
    run(&mut writer, "begin; insert into rows values (1, 'open')");
    // WHEN it is detached, and the writer commits while that is tried
    let url = app.database.url.clone();
    let now = app.clock.now();
    let detaching = tokio::spawn(async move {
        let database = Database::new(&url, 1);
        detach(&database, "default", Some("t.row"), now).await
    });
    let waits = "select count(*) from pg_locks \
         where mode = 'AccessExclusiveLock' and not granted";
    while !detaching.is_finished() && app.count(waits) == 0 {
        tokio::task::yield_now().await;
    }
    // Others go on between the turns.
    app.sql("set lock_timeout = '5s'; insert into rows values (2, 'other')");
    run(&mut writer, "commit");
    detaching.await.unwrap().unwrap();
    assert_eq!(triggers(&app), 2);
    // AND what both wrote was captured
    let mut app = app;
    publish(&mut app).await;
    assert_eq!(published(&app), ["created 1", "created 2"]);
    attached(&app, None).await;
    publish(&mut app).await;
}

#[tokio::test]
async fn what_is_not_known_is_told_with_the_nearest_name() {
    let app = app().await;
    let error = detached(&app, Some("t.rows"))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "source `default` has no object type `t.rows`; did you mean `t.row`?"
    );
    let database = Database::new(&app.database.url, 1);
    let error = detach(&database, "defualt", None, app.clock.now())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no source `defualt`; did you mean `default`?"
    );
}
