//! Who is told of what.

use diesel::{Connection as _, connection::SimpleConnection as _};
use rowcall::{registry::registry_raise, stage::Stage as _};
use serde_json::json;

use crate::{
    shop::{ORDERS, api, event, publish, row, rows, subscribe, subscription},
    support::{
        app::TestApp,
        receiver::{Received, Receiver},
    },
};

const WAREHOUSE: &str = r#"
    [namespace.sales]
    [namespace.stock]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
    [object_type."stock.part"]
    table = "public.parts"
    key = ["code", "lot"]
"#;

fn told_of(name: &str, what: &str, url: &str) -> String {
    format!(
        "[subscription.{name}]\n{what}\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{url}\", secret = {{ env = \"SIGNING_SECRET\" }} }}\n"
    )
}

/// `type key` of each request to this path, sorted, as objects are independent.
fn told(received: &[Received], path: &str) -> Vec<String> {
    let mut told: Vec<String> = received
        .iter()
        .filter(|request| request.path == path)
        .map(event)
        .map(|event| {
            format!(
                "{} {}",
                event["type"].as_str().unwrap(),
                event["subject"].as_str().unwrap()
            )
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_subscription_hears_of_what_it_names_and_of_nothing_else() {
    // GIVEN subscriptions by event type, object type, pattern and key
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(&format!(
        "{ORDERS}; create table public.parts (code text, lot integer, note text, primary key (code, lot))"
    ))
    .await;
    let subscriptions: String = [
        ("created", r#"event_types = ["sales.order.created"]"#),
        ("parts", r#"object_types = ["stock.part"]"#),
        ("verbs", r#"event_types = ["*.deleted"]"#),
        (
            "both",
            "event_types = [\"sales.*.deleted\"]\nobject_types = [\"stock.*\"]",
        ),
        (
            "one",
            "object_types = [\"sales.order\"]\nobject_keys = [{ id = 1 }, { id = 3 }]",
        ),
        (
            "lot",
            "object_types = [\"stock.part\"]\nobject_keys = [{ code = \"a/b\", lot = 7 }]",
        ),
    ]
    .iter()
    .map(|(name, what)| {
        told_of(
            name,
            what,
            &format!("http://127.0.0.1:{}/{name}", receiver.port()),
        )
    })
    .collect();
    app.apply(&format!("{WAREHOUSE}{subscriptions}")).await;
    // WHEN objects of both types are written
    app.sql("insert into orders values (1), (2)");
    app.sql("update orders set revision = 2; delete from orders where id = 2");
    app.sql("insert into parts values ('a/b', 7, null), ('a', 7, null); delete from parts where code = 'a'");
    app.run_until_idle().await;
    // THEN each hears what it named, once
    let received = receiver.received();
    for (path, expected) in [
        (
            "/created",
            vec!["sales.order.created 1", "sales.order.created 2"],
        ),
        (
            "/parts",
            vec![
                "stock.part.created a%2Fb/7",
                "stock.part.created a/7",
                "stock.part.deleted a/7",
            ],
        ),
        (
            "/verbs",
            vec!["sales.order.deleted 2", "stock.part.deleted a/7"],
        ),
        (
            "/both",
            vec![
                "sales.order.deleted 2",
                "stock.part.created a%2Fb/7",
                "stock.part.created a/7",
                "stock.part.deleted a/7",
            ],
        ),
        (
            "/one",
            vec!["sales.order.created 1", "sales.order.updated 1"],
        ),
        ("/lot", vec!["stock.part.created a%2Fb/7"]),
    ] {
        assert_eq!(told(&received, path), expected, "{path}");
    }
}

#[tokio::test]
async fn a_subscription_of_one_key_hears_how_objects_come_to_it_and_leave_it() {
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    let keys = "object_keys = [{ id = 1 }]";
    subscribe(&app, &[subscription("one", receiver.url(), keys)]).await;
    // WHEN an object leaves the key, another one comes to it, and one passes by
    app.sql("insert into orders values (1, 1), (5, 50), (6, 1)");
    app.sql("update orders set id = 2, revision = 2 where id = 1");
    app.sql("update orders set revision = 3 where id = 2");
    app.sql("update orders set id = 1 where id = 5; update orders set id = 7 where id = 6");
    app.run_until_idle().await;
    // THEN it hears of the first two
    assert_eq!(rows(&receiver.received()), ["1:1", "2:2", "1:50"]);
}

#[tokio::test]
async fn what_commits_after_a_registration_is_matched_although_publishing_knows_an_older_list() {
    // GIVEN publishing that has the registration list in memory
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    subscribe(&app, &[]).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN a subscription is registered and a row changes after the answer
    let spec = json!({
        "name": "late", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": receiver.url()},
    });
    api(&app, "POST", "/v1/subscriptions", &spec).await;
    app.sql("insert into orders values (2)");
    app.run_until_idle().await;
    // THEN it hears of that change, and not of the earlier one
    assert_eq!(rows(&receiver.received()), ["2:1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_waits_for_a_registration_that_is_being_committed() {
    // GIVEN a subscription whose pausing is being committed when publishing reads
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), "")]).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let mut editor = app.connect();
    editor.batch_execute("begin").unwrap();
    registry_raise(&mut editor).unwrap();
    editor
        .batch_execute("update rowcall.subscription set state = 'paused' where name = 'mirror'")
        .unwrap();
    app.sql("insert into orders values (2)");
    // WHEN publishing runs THEN it waits for the edit, and goes by it
    let now = app.clock.now();
    let url = app.database.url.clone();
    let commit = tokio::task::spawn_blocking(move || {
        let mut observer = crate::support::postgres::connect(&url);
        let waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database()";
        while diesel::RunQueryDsl::execute(diesel::sql_query(waiting), &mut observer).unwrap() == 0
        {
        }
        editor.batch_execute("commit").unwrap();
    });
    app.instance.publish.run_once(now).await.unwrap();
    commit.await.unwrap();
    assert_eq!(
        app.texts("select due_at from rowcall.delivery order by position desc limit 1"),
        ["infinity"]
    );
    assert_eq!(
        receiver.received().iter().map(row).collect::<Vec<_>>(),
        ["1:1"]
    );
}

#[tokio::test]
async fn what_is_rolled_back_or_of_another_table_is_not_published() {
    let receiver = Receiver::start().await;
    let mut app =
        TestApp::start(&format!("{ORDERS}; create table public.other (id integer)")).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), "")]).await;
    app.sql("begin; insert into orders values (1); rollback");
    app.sql("insert into other values (1)");
    app.sql(
        "begin; insert into orders values (2); savepoint s; insert into orders values (3); \
        rollback to s; commit",
    );
    app.connect()
        .transaction::<(), diesel::result::Error, _>(|connection| {
            connection.batch_execute("insert into orders values (4)")?;
            Err(diesel::result::Error::RollbackTransaction)
        })
        .unwrap_err();
    publish(&mut app).await;
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["2:1"]);
}
