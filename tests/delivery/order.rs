//! The order of an object's events, for one subscription.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::{RunQueryDsl as _, connection::SimpleConnection as _, sql_query};

use crate::{
    shop::{
        deliver, deliver_until, deliveries, event, mirrored_to, publish, row, rows, subscribe,
        subscription,
    },
    support::receiver::{Answer, Gate, Received, Receiver},
};

const SOON: Duration = Duration::from_secs(10);
const SCHEDULE: &str = r#"retry = { schedule = ["0s", "5s", "5m"] }"#;

/// The revisions of one object, in the order of receipt.
fn revisions_of(id: i64, received: &[Received]) -> Vec<i64> {
    let images = received
        .iter()
        .map(|request| event(request)["data"]["after"].clone());
    images
        .filter(|image| image["id"] == id)
        .map(|image| image["revision"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_failing_event_holds_back_later_events_of_its_key_and_no_others() {
    // GIVEN a receiver that refuses the first event of object 1
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| match row(request).as_str() {
        "1:1" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    // WHEN objects 1 and 2 change again and again, in this batch and in later ones
    app.sql("insert into orders values (1), (2); update orders set revision = 2");
    app.run_until_idle().await;
    app.sql("update orders set revision = 3");
    app.run_until_idle().await;
    // THEN object 2 flows and object 1 waits
    assert_eq!(revisions_of(1, &receiver.received()), [1]);
    assert_eq!(revisions_of(2, &receiver.received()), [1, 2, 3]);
    // WHEN the refused event succeeds at its third attempt
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(revisions_of(1, &receiver.received()), [1, 1]);
    receiver.answer_with(|_| Answer::Status(200));
    app.advance(TimeDelta::minutes(6)).await;
    // THEN the others follow at once, in order
    assert_eq!(revisions_of(1, &receiver.received()), [1, 1, 1, 2, 3]);
    assert_eq!(deliveries(&app)[0], "delivered/3");
}

#[tokio::test]
async fn what_waits_behind_a_dead_delivery_goes_on() {
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| match row(request).as_str() {
        "1:2" => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1)");
    for revision in 2..=5 {
        app.sql(&format!("update orders set revision = {revision}"));
    }
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(revisions_of(1, &receiver.received()), [1, 2, 2]);
    app.advance(TimeDelta::minutes(6)).await;
    assert_eq!(revisions_of(1, &receiver.received()), [1, 2, 2, 2, 3, 4, 5]);
    assert_eq!(deliveries(&app)[1], "dead/3");
}

#[tokio::test]
async fn a_long_chain_keeps_its_order_through_failures_in_its_middle() {
    // GIVEN a receiver that fails every seventh request, and an object that changes 300 times in
    // one transaction and 50 times in as many
    let receiver = Receiver::start().await;
    let mut count = 0;
    receiver.answer_with(move |_| {
        count += 1;
        match count % 14 {
            7 => Answer::Status(503),
            0 => Answer::Reset,
            _ => Answer::Status(200),
        }
    });
    let mut app = mirrored_to(
        &receiver,
        r#"retry = { schedule = ["0s", "0s", "0s", "0s"] }"#,
    )
    .await;
    app.sql(
        "insert into orders values (1); \
         do $$ begin for r in 2..300 loop update orders set revision = r; end loop; end $$",
    );
    for revision in 301..=350 {
        app.sql(&format!("update orders set revision = {revision}"));
        if revision % 10 == 0 {
            app.run_until_idle().await;
        }
    }
    app.run_until_idle().await;
    // THEN each is delivered, and the first receipts are in order
    let mut first_receipts = revisions_of(1, &receiver.received());
    let mut seen = std::collections::HashSet::new();
    first_receipts.retain(|revision| seen.insert(*revision));
    assert_eq!(first_receipts, (1..=350).collect::<Vec<_>>());
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state = 'delivered'"),
        350
    );
}

#[tokio::test]
async fn without_ordering_nothing_is_held_back() {
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| match row(request).as_str() {
        "1:1" => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let mut app = mirrored_to(&receiver, &format!("{SCHEDULE}\nordering = \"none\"")).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    app.sql("update orders set revision = 3");
    app.run_until_idle().await;
    let mut revisions = revisions_of(1, &receiver.received());
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3]);
    assert_eq!(
        deliveries(&app),
        ["pending/1", "delivered/1", "delivered/1"]
    );
    receiver.answer_with(|_| Answer::Status(200));
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(deliveries(&app)[0], "delivered/2");
}

#[tokio::test]
async fn a_change_of_the_key_waits_for_both_keys_and_both_wait_for_it() {
    // GIVEN a receiver that refuses the last events of objects 1 and 2 under these keys
    let receiver = Receiver::start().await;
    let refused = |rows: &'static [&'static str]| {
        move |request: &Received| match rows.contains(&row(request).as_str()) {
            true => Answer::Status(503),
            false => Answer::Status(200),
        }
    };
    receiver.answer_with(refused(&["1:1", "2:2"]));
    let mut app = mirrored_to(
        &receiver,
        r#"retry = { schedule = ["0s", "5s", "5s", "5s"] }"#,
    )
    .await;
    app.sql("insert into orders values (1, 1), (2, 2)");
    app.run_until_idle().await;
    // WHEN 2 is deleted, 1 becomes 2, and later events of both keys follow
    app.sql("delete from orders where id = 2");
    app.sql("update orders set id = 2, revision = 3 where id = 1");
    app.sql("insert into orders values (1, 10); update orders set revision = 4 where id = 2");
    app.run_until_idle().await;
    assert_eq!(receiver.received().len(), 2);
    // WHEN one of the two keys is free THEN the change still waits for the other
    receiver.answer_with(refused(&["1:1"]));
    app.advance(TimeDelta::seconds(6)).await;
    let mut third = rows(&receiver.received()[2..]);
    third.sort();
    assert_eq!(
        third,
        ["1:1", "2:2", "2:2"],
        "an event of 2, its repeat, and its deletion"
    );
    // WHEN the other is free, too, but the change of the key is refused THEN later events of both
    // wait
    receiver.answer_with(refused(&["2:3"]));
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(rows(&receiver.received()[5..]), ["1:1", "2:3"]);
    assert_eq!(
        event(&receiver.received()[6])["data"]["previous_key"]["id"],
        1
    );
    // WHEN it succeeds THEN they follow
    receiver.answer_with(|_| Answer::Status(200));
    app.advance(TimeDelta::seconds(6)).await;
    let last = rows(&receiver.received()[7..]);
    assert_eq!(last[0], "2:3");
    assert!(
        last.len() == 3 && last.contains(&"1:10".to_owned()) && last.contains(&"2:4".to_owned())
    );
}

#[tokio::test]
async fn swapped_keys_keep_the_order_of_every_key() {
    // GIVEN rows that hand their keys on in one transaction: 3 -> 4, 2 -> 3, 1 -> 2, and a new 1
    let receiver = Receiver::start().await;
    let mut count = 0;
    receiver.answer_with(move |_| {
        count += 1;
        Answer::Status(if count % 3 == 0 { 503 } else { 200 })
    });
    let mut app = mirrored_to(
        &receiver,
        r#"retry = { schedule = ["0s", "5s", "5s", "5s"] }"#,
    )
    .await;
    app.sql("insert into orders values (1), (2), (3)");
    for revision in [2, 3, 4] {
        app.sql(&format!(
            "begin; delete from orders where id = 4; \
             update orders set id = 4, revision = {revision} where id = 3; \
             update orders set id = 3, revision = {revision} where id = 2; \
             update orders set id = 2, revision = {revision} where id = 1; \
             insert into orders values (1, {revision}); commit"
        ));
    }
    app.run_until_idle().await;
    for _ in 0..40 {
        app.advance(TimeDelta::seconds(6)).await;
    }
    // THEN first receipts per key, old keys included, are in the order of the changes
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state <> 'delivered'"),
        0
    );
    super::interleavings::assert_order(&app, &receiver.received());
}

