//! A receiver that fails again and again is left alone, and asked by one request whether it is
//! well.

use chrono::TimeDelta;
use rowcall::config::Limits;

use crate::{
    shop::{ORDERS, publish, rows, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};

async fn impatient(failures: u32) -> TestApp {
    let mut limits = Limits::for_testing();
    limits.breaker_failures = failures;
    limits.validate().unwrap();
    let options = Options {
        limits,
        ..Options::default()
    };
    TestApp::start_with(ORDERS, options).await
}

#[tokio::test]
async fn a_failing_receiver_is_left_alone_and_asked_by_one_request() {
    // GIVEN a receiver that answers 503, and deliveries that are to be tried each second
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(503));
    let mut app = impatient(3).await;
    let retry = r#"retry = { schedule = ["0s", "1s", "1s", "1s", "1s", "1s"] }"#;
    subscribe(&app, &[subscription("mirror", receiver.url(), retry)]).await;
    // WHEN it is owed twenty events THEN it fails a few times, and no more is sent
    app.sql("insert into orders select g from generate_series(1, 20) g");
    app.run_until_idle().await;
    let first = receiver.received().len();
    assert!((3..=4).contains(&first), "{first}");
    // AND nothing is while the breaker is open, and what waits has lost no attempt by it.
    for _ in 0..4 {
        app.advance(TimeDelta::seconds(1)).await;
    }
    assert_eq!(receiver.received().len(), first);
    let untried = app.count("select count(*) from rowcall.delivery where attempts = 0");
    assert_eq!(untried as usize, 20 - first);
    // AND then one request asks, fails, and it is left alone for twice as long.
    app.advance(TimeDelta::milliseconds(1_500)).await;
    assert_eq!(receiver.received().len(), first + 1);
    app.advance(TimeDelta::seconds(9)).await;
    assert_eq!(receiver.received().len(), first + 1);
    // WHEN it is well again THEN one request finds out, and all are delivered.
    receiver.answer_with(|_| Answer::Status(200));
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(1)).await;
    }
    let delivered = "select count(*) from rowcall.delivery where state = 'delivered'";
    assert_eq!(app.count(delivered), 20);
    assert_eq!(receiver.received().len(), first + 1 + 20);
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_left_alone_by_all_its_subscriptions() {
    // GIVEN four subscriptions at a host that is away
    let receiver = Receiver::start().await;
    let mut app = impatient(3).await;
    let all: Vec<String> = (0..4)
        .map(|n| subscription(&format!("s{n}"), &format!("{}/{n}", receiver.url()), ""))
        .collect();
    subscribe(&app, &all).await;
    drop(receiver);
    // WHEN each is owed one event after the other THEN three are asked for, and no more
    for id in 1..=5 {
        app.sql(&format!("insert into orders values ({id})"));
        app.run_until_idle().await;
    }
    let attempts = app.count("select count(*) from rowcall.attempt");
    // Those of the first event went together.
    assert!((3..=4).contains(&attempts), "{attempts}");
    app.sql("update rowcall.delivery set due_at = 'infinity' where state = 'pending'");
}

#[tokio::test]
async fn what_an_open_breaker_keeps_counts_as_tried() {
    // GIVEN a synchronous receiver that is left alone, and a delayed one
    let (failing, delayed) = (Receiver::start().await, Receiver::start().await);
    failing.answer_with(|_| Answer::Status(500));
    let mut app = impatient(1).await;
    let late =
        subscription("delayed", delayed.url(), "").replace("synchronous", "synchronous_delayed");
    let retry = r#"retry = { schedule = ["0s", "1h"] }"#;
    subscribe(&app, &[subscription("failing", failing.url(), retry), late]).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!((failing.received().len(), delayed.received().len()), (1, 1));
    // WHEN another event comes THEN the delayed one is told at once
    app.sql("insert into orders values (2)");
    publish(&mut app).await;
    app.run_until_idle().await;
    assert_eq!(failing.received().len(), 1);
    assert_eq!(rows(&delayed.received()), ["1:1", "2:1"]);
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where is_deferred"),
        1
    );
}
