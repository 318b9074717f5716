//! The barrier: of one event, every synchronous delivery is tried before a delayed one starts.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    shop::{ORDERS, deliver, deliver_until, publish, rows, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

const SOON: Duration = Duration::from_secs(10);
const SCHEDULE: &str = r#"retry = { schedule = ["0s", "5s", "5m"] }"#;

fn delayed(name: &str, url: &str, more: &str) -> String {
    subscription(name, url, more).replace("\"synchronous\"", "\"synchronous_delayed\"")
}

/// An instance with one synchronous and one delayed subscription.
async fn shop(immediate: &Receiver, later: &Receiver) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    subscribe(
        &app,
        &[
            subscription("immediate", immediate.url(), SCHEDULE),
            delayed("later", later.url(), SCHEDULE),
        ],
    )
    .await;
    app
}

/// State, and whether it is due, of the delayed deliveries in the order of publishing.
fn waiting(app: &TestApp) -> Vec<String> {
    app.texts(
        "select state || case when due_at is null then '' else ' until ' || \
             round(extract(epoch from due_at - created_at)) end \
         from rowcall.delivery where urgency = 1 order by position",
    )
}

#[tokio::test]
async fn a_delayed_delivery_starts_when_the_synchronous_one_is_acknowledged() {
    // GIVEN a synchronous receiver that takes its time
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    immediate.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut app = shop(&immediate, &later).await;
    // WHEN a row changes
    app.sql("insert into orders values (1)");
    // AND nothing more is taken into memory
    app.instance.outbox.close();
    publish(&mut app).await;
    let mut app = app.sibling().await;
    deliver(&mut app).await;
    immediate.wait_for(1, SOON).await;
    deliver(&mut app).await;
    // THEN the delayed delivery waits, and for no longer than a request timeout and a lease
    let limits = rowcall::config::Limits::for_testing();
    let bound = (limits.request_timeout_ms + limits.lease_ms) / 1000;
    assert_eq!(waiting(&app), [format!("pending until {bound}")]);
    assert!(later.received().is_empty());
    // WHEN it is acknowledged THEN it goes at once
    gate.open();
    app.run_until_idle().await;
    assert_eq!(rows(&later.received()), ["1:1"]);
}

#[tokio::test]
async fn a_failed_first_attempt_is_tried_and_a_blocked_key_is_too() {
    // GIVEN a synchronous receiver that refuses everything
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    immediate.answer_with(|_| Answer::Status(503));
    let mut app = shop(&immediate, &later).await;
    // WHEN the same object changes twice
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql("update orders set revision = 2");
    app.run_until_idle().await;
    // THEN the delayed receiver has both: the first was tried, and the second can't start
    assert_eq!(rows(&immediate.received()), ["1:1"]);
    assert_eq!(rows(&later.received()), ["1:1", "1:2"]);
    // WHEN the synchronous one recovers THEN it gets what it is owed
    immediate.answer_with(|_| Answer::Status(200));
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(rows(&immediate.received()), ["1:1", "1:1", "1:2"]);
    assert_eq!(later.received().len(), 2);
}

#[tokio::test]
async fn without_a_synchronous_subscriber_a_delayed_one_is_told_at_once() {
    let later = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    subscribe(&app, &[delayed("later", later.url(), SCHEDULE)]).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    publish(&mut app).await;
    assert_eq!(waiting(&app), ["sending", "sending"]);
    app.run_until_idle().await;
    assert_eq!(rows(&later.received()), ["1:1", "1:2"]);
}

#[tokio::test]
async fn a_paused_synchronous_subscriber_holds_nobody_up() {
    // GIVEN a synchronous subscription that is paused
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let mut app = shop(&immediate, &later).await;
    app.sql("update rowcall.subscription set state = 'paused' where name = 'immediate'");
    app.sql("update rowcall.registry set revision = revision + 1");
    // WHEN a row changes THEN the delayed one is told
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(rows(&later.received()), ["1:1"]);
    assert!(immediate.received().is_empty());
}