#[tokio::test]
async fn each_subscription_has_an_order_of_its_own() {
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.answer_with(|_| Answer::Status(503));
    let mut app = mirrored_to(&slow, SCHEDULE).await;
    let both = [
        subscription("mirror", slow.url(), SCHEDULE),
        subscription("other", fast.url(), SCHEDULE),
    ];
    subscribe(&app, &both).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    assert_eq!(rows(&fast.received()), ["1:1", "1:2"]);
    assert_eq!(rows(&slow.received()), ["1:1"]);
}

/// Makes every transaction that changes a delivery wait at its commit while this lock is held.
const GATE_AT_COMMIT: &str = "create function public.gate() returns trigger language plpgsql as \
    $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$; \
    create constraint trigger gate after update on rowcall.delivery deferrable initially deferred \
    for each row execute function public.gate(); select pg_advisory_lock(1)";

#[tokio::test]
async fn two_instances_that_settle_both_keys_at_once_release_the_change_of_the_key() {
    // GIVEN the last events of keys 1 and 2, under way from two instances, and a change of 1 to 2
    let receiver = Receiver::start().await;
    let mut one = mirrored_to(&receiver, SCHEDULE).await;
    let mut two = one.sibling().await;
    one.sql("insert into orders values (1), (2)");
    one.run_until_idle().await;
    let gate = Gate::default();
    receiver.script([
        Answer::Status(503),
        Answer::Held(gate.clone(), 200),
        Answer::Held(gate.clone(), 200),
    ]);
    one.sql("delete from orders where id = 2");
    one.run_until_idle().await;
    one.clock.advance(TimeDelta::seconds(6));
    deliver(&mut two).await;
    receiver.wait_for(4, SOON).await;
    one.sql("update orders set revision = 2; update orders set id = 2, revision = 3");
    publish(&mut one).await;
    receiver.wait_for(5, SOON).await;
    // WHEN both are settled, and neither has committed when the other looks what to release
    let mut gatekeeper = one.connect();
    gatekeeper.batch_execute(GATE_AT_COMMIT).unwrap();
    gate.open();
    let opened = tokio::task::spawn_blocking(move || {
        let waiting = "select from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database()";
        while sql_query(waiting).execute(&mut gatekeeper).unwrap() < 2 {}
        gatekeeper
            .batch_execute("select pg_advisory_unlock_all()")
            .unwrap();
    });
    tokio::join!(
        deliver_until(&mut one, |app| app.instance.outbox.in_memory() == 0),
        deliver_until(&mut two, |app| app.instance.outbox.in_memory() == 0),
    );
    opened.await.unwrap();
    // THEN the change is not forgotten
    one.run_until_idle().await;
    assert_eq!(deliveries(&one).last().unwrap(), "delivered/1");
}
