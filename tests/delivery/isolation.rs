//! A receiver that is slow or away takes its own share, and no other's.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rowcall::{config::Limits, stage::Stage as _};

use crate::{
    shop::{
        ORDERS, deliver_until, deliveries, mirrored_to, publish, rows, subscribe, subscription,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

fn limited(in_memory: usize, senders: usize, per_host: usize) -> Options {
    let mut limits = Limits::for_testing();
    limits.deliveries_in_memory_max = in_memory;
    (limits.senders_max, limits.senders_per_host_max) = (senders, per_host);
    limits.validate().unwrap();
    Options {
        limits,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_hanging_receiver_does_not_hold_up_others() {
    // GIVEN a receiver that hangs and one that answers, and senders of which a host may have half
    let (hanging, quick) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    hanging.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut app = TestApp::start_with(ORDERS, limited(40, 8, 4)).await;
    subscribe(
        &app,
        &[
            subscription("hanging", hanging.url(), ""),
            subscription("quick", quick.url(), ""),
        ],
    )
    .await;
    // WHEN both are owed many events, more than there is room for
    app.sql("insert into orders select g from generate_series(1, 60) g");
    publish(&mut app).await;
    let begun = Instant::now();
    let mut most = 0;
    let delivered = |app: &TestApp| {
        app.count(
            "select count(*) from rowcall.delivery d join rowcall.subscription s \
             on s.id = d.subscription_id where d.state = 'delivered' and s.name = 'quick'",
        )
    };
    while delivered(&app) < 60 {
        let now = app.clock.now();
        app.instance.deliver.run_once(now).await.unwrap();
        most = most.max(app.instance.outbox.in_memory());
        // What had no place comes again a second later.
        app.clock.advance(TimeDelta::milliseconds(50));
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}",
            delivered(&app)
        );
    }
    // THEN the quick one had all of them before a single request to the other ended
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // AND no more was in memory, and no more requests were under way, than the limits say
    assert!(most <= 40, "{most} in memory");
    assert!(
        hanging.under_way_most() == 4,
        "{}",
        hanging.under_way_most()
    );
    assert!(quick.under_way_most() <= 4, "{}", quick.under_way_most());
    gate.open();
    for _ in 0..30 {
        app.advance(TimeDelta::seconds(6)).await;
    }
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state <> 'delivered'"),
        0
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_its_time_out_and_is_tried_again() {
    let receiver = Receiver::start().await;
    receiver.script([Answer::HangAfterAccept]);
    let mut options = limited(40, 8, 4);
    options.limits.request_timeout_ms = 200;
    let mut app = TestApp::start_with(ORDERS, options).await;
    let retry = r#"retry = { schedule = ["0s", "5s"] }"#;
    subscribe(&app, &[subscription("mirror", receiver.url(), retry)]).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let duration = app.count("select duration_ms from rowcall.attempt");
    assert!((200..1_500).contains(&duration), "{duration} ms");
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(deliveries(&app), ["delivered/2"]);
}

#[tokio::test]
async fn a_full_memory_neither_spins_nor_forgets() {
    // GIVEN four places, of which one is kept for what is new and the others are taken by requests
    // that hang, and more that is due
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut app = TestApp::start_with(ORDERS, limited(4, 4, 4)).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), "")]).await;
    app.sql("insert into orders select g from generate_series(1, 12) g");
    publish(&mut app).await;
    deliver_until(&mut app, |app| app.instance.outbox.in_memory() == 3).await;
    // WHEN the stage rests THEN it does, although something is due
    let now = app.clock.now();
    // Publishing has rung once.
    app.instance.deliver.rest(now).await;
    app.instance.deliver.run_once(now).await.unwrap();
    let begun = Instant::now();
    app.instance.deliver.rest(now).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(15),
        "{:?}",
        begun.elapsed()
    );
    // AND when there is room again it takes the rest
    gate.open();
    app.run_until_idle().await;
    let mut sent = rows(&receiver.received());
    sent.sort();
    sent.dedup();
    assert_eq!((sent.len(), receiver.received().len()), (12, 12));
    assert_eq!(app.instance.outbox.in_memory(), 0);
}

#[tokio::test]
async fn requests_to_one_host_are_bounded() {
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), 200));
    let mut app = TestApp::start_with(ORDERS, limited(100, 10, 3)).await;
    subscribe(
        &app,
        &[
            subscription("one", receiver.url(), ""),
            subscription("two", &format!("{}/two", receiver.url()), ""),
        ],
    )
    .await;
    app.sql("insert into orders select g from generate_series(1, 10) g");
    publish(&mut app).await;
    receiver.wait_for(3, Duration::from_secs(10)).await;
    assert_eq!(app.instance.outbox.senders(), 3);
    gate.open();
    app.run_until_idle().await;
    assert_eq!(receiver.received().len(), 20);
    assert_eq!(receiver.under_way_most(), 3);
}

#[tokio::test]
async fn an_unusable_subscription_does_not_stop_its_neighbours() {
    // GIVEN a subscription whose definition no program can read any more
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    subscribe(
        &app,
        &[
            subscription("broken", receiver.url(), ""),
            subscription("mirror", receiver.url(), ""),
        ],
    )
    .await;
    app.sql(
        "update rowcall.subscription set definition = '{\"mode\": \"telepathy\"}' where name = 'broken'; \
         update rowcall.registry set revision = revision + 1",
    );
    // WHEN something happens THEN the other is told
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["delivered/1"]);
}
