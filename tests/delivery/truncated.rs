//! A TRUNCATE is an event of its own: of the table, of no object.

use chrono::TimeDelta;
use rowcall::stage::Stage as _;
use serde_json::{Value, json};

use crate::{
    shop::{ORDERS, event, mirrored_to, subscribe, subscription},
    support::{
        app::TestApp,
        receiver::{Answer, Received, Receiver},
    },
};

fn types(received: &[Received]) -> Vec<String> {
    let name = |request: &Received| event(request)["type"].as_str().unwrap().to_owned();
    received.iter().map(name).collect()
}

#[tokio::test]
async fn it_says_what_happened_and_names_no_object() {
    // GIVEN a table with a row
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN it is emptied, once in a transaction that is rolled back
    app.sql("begin; truncate orders; rollback");
    app.sql("begin; set local rowcall.actor = 'maria'; truncate orders; commit");
    app.run_until_idle().await;
    // THEN one event says so, and no row is called deleted
    let received = receiver.received();
    assert_eq!(
        types(&received),
        ["sales.order.created", "sales.order.truncated"]
    );
    let mut told = event(&received[1]);
    for absent in ["subject", "partitionkey"] {
        assert_eq!(told.get(absent), None, "{told}");
    }
    let xid = told["data"]["xid"].take();
    assert!(xid.is_string(), "{xid}");
    assert_eq!(
        told["data"],
        json!({"object_type": "sales.order", "key": null, "op": "truncate", "before": null,
            "after": null, "changed": [], "actor": "maria", "xid": null})
    );
    assert_eq!(told["sequence"], "00000000000000000002");
}

#[tokio::test]
async fn it_waits_for_no_object_and_no_object_waits_for_it() {
    // GIVEN a delivery that fails and will be tried again
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, "retry = { schedule = [\"0s\", \"1h\"] }").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN the table is emptied and filled again
    app.sql("truncate orders; insert into orders values (1), (2)");
    app.run_until_idle().await;
    // THEN what concerns object 1 waits, the rest does not
    let mut first = types(&receiver.received());
    first.sort();
    assert_eq!(
        first,
        [
            "sales.order.created",
            "sales.order.created",
            "sales.order.truncated"
        ]
    );
    app.advance(TimeDelta::hours(2)).await;
    assert_eq!(receiver.received().len(), 5);
}

#[tokio::test]
async fn who_asks_for_objects_by_key_or_by_row_is_not_told() {
    // GIVEN
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    let named = |name: &str, what: &str| {
        let url = format!("{}/{name}", receiver.url());
        subscription(name, &url, "").replace("object_types = [\"sales.order\"]", what)
    };
    subscribe(
        &app,
        &[
            named("all", "object_types = [\"sales.order\"]"),
            named("pattern", "event_types = [\"sales.order.*\"]"),
            named("alone", "event_types = [\"sales.order.truncated\"]"),
            named("deleted", "event_types = [\"sales.order.deleted\"]"),
            named(
                "key",
                "object_types = [\"sales.order\"]\nobject_keys = [{ id = 1 }]",
            ),
            named(
                "row",
                "object_types = [\"sales.order\"]\nfilter = \"row.revision >= 0\"",
            ),
            named(
                "either",
                "object_types = [\"sales.order\"]\n\
                 filter = \"op == 'truncate' || row.revision >= 5\"",
            ),
        ],
    )
    .await;
    // WHEN
    app.sql("truncate orders");
    app.run_until_idle().await;
    // THEN
    let mut paths: Vec<String> = receiver.received().into_iter().map(|r| r.path).collect();
    paths.sort();
    assert_eq!(
        paths,
        ["/hook/all", "/hook/alone", "/hook/either", "/hook/pattern"]
    );
}

#[tokio::test]
async fn a_table_with_partitions_is_emptied_by_one_event_and_what_it_cascades_to_by_another() {
    // GIVEN a partitioned table, and one that refers to it
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(
        "create table public.orders (id integer primary key, revision integer) \
             partition by range (id);
         create table public.orders_1 partition of orders for values from (0) to (100);
         create table public.orders_2 partition of orders for values from (100) to (200);
         create table public.lines (id integer primary key, order_id integer references orders)",
    )
    .await;
    let more = "[object_type.\"sales.line\"]\ntable = \"public.lines\"\nkey = [\"id\"]\n";
    let all = subscription("mirror", receiver.url(), "").replace("sales.order", "sales.*");
    subscribe(&app, &[more.to_owned(), all]).await;
    // WHEN the root is emptied, then a leaf twice in a transaction, with a row between
    app.sql("truncate orders cascade");
    app.sql("alter table lines drop constraint lines_order_id_fkey");
    app.sql(
        "begin; truncate orders_1; insert into orders values (1, 1); \
         truncate orders_1; truncate orders_2; commit",
    );
    app.run_until_idle().await;
    // THEN
    let mut told = types(&receiver.received());
    told.sort();
    assert_eq!(
        told,
        [
            "sales.line.truncated",
            "sales.order.created",
            "sales.order.truncated",
            "sales.order.truncated",
            "sales.order.truncated"
        ]
    );
}

/// Publishes what was captured, closes the digest's window and gives its data.
async fn digest_of(condense: &str) -> Value {
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    let batch = subscription("mirror", receiver.url(), "").replace(
        "mode = \"synchronous\"",
        &format!("mode = \"batch\"\nschedule = {{ max_wait = \"1h\" }}\ncondense = \"{condense}\""),
    );
    subscribe(&app, &[batch]).await;
    app.sql("insert into orders values (1), (2), (3)");
    app.sql("truncate orders");
    app.sql("insert into orders values (2, 9); insert into orders values (4); truncate orders");
    app.sql("insert into orders values (3, 7)");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    app.advance(TimeDelta::hours(1)).await;
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    event(&received[0])["data"].take()
}

#[tokio::test]
async fn a_digest_of_keys_counts_it() {
    let data = digest_of("keys").await;
    assert_eq!(data["count"], 8);
    let truncated = &data["events"][1];
    assert_eq!(truncated["type"], "sales.order.truncated", "{data}");
    assert_eq!(
        (&truncated["count"], &truncated["keys"]),
        (&json!(2), &json!([]))
    );
}

#[tokio::test]
async fn a_digest_of_all_events_carries_it() {
    let data = digest_of("none").await;
    assert_eq!(data["items"].as_array().unwrap().len(), 8);
    assert_eq!(data["items"][3]["type"], "sales.order.truncated");
}

#[tokio::test]
async fn the_net_effect_says_whose_rows_may_be_gone() {
    // GIVEN 1, 2 and 4 that last changed before a TRUNCATE, and 3 that was made anew after both
    let data = digest_of("net_effect").await;
    // THEN
    let told: Vec<String> = data["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let (key, op) = (&object["key"]["id"], &object["op"]);
            let after = &object["after"]["revision"];
            format!("{key} {} {after} {}", op.as_str().unwrap(), object["count"])
        })
        .collect();
    assert_eq!(
        told,
        [
            "1 gap null 1",
            "2 gap null 2",
            "3 create 7 2",
            "null truncate null 2",
            "4 gap null 1"
        ]
    );
    assert_eq!(data["count"], 8);
}
