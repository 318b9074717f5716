//! The way of a change when nothing breaks.

use crate::support::{app::TestApp, receiver::Receiver};

pub(crate) const ORDERS: &str = "create table public.orders \
    (id integer primary key, status text, region text, secret_note text, card text)";

pub(crate) fn orders_to(url: &str, more: &str) -> String {
    format!(
        r#"
        [namespace.sales]
        [object_type."sales.order"]
        table = "public.orders"
        key = ["id"]
        exclude = ["secret_note"]
        mask = ["card"]
        [subscription.mirror]
        object_types = ["sales.order"]
        mode = "synchronous"
        sink = {{ kind = "webhook", url = "{url}", secret = {{ env = "SIGNING_SECRET" }} }}
        {more}
        "#
    )
}

#[tokio::test]
async fn a_committed_change_reaches_its_subscriber_as_a_signed_cloud_event() {
    // GIVEN a table that is an object type, and a subscriber of its events
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    app.apply(&orders_to(receiver.url(), "")).await;
    // WHEN a row is inserted, updated and deleted
    app.sql(
        "set rowcall.actor = 'clerk'; insert into orders values (42, 'new', 'EU', 'hush', '4111')",
    );
    app.sql("update orders set status = 'released'");
    app.sql("delete from orders");
    app.run_until_idle().await;
    // THEN the three events arrive in order, once each
    let received = receiver.received();
    let bodies: Vec<serde_json::Value> = received
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let types: Vec<_> = bodies
        .iter()
        .map(|body| body["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "sales.order.created",
            "sales.order.updated",
            "sales.order.deleted"
        ]
    );
    let updated = &bodies[1];
    assert_eq!(updated["subject"], "42");
    assert_eq!(updated["partitionkey"], "sales.order/42");
    assert_eq!(updated["sequence"], "00000000000000000002");
    assert_eq!(updated["data"]["before"]["status"], "new");
    assert_eq!(updated["data"]["after"]["status"], "released");
    assert_eq!(updated["data"]["changed"], serde_json::json!(["status"]));
    assert_eq!(updated["data"]["key"], serde_json::json!({"id": 42}));
    assert_eq!(bodies[0]["data"]["actor"], "clerk");
    assert_eq!(bodies[1]["data"]["actor"], serde_json::Value::Null);
    // AND what is masked or excluded is not in them
    let whole = bodies.iter().map(ToString::to_string).collect::<String>();
    assert!(
        !whole.contains("hush") && !whole.contains("4111"),
        "{whole}"
    );
    assert_eq!(updated["data"]["after"]["card"], "***");
    assert_eq!(received[1].id, updated["id"].as_str().unwrap());
}
