//! Delayed deliveries that wait in memory for the synchronous ones of their events, which the same
//! instance has. Where no test runs the delivering stage, the repository has no part in it.

use std::time::Duration;

use chrono::TimeDelta;
use rowcall::{config::Limits, stage::Stage as _};

use crate::{
    shop::{ORDERS, deliver, deliver_until, event, publish, row, rows, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

const SOON: Duration = Duration::from_secs(10);
const LOOSE: &str = r#"ordering = "none""#;

/// Limits with which nothing is slow: what waits in memory stays there.
fn patient() -> Limits {
    let mut limits = Limits::for_testing();
    (limits.request_timeout_ms, limits.slow_after_ms) = (60_000, 30_000);
    limits.lease_ms = 120_000;
    limits
}

fn delayed(name: &str, receiver: &Receiver, more: &str) -> String {
    subscription(name, receiver.url(), more).replace("\"synchronous\"", "\"synchronous_delayed\"")
}

async fn shop(limits: Limits, subscriptions: &[String]) -> TestApp {
    let options = Options {
        limits,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    subscribe(&app, subscriptions).await;
    app
}

/// A gate that holds back this answer to every request.
fn hold(receiver: &Receiver, status: u16) -> Gate {
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), status));
    gate
}

/// States of the delayed deliveries, in the order of publishing.
fn later_states(app: &TestApp) -> Vec<String> {
    app.texts(
        "select state || case when due_at > created_at then ' until ' || \
             round(extract(epoch from due_at - created_at)) else '' end \
         from rowcall.delivery where urgency = 1 order by position",
    )
}

#[tokio::test]
async fn it_starts_when_every_first_attempt_has_ended_whatever_came_of_it() {
    for status in [200, 503] {
        // GIVEN one that is quick, and one whose answer is held back
        let (quick, held) = (Receiver::start().await, Receiver::start().await);
        let later = Receiver::start().await;
        let gate = hold(&held, status);
        let subscriptions = [
            subscription("quick", quick.url(), ""),
            subscription("held", held.url(), ""),
            delayed("later", &later, ""),
        ];
        let mut app = shop(patient(), &subscriptions).await;
        app.sql("insert into orders values (1)");
        publish(&mut app).await;
        quick.wait_for(1, SOON).await;
        held.wait_for(1, SOON).await;
        // WHEN the results of those that have ended are written
        deliver_until(&mut app, |app| {
            app.count("select count(*) from rowcall.attempt") == 1
        })
        .await;
        // THEN it waits, and takes no sender
        assert_eq!(later_states(&app), ["sending"]);
        assert!(later.received().is_empty());
        assert_eq!(app.instance.outbox.senders(), 1);
        // WHEN the last one ends THEN it goes, and nobody looked at the repository
        gate.open();
        later.wait_for(1, SOON).await;
        app.run_until_idle().await;
        assert_eq!(rows(&later.received()), ["1:1"]);
        assert_eq!(
            app.count("select max(lost_leases) from rowcall.delivery"),
            0
        );
        // The failed one is left to its schedule.
        app.advance(TimeDelta::seconds(6)).await;
    }
}

#[tokio::test]
async fn it_starts_when_an_attempt_ends_by_its_time() {
    // GIVEN a synchronous receiver that never answers
    let (hanging, later) = (Receiver::start().await, Receiver::start().await);
    hanging.script([Answer::HangAfterAccept]);
    let mut limits = patient();
    limits.request_timeout_ms = 200;
    let subscriptions = [
        subscription("hanging", hanging.url(), ""),
        delayed("later", &later, ""),
    ];
    let mut app = shop(limits, &subscriptions).await;
    app.sql("insert into orders values (1)");
    publish(&mut app).await;
    // THEN it goes when that is given up
    later.wait_for(1, SOON).await;
    assert_eq!(hanging.received().len(), 1);
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(6)).await;
}

#[tokio::test]
async fn behind_a_slow_one_it_waits_in_the_repository() {
    // GIVEN a synchronous receiver that takes longer than is quick
    let (slow, later) = (Receiver::start().await, Receiver::start().await);
    let gate = hold(&slow, 200);
    let mut limits = patient();
    limits.slow_after_ms = 50;
    let bound = (limits.request_timeout_ms + limits.lease_ms) / 1000;
    let subscriptions = [
        subscription("slow", slow.url(), ""),
        delayed("later", &later, ""),
        delayed("loose", &later, LOOSE),
    ];
    let mut app = shop(limits, &subscriptions).await;
    app.sql("insert into orders values (1)");
    publish(&mut app).await;
    assert_eq!(later_states(&app), ["sending", "sending"]);
    // WHEN it has taken that long THEN what waits for it goes back, and is not due
    let back = format!("pending until {bound}");
    deliver_until(&mut app, |app| later_states(app) == [&back[..], &back]).await;
    assert_eq!(app.instance.outbox.in_memory(), 1);
    assert!(later.received().is_empty());
    // WHEN it answers THEN they go at once
    gate.open();
    app.run_until_idle().await;
    assert_eq!(rows(&later.received()), ["1:1", "1:1"]);
}

