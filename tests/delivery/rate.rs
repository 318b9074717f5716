//! A subscription's own rate.

use chrono::TimeDelta;

use crate::{
    shop::{ORDERS, deliver, publish, rows, subscribe, subscription},
    support::{app::TestApp, receiver::Receiver},
};

/// The step of the tests' clock: that of the rate's.
const STEP: TimeDelta = TimeDelta::milliseconds(50);

async fn rated(receiver: &Receiver, rate: &str) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    let rate = format!("rate = \"{rate}\"");
    subscribe(&app, &[subscription("mirror", receiver.url(), &rate)]).await;
    app
}

#[tokio::test]
async fn no_second_sees_more_requests_than_the_rate() {
    // GIVEN a receiver that wants ten requests a second, and is owed thirty
    let receiver = Receiver::start().await;
    let mut app = rated(&receiver, "10/s").await;
    app.sql("insert into orders select g from generate_series(1, 30) g");
    app.run_until_idle().await;
    // WHEN time goes by
    // Before, there was nothing: what goes at once counts, too.
    let mut counts = vec![0; 20];
    counts.push(receiver.received().len());
    while counts.last() != Some(&30) {
        app.advance(STEP).await;
        counts.push(receiver.received().len());
        assert!(counts.len() < 200, "{counts:?}");
    }
    // THEN each second sees ten, and the bucket's one, at most, and little less
    for second in counts.windows(20) {
        assert!(second[19] - second[0] <= 11, "{counts:?}");
    }
    assert!(counts.len() <= 100, "{counts:?}");
}

#[tokio::test]
async fn instances_share_the_rate() {
    let receiver = Receiver::start().await;
    let mut app = rated(&receiver, "10/s").await;
    let mut sibling = app.sibling().await;
    app.sql("insert into orders select g from generate_series(1, 30) g");
    publish(&mut app).await;
    let mut counts = Vec::new();
    for _ in 0..20 {
        deliver(&mut app).await;
        deliver(&mut sibling).await;
        app.run_until_idle().await;
        sibling.run_until_idle().await;
        counts.push(receiver.received().len());
        app.clock.advance(STEP);
    }
    assert!((8..=11).contains(&counts[19]), "{counts:?}");
    for _ in 0..80 {
        app.advance(STEP).await;
        sibling.run_until_idle().await;
    }
    assert_eq!(receiver.received().len(), 30);
}

#[tokio::test]
async fn the_order_of_an_object_is_kept() {
    let receiver = Receiver::start().await;
    let mut app = rated(&receiver, "1/s").await;
    app.sql("insert into orders values (1)");
    for revision in 2..=5 {
        app.sql(&format!("update orders set revision = {revision}"));
    }
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1"]);
    for _ in 0..100 {
        app.advance(STEP).await;
    }
    assert_eq!(
        rows(&receiver.received()),
        ["1:1", "1:2", "1:3", "1:4", "1:5"]
    );
}

#[tokio::test]
async fn what_its_rate_keeps_counts_as_tried() {
    // GIVEN a synchronous subscription with one request an hour, and a delayed one
    let (rare, delayed) = (Receiver::start().await, Receiver::start().await);
    let mut app = TestApp::start(ORDERS).await;
    let late =
        subscription("delayed", delayed.url(), "").replace("synchronous", "synchronous_delayed");
    subscribe(
        &app,
        &[subscription("rare", rare.url(), r#"rate = "1/h""#), late],
    )
    .await;
    // WHEN two events come THEN both are told to the delayed one at once
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    assert_eq!((rare.received().len(), delayed.received().len()), (1, 2));
}

#[tokio::test]
async fn each_of_a_backlog_is_told_a_time_of_its_own() {
    // GIVEN more than one claim takes, for a receiver that wants ten requests a second
    let receiver = Receiver::start().await;
    let mut app = rated(&receiver, "10/s").await;
    // WHEN all is claimed
    app.sql("insert into orders select g from generate_series(1, 400) g");
    app.run_until_idle().await;
    // THEN each that waits does so for a request of its own, and is not claimed before
    let pending = "from rowcall.delivery where state = 'pending'";
    assert_eq!(app.count(&format!("select count(*) {pending}")), 399);
    let times = app.count(&format!("select count(distinct due_at) {pending}"));
    assert_eq!(times, 399);
    let now = app.clock.now();
    let last = app.count(&format!(
        "select extract(epoch from max(due_at) - '{}') {pending}",
        now.to_rfc3339()
    ));
    assert_eq!(last, 40);
}
