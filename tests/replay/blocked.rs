//! `on_dead = "block"`: a dead delivery holds its lane, until it is sent again or released.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    house::{
        BLOCKING, account, ask, assert_problem, deliver, deliveries, done, ids, mirrored_to,
        publish, rows, run_replays, subscribe,
    },
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
    },
};

const SOON: Duration = Duration::from_secs(10);

/// Order 1 is dead at its first revision, with two more behind it; order 2 is delivered.
async fn blocked(receiver: &Receiver) -> TestApp {
    receiver.answer_with(|request| {
        let is_first = crate::house::row(request) == "1:1" && !crate::house::is_replay(request);
        Answer::Status(if is_first { 500 } else { 200 })
    });
    let mut app = mirrored_to(receiver, BLOCKING).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    app.sql("insert into orders values (2); update orders set revision = 3 where id = 1");
    app.run_until_idle().await;
    assert_eq!(
        deliveries(&app),
        ["dead/1!", "pending/0", "delivered/1", "pending/0"]
    );
    assert_eq!(rows(&receiver.received()), ["1:1", "2:1"]);
    app
}

#[tokio::test]
async fn a_dead_one_blocks_its_own_key_only_until_its_replay_succeeds() {
    let receiver = Receiver::start().await;
    let mut app = blocked(&receiver).await;
    // GIVEN the account counts the dead and the waiting ones
    let before = account(&app);
    assert_eq!(
        (before.dead, before.pending, before.adds_up()),
        (1, 2, true)
    );
    app.advance(TimeDelta::days(30)).await;
    assert_eq!(receiver.received().len(), 2);
    // WHEN it is replayed
    let dead = ids(&app, "dead")[0].clone();
    let shown = done(&app, "GET", &format!("/v1/deliveries/{dead}"), &Value::Null).await;
    assert_eq!(shown["blocks"], true);
    let path = format!("/v1/deliveries/{dead}/replay");
    done(&app, "POST", &path, &Value::Null).await;
    run_replays(&mut app).await;
    // THEN what waited follows, in order; the dead one stays dead in the account
    assert_eq!(
        rows(&receiver.received()),
        ["1:1", "2:1", "1:1", "1:2", "1:3"]
    );
    assert_eq!(
        deliveries(&app),
        ["dead/1", "delivered/1", "delivered/1", "delivered/1"]
    );
    let after = account(&app);
    assert_eq!((after.dead, after.delivered, after.adds_up()), (1, 3, true));
}

#[tokio::test]
async fn a_replay_that_fails_holds_the_lane_and_a_release_frees_it() {
    let receiver = Receiver::start().await;
    let mut app = blocked(&receiver).await;
    receiver.script([Answer::Status(500)]);
    // WHEN the replay fails
    let dead = ids(&app, "dead")[0].clone();
    done(
        &app,
        "POST",
        &format!("/v1/deliveries/{dead}/replay"),
        &Value::Null,
    )
    .await;
    run_replays(&mut app).await;
    // THEN the lane is held
    assert_eq!(rows(&receiver.received()), ["1:1", "2:1", "1:1"]);
    // WHEN it is released THEN it is not sent, and what waited follows
    let path = format!("/v1/deliveries/{dead}/release");
    let released = done(&app, "POST", &path, &Value::Null).await;
    assert_eq!(
        (&released["blocks"], &released["state"]),
        (&false.into(), &"dead".into())
    );
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received())[3..], ["1:2", "1:3"]);
    // AND there is nothing to release any more
    let refused = ask(&app, "POST", &path, &Value::Null).await;
    assert_problem(&refused, "not-blocking", &["it is dead"]);
}

#[tokio::test]
async fn one_that_is_given_up_for_its_age_blocks_as_well() {
    // GIVEN a delivery whose next attempt would come later than it is tried, and one behind it
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let old =
        "retry = { schedule = [\"0s\", \"1h\"], give_up_after = \"30m\" }\non_dead = \"block\"";
    let mut app = mirrored_to(&receiver, old).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    // WHEN it is given up THEN what is behind it waits
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["dead/1!", "pending/0"]);
    assert_eq!(rows(&receiver.received()), ["1:1"]);
    // until it was sent again
    let path = format!("/v1/deliveries/{}/replay", ids(&app, "dead")[0]);
    done(&app, "POST", &path, &Value::Null).await;
    run_replays(&mut app).await;
    assert_eq!(rows(&receiver.received()), ["1:1", "1:1", "1:2"]);
}

