//! Stopping an instance: what it has claimed is given back or written.

use std::time::Duration;

use rowcall::stage::Stage as _;

use crate::{
    shop::{deliveries, mirrored_to, publish, rows},
    support::receiver::{Answer, Gate, Receiver},
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stopping_instance_finishes_its_request_and_gives_back_the_rest() {
    // GIVEN a chain of four whose first request is under way
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    receiver.script([Answer::Held(gate.clone(), 200)]);
    let mut stopping = mirrored_to(&receiver, "").await;
    let mut other = stopping.sibling().await;
    stopping.sql("insert into orders values (1); update orders set revision = 2");
    stopping.sql("update orders set revision = 3; update orders set revision = 4");
    publish(&mut stopping).await;
    receiver.wait_for(1, SOON).await;
    // WHEN the instance stops, and the answer comes
    let answered = async {
        gate.open();
    };
    tokio::join!(stopping.instance.deliver.close(), answered);
    // THEN that result is written and the rest is due
    assert_eq!(
        deliveries(&other),
        ["delivered/1", "pending/0", "pending/0", "pending/0"]
    );
    assert_eq!(receiver.received().len(), 1);
    // AND another instance sends it at once, without waiting for leases
    drop(stopping);
    other.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1", "1:2", "1:3", "1:4"]);
}

#[tokio::test]
async fn what_waits_for_a_sender_is_given_back_although_a_request_hangs() {
    // GIVEN more than a receiver may have under way that has not answered yet, all of which hangs
    let receiver = Receiver::start().await;
    receiver.script(std::iter::repeat_n(Answer::HangAfterAccept, 4));
    let mut stopping = mirrored_to(&receiver, "").await;
    let mut other = stopping.sibling().await;
    stopping.sql("insert into orders select g from generate_series(1, 40) g");
    publish(&mut stopping).await;
    receiver.wait_for(4, SOON).await;
    // WHEN the instance stops: it waits no longer than it may drain
    let begun = std::time::Instant::now();
    stopping.instance.deliver.close().await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop(stopping);
    // THEN what had not been begun is sent by another instance at once
    crate::shop::deliver_until(&mut other, |app| {
        app.count("select count(*) from rowcall.delivery where state = 'delivered'") >= 36
    })
    .await;
    // AND the others by their schedule, or after their leases
    other.advance(chrono::TimeDelta::seconds(11)).await;
    assert_eq!(
        other.count("select count(*) from rowcall.delivery where state <> 'delivered'"),
        0
    );
}

#[tokio::test]
async fn a_database_that_fails_while_stopping_costs_no_result() {
    // GIVEN a delivery that was answered
    let receiver = Receiver::start().await;
    let mut stopping = mirrored_to(&receiver, "").await;
    let other = stopping.sibling().await;
    stopping.sql("insert into orders values (1)");
    publish(&mut stopping).await;
    receiver.wait_for(1, SOON).await;
    // WHEN its sessions are ended just before it stops
    stopping.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'rowcall' and datname = current_database()",
    );
    stopping.instance.deliver.close().await;
    // THEN the result is written all the same
    assert_eq!(deliveries(&other), ["delivered/1"]);
}

#[tokio::test]
async fn an_instance_that_does_not_deliver_leaves_what_it_publishes_to_others() {
    // GIVEN an instance whose outbox is closed from the start, as without the role `deliver`
    let receiver = Receiver::start().await;
    let mut publishing = mirrored_to(&receiver, "").await;
    let mut delivering = publishing.sibling().await;
    publishing.instance.outbox.close();
    // WHEN it publishes THEN it claims nothing
    publishing.sql("insert into orders values (1); update orders set revision = 2");
    publish(&mut publishing).await;
    assert_eq!(deliveries(&delivering), ["pending/0", "pending/0"]);
    // AND another instance delivers at once, each event once
    delivering.run_until_idle().await;
    assert_eq!(rows(&receiver.received()), ["1:1", "1:2"]);
}