#[tokio::test]
async fn in_a_chain_each_waits_for_its_own_event() {
    // GIVEN an object with three changes, of which the answer to the second is held back
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    immediate.answer_with(move |request| match &*row(request) {
        "1:2" => Answer::Held(held.clone(), 200),
        _ => Answer::Status(200),
    });
    let subscriptions = [
        subscription("immediate", immediate.url(), LOOSE),
        delayed("later", &later, ""),
    ];
    let mut app = shop(patient(), &subscriptions).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.sql("update orders set revision = 3; insert into orders values (7)");
    publish(&mut app).await;
    assert_eq!(later_states(&app), ["sending"; 4]);
    // THEN the first goes, and those of other objects, and the third waits behind the second
    later.wait_for(2, SOON).await;
    immediate.wait_for(4, SOON).await;
    let settled = "select count(*) from rowcall.delivery where state = 'delivered'";
    deliver_until(&mut app, |app| app.count(settled) == 5).await;
    let mut first = rows(&later.received());
    first.sort();
    assert_eq!(first, ["1:1", "7:1"]);
    assert_eq!(app.instance.outbox.in_memory(), 3);
    // WHEN that is answered THEN both follow in their order, by themselves
    gate.open();
    later.wait_for(4, SOON).await;
    assert_eq!(rows(&later.received())[2..], ["1:2", "1:3"]);
    app.run_until_idle().await;
}

#[tokio::test]
async fn a_stopping_instance_gives_back_what_waits() {
    // GIVEN a delayed delivery that waits for a request which hangs
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = hold(&immediate, 200);
    let mut limits = patient();
    limits.drain_ms = 300;
    let subscriptions = [
        subscription("immediate", immediate.url(), ""),
        delayed("later", &later, ""),
    ];
    let mut stopping = shop(limits, &subscriptions).await;
    let mut other = stopping.sibling().await;
    stopping.sql("insert into orders values (1)");
    publish(&mut stopping).await;
    immediate.wait_for(1, SOON).await;
    // WHEN the instance stops THEN it gives back what waits, and the request has its lease
    stopping.instance.deliver.close().await;
    assert_eq!(stopping.instance.outbox.in_memory(), 1);
    drop(stopping);
    assert!(later_states(&other)[0].starts_with("pending until "));
    // AND another instance sends it when the synchronous one is tried
    gate.open();
    deliver(&mut other).await;
    assert!(later.received().is_empty());
    other.advance(TimeDelta::seconds(121)).await;
    assert_eq!(immediate.received().len(), 2);
    assert_eq!(rows(&later.received()), ["1:1"]);
}

#[tokio::test]
async fn what_has_no_room_waits_in_the_repository() {
    // GIVEN sixteen places: eight for what is published now
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = hold(&immediate, 200);
    let mut limits = patient();
    limits.deliveries_in_memory_max = 16;
    let subscriptions = [
        subscription("immediate", immediate.url(), LOOSE),
        delayed("later", &later, LOOSE),
        delayed("latest", &later, LOOSE),
    ];
    let mut app = shop(limits, &subscriptions).await;
    // WHEN five rows change THEN three of ten delayed ones wait in memory, as many as the
    // synchronous ones leave places for
    app.sql("insert into orders select g from generate_series(1, 5) g");
    publish(&mut app).await;
    let sending = |urgency: i32| {
        app.count(&format!(
            "select count(*) from rowcall.delivery where state = 'sending' and urgency = {urgency}"
        ))
    };
    assert_eq!((sending(0), sending(1)), (5, 3));
    assert_eq!(app.instance.outbox.in_memory(), 8);
    // AND all are told
    gate.open();
    app.run_until_idle().await;
    // What found no place in its line comes again a second later.
    app.advance(TimeDelta::seconds(2)).await;
    assert_eq!(later.received().len(), 10);
    assert_eq!(immediate.received().len(), 5);
}

#[tokio::test]
async fn after_a_crash_it_is_sent_when_its_lease_is_over_and_not_before_the_synchronous_one() {
    // GIVEN an instance that vanishes while a delayed delivery waits in its memory
    let (immediate, later) = (Receiver::start().await, Receiver::start().await);
    let gate = hold(&immediate, 200);
    let subscriptions = [
        subscription("immediate", immediate.url(), ""),
        delayed("later", &later, ""),
    ];
    let mut vanishing = shop(patient(), &subscriptions).await;
    let mut other = vanishing.sibling().await;
    vanishing.sql("insert into orders values (1)");
    publish(&mut vanishing).await;
    immediate.wait_for(1, SOON).await;
    drop(vanishing);
    // WHEN another looks before the lease is over THEN it does nothing
    deliver(&mut other).await;
    assert_eq!(later_states(&other), ["sending"]);
    // WHEN the lease is over THEN the synchronous one is sent again, and the delayed one waits
    other.clock.advance(TimeDelta::seconds(121));
    deliver(&mut other).await;
    immediate.wait_for(2, SOON).await;
    deliver(&mut other).await;
    assert!(later_states(&other)[0].starts_with("pending until "));
    assert!(later.received().is_empty());
    // AND goes after it
    gate.open();
    other.run_until_idle().await;
    let received = later.received();
    assert!(!received.is_empty());
    assert!(received.iter().all(|request| row(request) == "1:1"));
    assert_eq!(
        event(&received[0])["id"],
        event(&immediate.received()[0])["id"]
    );
}
