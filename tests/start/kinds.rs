//! Subscriptions of every kind may start with what exists.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    shop::{event, mirror, publish, register, shop, told, told_sorted},
    support::receiver::{Answer, Gate, Receiver},
};

const FIVE: &str = "insert into public.orders select n, 'old', n from generate_series(1, 5) n;";

/// The data of the digests that came.
fn digests(receiver: &Receiver) -> Vec<Value> {
    let received = receiver.received();
    received
        .iter()
        .map(|request| event(request)["data"].clone())
        .collect()
}

#[tokio::test]
async fn a_digest_tells_the_rows_that_exist() {
    // GIVEN a batch subscription that starts with five rows
    let receiver = Receiver::start().await;
    let mut app = shop(FIVE).await;
    let asks = json!({"mode": "batch", "schedule": {"max_wait": "1h"}});
    register(&app, &mirror(&receiver, &asks)).await;
    app.run_until_idle().await;
    app.sql("update public.orders set amount = 0 where id = 2");
    app.run_until_idle().await;
    assert!(receiver.received().is_empty());
    // WHEN its window closes
    app.advance(TimeDelta::hours(1)).await;
    // THEN it counts them under their event type
    let digests = digests(&receiver);
    let events = digests[0]["events"].as_array().unwrap();
    let counts: Vec<String> = events
        .iter()
        .map(|group| format!("{} {}", group["type"].as_str().unwrap(), group["count"]))
        .collect();
    assert_eq!(counts, ["sales.order.existed 5", "sales.order.updated 1"]);
}

#[tokio::test]
async fn a_net_effect_says_of_a_row_that_it_was_there_as_it_is_now() {
    // GIVEN rows that were told for a net effect, and then changed, deleted and made
    let receiver = Receiver::start().await;
    let mut app = shop(FIVE).await;
    let asks = json!({"mode": "batch", "schedule": {"max_wait": "1h"}, "condense": "net_effect",
        "filter": "row.id != 5"});
    register(&app, &mirror(&receiver, &asks)).await;
    app.run_until_idle().await;
    app.sql(
        "update public.orders set amount = 0 where id = 2; delete from public.orders where id = 3",
    );
    app.sql("insert into public.orders values (6); update public.orders set id = 7 where id = 4");
    app.run_until_idle().await;
    // WHEN the window closes
    app.advance(TimeDelta::hours(1)).await;
    // THEN what was there and is, is told as such; what came and went is not; what was made is
    let digests = digests(&receiver);
    let mut objects: Vec<String> = digests[0]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            format!(
                "{} {} {}",
                object["key"]["id"],
                object["op"].as_str().unwrap(),
                object["after"]["amount"]
            )
        })
        .collect();
    objects.sort();
    assert_eq!(
        objects,
        [
            "1 snapshot 1",
            "2 snapshot 0",
            "6 create null",
            "7 snapshot 4"
        ]
    );
}

#[tokio::test]
async fn a_delayed_subscription_and_one_without_order_start_too() {
    let receiver = Receiver::start().await;
    let mut app = shop(FIVE).await;
    for asks in [
        json!({"name": "delayed", "mode": "synchronous_delayed"}),
        json!({"name": "loose", "ordering": "none"}),
    ] {
        register(&app, &mirror(&receiver, &asks)).await;
        app.run_until_idle().await;
    }
    let mut expected = [
        "snapshot 1",
        "snapshot 2",
        "snapshot 3",
        "snapshot 4",
        "snapshot 5",
    ]
    .repeat(2);
    expected.sort_unstable();
    assert_eq!(told_sorted(&receiver), expected);
}

#[tokio::test]
async fn a_change_waits_for_the_row_of_its_object_that_is_still_under_way() {
    // GIVEN a receiver that holds its answer to a row back
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    receiver.script([Answer::Held(gate.clone(), 503)]);
    let mut app = shop("insert into public.orders values (1, 'old', 1);").await;
    register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    publish(&mut app).await;
    let now = app.clock.now();
    rowcall::stage::Stage::run_once(&mut app.instance.deliver, now)
        .await
        .unwrap();
    receiver
        .wait_for(1, std::time::Duration::from_secs(10))
        .await;
    // WHEN the row changes meanwhile, and the receiver fails the first
    app.sql("update public.orders set amount = 2");
    publish(&mut app).await;
    gate.open();
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(10)).await;
    // THEN the change comes after it
    assert_eq!(told(&receiver), ["snapshot 1", "snapshot 1", "update 1"]);
}

#[tokio::test]
async fn others_are_not_told_of_rows_that_exist() {
    // GIVEN a subscription of everything, that has none before it
    let (all, new) = (Receiver::start().await, Receiver::start().await);
    let mut app = shop(FIVE).await;
    let asks = json!({"name": "all", "start": null, "event_types": ["sales.*"]});
    register(&app, &mirror(&all, &asks)).await;
    // WHEN another starts with what exists
    register(&app, &mirror(&new, &json!({}))).await;
    app.run_until_idle().await;
    // THEN it alone is told
    assert_eq!((told(&all).len(), told(&new).len()), (0, 5));
    // AND the other is told why not
    let event = app.texts("select id from rowcall.event limit 1").remove(0);
    let path = format!("/v1/explain?event={event}&subscription=all");
    let (_, answer) = crate::shop::ask(&app, "GET", &path, &Value::Null).await;
    assert!(
        answer["summary"]
            .as_str()
            .unwrap()
            .contains("one subscription that starts"),
        "{answer}"
    );
}
