//! Pausing, resuming and deleting a subscription while something is owed to it.

use std::time::Duration;

use chrono::TimeDelta;
use rowcall::{
    deliver::claim::store::delivery_set_aside,
    stage::Stage as _,
    subscription::state::{subscription_pause, subscription_resume},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    shop::{api, deliver_until, deliveries, mirrored_to, path_of, publish, rows},
    support::{
        app::TestApp,
        receiver::{Answer, Gate, Receiver},
    },
};

const SCHEDULE: &str = r#"retry = { schedule = ["0s", "5s", "5m"] }"#;
const SOON: Duration = Duration::from_secs(10);

async fn ask(app: &TestApp, state: &str) {
    api(
        app,
        "PATCH",
        &path_of(app, "mirror"),
        &json!({"state": state}),
    )
    .await;
}

#[tokio::test]
async fn a_paused_subscription_keeps_what_it_is_owed_and_gets_it_in_order() {
    // GIVEN a subscription that is paused while one delivery waits for its retry and one behind it
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(503)]);
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    ask(&app, "paused").await;
    // WHEN more changes come and time goes by
    app.sql("update orders set revision = 3; insert into orders values (2)");
    app.run_until_idle().await;
    app.advance(TimeDelta::days(1)).await;
    // THEN nothing is sent
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(
        deliveries(&app),
        ["pending/1", "pending/0", "pending/0", "pending/0"]
    );
    // WHEN it is resumed THEN all comes, in order
    ask(&app, "active").await;
    app.run_until_idle().await;
    let mut sent = rows(&receiver.received());
    sent.retain(|row| row != "2:1");
    assert_eq!(sent, ["1:1", "1:1", "1:2", "1:3"]);
    assert_eq!(
        deliveries(&app),
        ["delivered/2", "delivered/1", "delivered/1", "delivered/1"]
    );
}

#[tokio::test]
async fn results_that_arrive_while_paused_are_written() {
    // GIVEN a chain in memory, its first request under way
    for (answer, kept) in [(200, "delivered/1"), (503, "pending/1")] {
        let receiver = Receiver::start().await;
        let gate = Gate::default();
        receiver.script([Answer::Held(gate.clone(), answer)]);
        let mut app = mirrored_to(&receiver, SCHEDULE).await;
        app.sql("insert into orders values (1); update orders set revision = 2");
        publish(&mut app).await;
        receiver.wait_for(1, SOON).await;
        // WHEN the subscription is paused and then the answer comes
        ask(&app, "paused").await;
        gate.open();
        app.run_until_idle().await;
        app.advance(TimeDelta::seconds(6)).await;
        // THEN it is written; and when it is resumed, the rest follows in order
        assert_eq!(deliveries(&app)[0], kept);
        ask(&app, "active").await;
        app.run_until_idle().await;
        let mut sent = rows(&receiver.received());
        sent.dedup();
        assert_eq!(sent, ["1:1", "1:2"]);
    }
}

#[tokio::test]
async fn a_resumed_subscription_is_noticed_without_waiting_for_a_poll() {
    // GIVEN a stage that rests, with a poll that is far away, and a paused subscription
    let receiver = Receiver::start().await;
    let mut limits = rowcall::config::Limits::for_testing();
    limits.deliver_poll_ms = 600_000;
    let options = crate::support::app::Options {
        limits,
        ..Default::default()
    };
    let mut app = TestApp::start_with(crate::shop::ORDERS, options).await;
    let mirror = crate::shop::subscription("mirror", receiver.url(), "");
    crate::shop::subscribe(&app, &[mirror]).await;
    ask(&app, "paused").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN it is resumed THEN that wakes the stage, and it looks
    ask(&app, "active").await;
    let now = app.clock.now();
    tokio::time::timeout(SOON, app.instance.deliver.rest(now))
        .await
        .unwrap();
    app.instance.deliver.run_once(now).await.unwrap();
    receiver.wait_for(1, SOON).await;
    app.run_until_idle().await;
}

#[tokio::test]
async fn a_deleted_subscription_is_sent_nothing_more_and_its_deliveries_are_cancelled() {
    // GIVEN a chain whose first request is under way, and another object's delivery that failed
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    receiver.script([Answer::Status(503), Answer::Held(gate.clone(), 503)]);
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (9)");
    app.run_until_idle().await;
    app.sql("insert into orders values (1); update orders set revision = 2 where id = 1");
    publish(&mut app).await;
    receiver.wait_for(2, SOON).await;
    // WHEN the subscription is taken out of the folder
    crate::shop::subscribe(&app, &[]).await;
    app.sql("update orders set revision = 3 where id = 1");
    publish(&mut app).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    // THEN what is under way is written when it ends, and all else is cancelled
    gate.open();
    deliver_until(&mut app, |app| app.instance.outbox.in_memory() == 0).await;
    app.advance(TimeDelta::days(1)).await;
    app.instance.upkeep.run_once(app.clock.now()).await.unwrap();
    assert_eq!(
        deliveries(&app),
        ["cancelled/1", "cancelled/1", "cancelled/0"]
    );
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn resuming_and_setting_aside_at_the_same_moment_lose_nothing() {
    // GIVEN a delivery that is due to a paused subscription, as a claim saw it
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "ordering = \"none\"").await;
    let id: Uuid = app.texts("select id from rowcall.subscription")[0]
        .parse()
        .unwrap();
    let now = app.clock.now();
    for resumed_first in [true, false] {
        app.sql("insert into orders select coalesce(max(id), 0) + 1 from orders");
        subscription_pause(&mut app.connect(), id, now).unwrap();
        publish(&mut app).await;
        app.sql(&format!(
            "update rowcall.delivery set due_at = '{now}' where state = 'pending'"
        ));
        let due: Vec<Uuid> = app
            .texts("select id from rowcall.delivery where state = 'pending'")
            .iter()
            .map(|id| id.parse().unwrap())
            .collect();
        // WHEN its owner resumes it before or after it is set aside
        if resumed_first {
            subscription_resume(&mut app.connect(), id, now).unwrap();
            delivery_set_aside(&mut app.connect(), &due).unwrap();
        } else {
            assert_eq!(delivery_set_aside(&mut app.connect(), &due).unwrap(), 1);
            subscription_resume(&mut app.connect(), id, now).unwrap();
        }
        // THEN it is sent
        app.run_until_idle().await;
    }
    assert_eq!(deliveries(&app), ["delivered/1", "delivered/1"]);
}