#[tokio::test]
async fn a_synchronous_delivery_without_a_place_in_memory_is_still_to_be_tried() {
    // GIVEN a synchronous receiver whose share of memory, one delivery, is full
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    immediate.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut limits = rowcall::config::Limits::for_testing();
    limits.deliveries_in_memory_max = 4;
    (limits.senders_max, limits.senders_per_host_max) = (2, 1);
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with(ORDERS, options).await;
    subscribe(
        &app,
        &[
            subscription("immediate", immediate.url(), SCHEDULE),
            delayed("later", later.url(), SCHEDULE),
        ],
    )
    .await;
    app.sql("insert into orders values (1)");
    publish(&mut app).await;
    immediate.wait_for(1, SOON).await;
    app.sql("insert into orders select g from generate_series(2, 9) g");
    publish(&mut app).await;
    // WHEN those that find no place are put off
    let put_off = "select count(*) from rowcall.delivery \
        where urgency = 0 and state = 'pending' and due_at > created_at";
    deliver_until(&mut app, |app| app.count(put_off) == 7).await;
    // THEN no delayed delivery was let go before them
    let gone = "select count(*) from rowcall.delivery \
        where urgency = 1 and (state <> 'pending' or due_at <= created_at)";
    assert_eq!(app.count(gone), 0);
    // AND when there is room, all are told
    gate.open();
    app.run_until_idle().await;
    assert_eq!(immediate.received().len(), 2);
    assert_eq!(later.received().len(), 2);
    app.advance(TimeDelta::seconds(2)).await;
    assert_eq!(immediate.received().len(), 9);
    assert_eq!(later.received().len(), 9);
}

#[tokio::test]
async fn a_lost_lease_is_waited_for_once_and_not_twice() {
    // GIVEN a published change, and a synchronous receiver that does not answer yet
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    immediate.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut app = shop(&immediate, &later).await;
    app.instance.outbox.close();
    app.sql("insert into orders values (1)");
    publish(&mut app).await;
    // WHEN whoever was to send it vanished
    let lost = "update rowcall.delivery set state = 'sending', due_at = null, \
        lease_holder = gen_random_uuid(), lease_until = created_at where urgency = 0";
    app.sql(lost);
    let mut sibling = app.sibling().await;
    deliver(&mut sibling).await;
    immediate.wait_for(1, SOON).await;
    // THEN the delayed one still waits: nobody knows whether the other was tried
    assert!(
        waiting(&app)[0].starts_with("pending until "),
        "{:?}",
        waiting(&app)
    );
    // WHEN that is lost as well THEN the delayed one has waited for as long as is promised
    app.sql(lost);
    let mut third = app.sibling().await;
    deliver_until(&mut third, |_| later.received().len() == 1).await;
    assert_eq!(immediate.received().len(), 2);
    gate.open();
    third.run_until_idle().await;
    sibling.run_until_idle().await;
}

#[tokio::test]
async fn a_delayed_delivery_that_comes_due_by_itself_still_waits_for_its_synchronous_ones() {
    // GIVEN an instance that died after publishing
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let mut app = shop(&immediate, &later).await;
    app.instance.outbox.close();
    app.sql("insert into orders values (1), (2); update orders set revision = 2");
    publish(&mut app).await;
    // WHEN another comes after days, when everything is due
    app.clock.advance(TimeDelta::days(3));
    let gate = Gate::default();
    let held = gate.clone();
    immediate.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut sibling = app.sibling().await;
    deliver(&mut sibling).await;
    immediate.wait_for(2, SOON).await;
    deliver(&mut sibling).await;
    // THEN it sends the synchronous ones first
    assert!(later.received().is_empty());
    gate.open();
    sibling.run_until_idle().await;
    let mut rows = rows(&later.received());
    rows.sort();
    assert_eq!(rows, ["1:1", "1:2", "2:1", "2:2"]);
}
