//! Leases: what an instance has claimed comes back when it is gone, and is nobody else's before.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use rowcall::{
    config::Limits,
    stage::{Progress, Stage as _},
};

use crate::{
    publisher::without_lock,
    shop::{
        ORDERS, attempts, deliver, deliver_until, deliveries, mirrored_to, publish, rows,
        subscribe, subscription,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Received, Receiver},
    },
};

const SOON: Duration = Duration::from_secs(10);
/// Longer than the lease of tests.
const LEASE: TimeDelta = TimeDelta::seconds(11);

fn count_of_each(received: &[Received]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for request in received {
        *counts.entry(request.id.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn what_a_lost_instance_had_claimed_is_rescued_after_its_lease() {
    // GIVEN an instance that is gone while its first request is under way, three more behind it
    let receiver = Receiver::start().await;
    receiver.script([Answer::HangAfterAccept]);
    let mut lost = mirrored_to(&receiver, "").await;
    let mut other = lost.sibling().await;
    lost.sql("insert into orders values (1); update orders set revision = 2");
    lost.sql("update orders set revision = 3; insert into orders values (2)");
    publish(&mut lost).await;
    receiver.wait_for(2, SOON).await;
    drop(lost);
    // WHEN its lease holds THEN nobody else sends them
    deliver(&mut other).await;
    assert_eq!(
        deliveries(&other),
        ["sending/0", "sending/0", "sending/0", "sending/0"]
    );
    // WHEN its lease has ended THEN another instance sends them, in order, the first with the same
    // id
    other.advance(LEASE).await;
    assert_eq!(
        deliveries(&other),
        ["delivered/1", "delivered/1", "delivered/1", "delivered/1"]
    );
    let mut received = receiver.received();
    received.retain(|request| !rows(std::slice::from_ref(request))[0].starts_with("2:"));
    assert_eq!(rows(&received), ["1:1", "1:1", "1:2", "1:3"]);
    assert_eq!(
        (&received[0].id, &received[0].body),
        (&received[1].id, &received[1].body)
    );
}

#[tokio::test]
async fn a_holder_that_wakes_after_its_lease_writes_nothing() {
    // GIVEN a request under way when its holder's lease ends, and another instance that delivers
    for late_answer in [200, 503, 410] {
        let receiver = Receiver::start().await;
        let gate = Gate::default();
        receiver.script([Answer::Held(gate.clone(), late_answer)]);
        let mut holder = mirrored_to(&receiver, "").await;
        let mut other = holder.sibling().await;
        holder.sql("insert into orders values (1)");
        publish(&mut holder).await;
        receiver.wait_for(1, SOON).await;
        other.advance(LEASE).await;
        assert_eq!(deliveries(&other), ["delivered/1"]);
        // WHEN the holder gets its answer
        gate.open();
        deliver_until(&mut holder, |app| app.instance.outbox.in_memory() == 0).await;
        // THEN nothing is changed by it
        assert_eq!(deliveries(&other), ["delivered/1"]);
        assert_eq!(attempts(&other), ["1 delivered 200"]);
        assert_eq!(
            other.texts("select state from rowcall.subscription"),
            ["active"]
        );
    }
}

#[tokio::test]
async fn an_instance_that_claims_again_what_it_lost_is_another_holder() {
    // GIVEN an instance whose clock jumps past its own lease, so that it claims its delivery again
    let receiver = Receiver::start().await;
    let (first, second) = (Gate::default(), Gate::default());
    receiver.script([
        Answer::Held(first.clone(), 503),
        Answer::Held(second.clone(), 503),
    ]);
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s", "1s", "1s"] }"#).await;
    app.sql("insert into orders values (1)");
    publish(&mut app).await;
    receiver.wait_for(1, SOON).await;
    app.clock.advance(LEASE);
    deliver_until(&mut app, |app| app.instance.outbox.in_memory() == 2).await;
    receiver.wait_for(2, SOON).await;
    // WHEN the answer of the lost lease arrives THEN it is not written
    first.open();
    deliver_until(&mut app, |app| app.instance.outbox.in_memory() == 1).await;
    assert_eq!(deliveries(&app), ["sending/0"]);
    assert_eq!(attempts(&app), [""; 0]);
    // AND that of the present one is, and the next attempt has the next number
    second.open();
    deliver_until(&mut app, |app| app.instance.outbox.in_memory() == 0).await;
    assert_eq!(attempts(&app), ["1 retry 503"]);
    app.advance(TimeDelta::seconds(2)).await;
    assert_eq!(attempts(&app), ["1 retry 503", "2 delivered 200"]);
}

/// Few places in memory, so that most deliveries are left for whoever comes.
fn little_memory() -> Options {
    let mut limits = Limits::for_testing();
    (
        limits.deliveries_in_memory_max,
        limits.senders_max,
        limits.senders_per_host_max,
    ) = (16, 8, 8);
    Options {
        limits,
        ..Options::default()
    }
}

/// Runs the stages of an instance until no delivery is left.
async fn work(app: &mut TestApp) {
    loop {
        let now = app.clock.now();
        let published = app.instance.publish.run_once(now).await.unwrap();
        let delivered = app.instance.deliver.run_once(now).await.unwrap();
        let open = "select count(*) from rowcall.delivery where state in ('pending', 'sending')";
        if (published, delivered) != (Progress::Idle, Progress::Idle) {
            continue;
        }
        if app.count(open) == 0 {
            return;
        }
        app.instance.deliver.rest(now).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_instances_send_each_event_once() {
    // GIVEN three instances, and more deliveries than one has places for
    let receiver = Receiver::start().await;
    let mut one = TestApp::start_with(ORDERS, little_memory()).await;
    subscribe(
        &one,
        &[
            subscription("mirror", receiver.url(), ""),
            subscription("loose", receiver.url(), "ordering = \"none\""),
        ],
    )
    .await;
    let (mut two, mut three) = (one.sibling().await, one.sibling().await);
    one.sql("insert into orders select g from generate_series(1, 60) g");
    one.sql("update orders set revision = 2; update orders set revision = 3 where id < 10");
    publish(&mut one).await;
    // WHEN all of them work at the same time
    tokio::join!(work(&mut one), work(&mut two), work(&mut three));
    // THEN each event was received once by each subscription
    let received = receiver.received();
    let counts = count_of_each(&received);
    assert_eq!(counts.len(), 129);
    assert!(counts.values().all(|count| *count == 2), "{counts:?}");
    let holders = one.count("select count(distinct instance) from rowcall.attempt");
    assert!(holders > 1, "one instance did it all");
    one.run_until_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publishers_of_the_same_changes_publish_them_once() {
    // GIVEN two publishers of which each thinks that it is the only one
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    let mut second = without_lock(&app);
    let now = app.clock.now();
    let mut writer = app.connect();
    for round in 1..=20 {
        // WHEN both publish the same changes at the same time
        use diesel::connection::SimpleConnection as _;
        writer
            .batch_execute(&format!(
                "insert into orders values ({round}); update orders set revision = revision + 1"
            ))
            .unwrap();
        let (one, two) = tokio::join!(app.instance.publish.run_once(now), second.run_once(now));
        let worked = [one.unwrap(), two.unwrap()];
        // THEN at least one of them does
        assert!(
            worked.contains(&Progress::Worked),
            "round {round}: {worked:?}"
        );
    }
    app.run_until_idle().await;
    let changes = app.count("select count(*) from rowcall.change");
    assert_eq!(app.count("select count(*) from rowcall.event"), changes);
    assert_eq!(
        app.count("select count(distinct change_seq) from rowcall.event"),
        changes
    );
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state = 'delivered'"),
        changes
    );
    assert_eq!(receiver.received().len() as i64, changes);
    super::interleavings::assert_order(&app, &receiver.received());
}