#[tokio::test]
async fn a_change_of_the_key_holds_both_lanes() {
    // GIVEN a change of the key from 1 to 5 that dies, and events of both keys behind it
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(200), Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, BLOCKING).await;
    app.sql("insert into orders values (1); update orders set id = 5, revision = 2");
    app.run_until_idle().await;
    app.sql("insert into orders values (1, 10); update orders set revision = 11 where id = 5");
    app.sql("insert into orders values (7, 20)");
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1", "5:2", "7:20"]);
    // WHEN it is released THEN both go on
    let path = format!("/v1/deliveries/{}/release", ids(&app, "dead")[0]);
    done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    let mut after = rows(&receiver.received())[3..].to_vec();
    after.sort();
    assert_eq!(after, ["1:10", "5:11"]);
}

#[tokio::test]
async fn a_lane_is_held_though_the_instance_dies_with_what_follows() {
    // GIVEN a chain of three, whose first dies, and whose instance is lost before it returns the
    // rest
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let mut lost = mirrored_to(&receiver, BLOCKING).await;
    lost.sql("insert into orders values (1); update orders set revision = 2");
    lost.sql("update orders set revision = 3");
    publish(&mut lost).await;
    assert_eq!(deliveries(&lost), ["sending/0", "sending/0", "sending/0"]);
    receiver.wait_for(1, SOON).await;
    // The first result alone is written.
    lost.sql(
        "update rowcall.delivery set state = 'dead', attempts = 1, blocks = true, \
             lease_holder = null, lease_until = null, settled_at = now() \
         where position = (select min(position) from rowcall.delivery)",
    );
    let mut other = lost.sibling().await;
    drop(lost);
    // WHEN the leases end THEN nothing behind the dead one is sent
    other.advance(TimeDelta::seconds(11)).await;
    deliver(&mut other).await;
    assert_eq!(deliveries(&other), ["dead/1!", "pending/0", "pending/0"]);
    assert_eq!(rows(&receiver.received()), ["1:1"]);
    // WHEN it is released THEN the others follow in order
    let path = format!("/v1/deliveries/{}/release", ids(&other, "dead")[0]);
    done(&other, "POST", &path, &Value::Null).await;
    other.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1", "1:2", "1:3"]);
}

#[tokio::test]
async fn a_subscription_that_is_to_continue_lets_its_lanes_go() {
    let receiver = Receiver::start().await;
    let mut app = blocked(&receiver).await;
    // WHEN the folder says so
    subscribe(
        &app,
        &receiver,
        "retry = { schedule = [\"0s\"] }\non_dead = \"continue\"",
    )
    .await;
    app.run_until_idle().await;
    // THEN what waited is sent
    assert_eq!(rows(&receiver.received()), ["1:1", "2:1", "1:2", "1:3"]);
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where blocks"),
        0
    );
}

#[tokio::test]
async fn without_an_order_there_is_nothing_to_block() {
    let receiver = Receiver::start().await;
    let app = mirrored_to(&receiver, "").await;
    let spec = json!({"name": "loose", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": receiver.url()},
        "ordering": "none", "on_dead": "block"});
    let refused = ask(&app, "POST", "/v1/subscriptions", &spec).await;
    assert_problem(
        &refused,
        "invalid-body",
        &["/on_dead", "set `ordering` to `key`"],
    );
    let mut spec = spec;
    spec["on_dead"] = "stop".into();
    let refused = ask(&app, "POST", "/v1/subscriptions", &spec).await;
    assert_problem(
        &refused,
        "invalid-body",
        &["/on_dead", "`continue` or `block`"],
    );
    spec["on_dead"] = "block".into();
    spec["ordering"] = "key".into();
    let made = done(&app, "POST", "/v1/subscriptions", &spec).await;
    assert_eq!(made["on_dead"], "block");
}

#[tokio::test]
async fn one_that_is_given_up_for_its_age_holds_its_lane_too() {
    // GIVEN a subscription whose next attempt would come too late
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let late = "retry = { schedule = [\"0s\", \"1h\"], give_up_after = \"10m\" }\n\
        on_dead = \"block\"";
    let mut app = mirrored_to(&receiver, late).await;
    // WHEN the first event of an order fails
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    // THEN it is dead, and what comes after it waits
    assert_eq!(deliveries(&app), ["dead/1!", "pending/0"]);
    // WHEN it is released THEN that is sent
    let path = format!("/v1/deliveries/{}/release", ids(&app, "dead")[0]);
    done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1", "1:2"]);
}
