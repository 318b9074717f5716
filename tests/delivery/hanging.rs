//! Many receivers that never end their answers, beside some that are well.

use chrono::TimeDelta;
use rowcall::{config::Limits, stage::Stage as _};

use crate::{
    shop::{ORDERS, deliver_until, publish, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};

const HANGING: usize = 50;
const HEALTHY: usize = 3;
const EVENTS: usize = 60;

/// Limits with which fifty receivers could take all senders, and all memory, several times.
fn limits() -> Limits {
    let mut limits = Limits::for_testing();
    (limits.senders_max, limits.senders_slow_max) = (64, 32);
    limits.senders_per_slow_subscription_max = 2;
    limits.deliveries_in_memory_max = 400;
    // Far longer than this test takes: what hangs hangs to the end.
    (limits.request_timeout_ms, limits.lease_ms) = (120_000, 300_000);
    limits.slow_after_ms = 100;
    limits.validate().unwrap();
    limits
}

fn delivered(app: &TestApp, whose: &str) -> i64 {
    app.count(&format!(
        "select count(*) from rowcall.delivery d join rowcall.subscription s \
         on s.id = d.subscription_id where d.state = 'delivered' and s.name like '{whose}-%'"
    ))
}

/// A webhook for each receiver.
fn to_all(whose: &str, receivers: &[Receiver]) -> Vec<String> {
    let one = |(n, receiver): (usize, &Receiver)| {
        subscription(&format!("{whose}-{n}"), receiver.url(), "")
    };
    receivers.iter().enumerate().map(one).collect()
}

async fn receivers(count: usize) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for _ in 0..count {
        receivers.push(Receiver::start().await);
    }
    receivers
}

#[tokio::test]
async fn fifty_hanging_receivers_hold_up_nobody() {
    // GIVEN fifty receivers that hang after they accept, or drip the head of an answer, and a few
    // that are well
    let (hanging, healthy) = (receivers(HANGING).await, receivers(HEALTHY).await);
    for (n, receiver) in hanging.iter().enumerate() {
        receiver.answer_with(move |_| match n % 2 {
            0 => Answer::HangAfterAccept,
            _ => Answer::Drip,
        });
    }
    let options = Options {
        limits: limits(),
        ..Options::default()
    };
    let mut app = TestApp::start_with(ORDERS, options).await;
    let mut all = to_all("hanging", &hanging);
    all.extend(to_all("healthy", &healthy));
    subscribe(&app, &all).await;
    // WHEN all are owed many events
    app.sql(&format!(
        "insert into orders select g from generate_series(1, {EVENTS}) g"
    ));
    publish(&mut app).await;
    let wanted = (HEALTHY * EVENTS) as i64;
    let mut most = (0, 0);
    loop {
        let now = app.clock.now();
        app.instance.deliver.run_once(now).await.unwrap();
        let outbox = &app.instance.outbox;
        most = (most.0.max(outbox.in_memory()), most.1.max(outbox.senders()));
        if delivered(&app, "healthy") == wanted {
            break;
        }
        // What had no place comes again.
        app.clock.advance(TimeDelta::milliseconds(50));
        app.instance.deliver.rest(app.clock.now()).await;
    }
    // THEN those that are well had all of them before a single request to another ended
    assert_eq!(
        app.count("select count(*) from rowcall.attempt where outcome <> 'delivered'"),
        0
    );
    assert_eq!(delivered(&app, "hanging"), 0);
    // AND those that hang hold what is theirs, and memory and senders are bounded
    assert!(most.0 <= 400 && most.1 <= 96, "{most:?}");
    let held: usize = hanging.iter().map(|one| one.received().len()).sum();
    assert!(held <= 64, "{held} requests hang");
    // AND what is new is sent to those that are well at once.
    let before = healthy[0].received().len();
    app.sql("insert into orders values (1000)");
    publish(&mut app).await;
    for receiver in &healthy {
        receiver
            .wait_for(before + 1, std::time::Duration::from_secs(30))
            .await;
    }
    // AND when the others go away, their requests end and no work is left that is due.
    drop(hanging);
    let left = |app: &TestApp| app.instance.outbox.senders() + app.instance.outbox.in_memory();
    deliver_until(&mut app, |app| left(app) == 0).await;
    app.sql(
        "update rowcall.delivery set due_at = 'infinity' \
         where state = 'pending' and due_at is not null",
    );
}

#[tokio::test]
async fn endless_answers_end_early_and_hold_up_nobody() {
    // GIVEN receivers that answer 200 and then never stop
    let (endless, healthy) = (receivers(10).await, receivers(1).await);
    for (n, receiver) in endless.iter().enumerate() {
        receiver.answer_with(move |_| match n % 3 {
            0 => Answer::EndlessBody,
            1 => Answer::HugeBody(50_000_000),
            _ => Answer::DripBody,
        });
    }
    let options = Options {
        limits: limits(),
        ..Options::default()
    };
    let mut app = TestApp::start_with(ORDERS, options).await;
    let mut all = to_all("endless", &endless);
    all.extend(to_all("healthy", &healthy));
    subscribe(&app, &all).await;
    // WHEN they are owed something THEN their answers count, and the rest of them is not read
    app.sql("insert into orders select g from generate_series(1, 3) g");
    app.run_until_idle().await;
    assert_eq!(delivered(&app, "endless"), 30);
    assert_eq!(delivered(&app, "healthy"), 3);
}
