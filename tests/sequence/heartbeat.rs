//! Heartbeats: what they tell, when, and whom they do not disturb.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use rowcall::{
    deliver::heartbeat::{REQUESTS_PER_HOST_MAX, store::heartbeat_claim},
    sink::SigningSecret,
    stage::{Progress, Stage as _},
};
use serde_json::{Value, json};

use crate::{
    harness::{call, id_of, numbers, order, shop, subscription},
    support::{
        app::{ADMIN_KEY, SIGNING_SECRET, TestApp},
        receiver::{Answer, Gate, Received, Receiver},
    },
};

const WAIT: Duration = Duration::from_secs(20);

fn told(receiver: &Receiver, name: &str) -> String {
    subscription(
        receiver,
        name,
        "mode = \"synchronous\"\nheartbeat = \"30s\"",
    )
}

/// Runs the stage once; whether it had something to send.
async fn beat(app: &mut TestApp) -> bool {
    let now = app.clock.now();
    app.instance.beats.run_once(now).await.unwrap() == Progress::Worked
}

/// Runs the stage until nothing is due.
async fn beat_all(app: &mut TestApp) {
    while beat(app).await {}
}

fn event(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[tokio::test]
async fn it_tells_at_its_interval_how_far_the_numbers_go() {
    // GIVEN a subscription with a heartbeat and three events, of which the second is to be retried
    let receiver = Receiver::start().await;
    receiver.verify_with(SigningSecret::parse(SIGNING_SECRET).unwrap());
    let mut app = shop(&told(&receiver, "mirror")).await;
    beat_all(&mut app).await;
    receiver.script([Answer::Status(200), Answer::Status(500)]);
    for id in 1..=3 {
        order(&app, [id], "EU");
        app.run_until_idle().await;
    }
    // WHEN its time comes
    app.clock.advance(TimeDelta::milliseconds(29_999));
    beat_all(&mut app).await;
    assert_eq!(receiver.received().len(), 3);
    app.clock.advance(TimeDelta::milliseconds(1));
    beat_all(&mut app).await;
    // THEN it is told once what was given and what is settled, signed, and without a number
    let received = receiver.wait_for(4, WAIT).await;
    let beat = &received[3];
    assert_eq!(beat.verified, Some(true));
    let told = event(beat);
    assert_eq!(told["type"], "rowcall.heartbeat");
    assert_eq!(told["id"], json!(beat.id));
    assert_eq!(told["sequence"], Value::Null);
    assert_eq!(told["data"]["subscription"], "mirror");
    assert_eq!(told["data"]["at"], "2026-03-02T09:00:30.000000Z");
    assert_eq!(numbers(&told["data"]), (3, 1));
    // and it is no delivery
    assert_eq!(app.count("select count(*) from rowcall.delivery"), 3);
    // and times that went by unseen are not made up for
    app.advance(TimeDelta::minutes(10)).await;
    beat_all(&mut app).await;
    let received = receiver.wait_for(6, WAIT).await;
    assert_eq!(numbers(&event(&received[5])["data"]), (3, 3));
    beat_all(&mut app).await;
    assert_eq!(receiver.received().len(), 6);
}

#[tokio::test]
async fn of_several_instances_one_sends_it() {
    // GIVEN two instances and a claim that is not committed yet
    let receiver = Receiver::start().await;
    let mut app = shop(&[told(&receiver, "one"), told(&receiver, "two")].concat()).await;
    let mut other = app.sibling().await;
    beat_all(&mut app).await;
    beat_all(&mut other).await;
    app.clock.advance(TimeDelta::seconds(30));
    let now = app.clock.now();
    let mut third = app.connect();
    diesel::connection::SimpleConnection::batch_execute(&mut third, "begin").unwrap();
    assert_eq!(heartbeat_claim(&mut third, 1, now).unwrap().len(), 1);
    // WHEN both look at the same time THEN they neither wait for it nor send it
    let (_, _) = tokio::join!(beat(&mut app), beat(&mut other));
    receiver.wait_for(1, WAIT).await;
    beat_all(&mut app).await;
    assert_eq!(receiver.received().len(), 1);
    // and if it comes to nothing, the other one is sent, and the one is not sent again
    diesel::connection::SimpleConnection::batch_execute(&mut third, "rollback").unwrap();
    let (_, _) = tokio::join!(beat(&mut app), beat(&mut other));
    let received = receiver.wait_for(2, WAIT).await;
    beat_all(&mut app).await;
    beat_all(&mut other).await;
    assert_eq!(receiver.received().len(), 2);
    assert_ne!(received[0].path, received[1].path);
    drop(other);
}

#[tokio::test]
async fn it_rests_while_its_subscription_does_and_is_not_retried() {
    // GIVEN a subscription whose receiver fails
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(500));
    let mut app = shop(&told(&receiver, "mirror")).await;
    beat_all(&mut app).await;
    app.clock.advance(TimeDelta::seconds(30));
    beat_all(&mut app).await;
    receiver.wait_for(1, WAIT).await;
    // WHEN nothing but time goes by THEN it is not tried again before its time
    app.advance(TimeDelta::seconds(29)).await;
    beat_all(&mut app).await;
    assert_eq!(receiver.received().len(), 1);
    // and 410 ends nothing: no event was refused
    receiver.answer_with(|_| Answer::Status(410));
    app.clock.advance(TimeDelta::seconds(1));
    beat_all(&mut app).await;
    receiver.wait_for(2, WAIT).await;
    let state = "select state from rowcall.subscription";
    app.run_until_idle().await;
    assert_eq!(app.texts(state), ["active"]);
    // WHEN it is paused THEN it is told nothing, and when it is resumed an interval later
    let path = format!("/v1/subscriptions/{}", id_of(&app, "mirror"));
    for (to, beats) in [("paused", 2), ("active", 3)] {
        let (status, text) = call(&app, ADMIN_KEY, "PATCH", &path, &json!({"state": to})).await;
        assert_eq!(status, 200, "{text}");
        if to == "paused" {
            // though no stage has looked at the list since
            let due = app.clock.now() + TimeDelta::hours(1);
            assert!(
                heartbeat_claim(&mut app.connect(), 9, due)
                    .unwrap()
                    .is_empty()
            );
            app.clock.advance(TimeDelta::seconds(15));
        }
        beat_all(&mut app).await;
        app.clock.advance(TimeDelta::seconds(29));
        beat_all(&mut app).await;
        assert_eq!(receiver.received().len(), 2, "{to}");
        app.clock.advance(TimeDelta::seconds(1));
        beat_all(&mut app).await;
        receiver.wait_for(beats, WAIT).await;
        assert_eq!(receiver.received().len(), beats, "{to}");
    }
    // and with another interval by that
    app.apply(&format!(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\nkey = [\"id\"]\n{}",
        told(&receiver, "mirror").replace("30s", "5s")
    ))
    .await;
    beat_all(&mut app).await;
    app.clock.advance(TimeDelta::seconds(5));
    beat_all(&mut app).await;
    receiver.wait_for(4, WAIT).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_others_nor_deliveries() {
    // GIVEN more subscriptions of a receiver that hangs than may be told at once, and one more
    let (hanging, quick) = (Receiver::start().await, Receiver::start().await);
    let gate = Gate::default();
    let held = gate.clone();
    hanging.answer_with(move |request| match event(request)["type"].as_str() {
        Some("rowcall.heartbeat") => Answer::Held(held.clone(), 200),
        _ => Answer::Status(200),
    });
    let many = REQUESTS_PER_HOST_MAX + 3;
    let mut metadata: String = (0..many)
        .map(|n| told(&hanging, &format!("h{n}")))
        .collect();
    metadata.push_str(&told(&quick, "quick"));
    let mut app = shop(&metadata).await;
    beat_all(&mut app).await;
    // WHEN all are due, and an event is published
    app.clock.advance(TimeDelta::seconds(30));
    beat_all(&mut app).await;
    hanging.wait_for(REQUESTS_PER_HOST_MAX, WAIT).await;
    quick.wait_for(1, WAIT).await;
    order(&app, [1], "EU");
    app.run_until_idle().await;
    // THEN all get the event, and the one that hangs no more heartbeats than its share
    assert_eq!(hanging.received().len(), REQUESTS_PER_HOST_MAX + many);
    // and the others have theirs a little later
    gate.open();
    let beaten = || -> HashSet<String> {
        let received = hanging.received();
        let beats = received
            .iter()
            .filter(|one| event(one)["type"] == "rowcall.heartbeat");
        beats.map(|one| one.path.clone()).collect()
    };
    for _ in 0..20 {
        if beaten().len() == many {
            return;
        }
        app.instance.beats.rest(app.clock.now()).await;
        app.clock.advance(TimeDelta::seconds(5));
        beat_all(&mut app).await;
    }
    panic!("{} of {many} were told", beaten().len());
}

#[tokio::test]
async fn one_that_hangs_is_not_told_again_before_it_has_ended() {
    // GIVEN a subscription that is told every five seconds, and whose receiver hangs
    let receiver = Receiver::start().await;
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), 200));
    let often = told(&receiver, "mirror").replace("30s", "5s");
    let mut app = shop(&often).await;
    beat_all(&mut app).await;
    // WHEN its time comes again and again
    for _ in 0..4 {
        app.clock.advance(TimeDelta::seconds(5));
        beat_all(&mut app).await;
        receiver.wait_for(1, WAIT).await;
    }
    // THEN one request is under way, and not all that there is room for
    assert_eq!(receiver.received().len(), 1);
    // and when it has ended, it is told again
    gate.open();
    app.instance.beats.rest(app.clock.now()).await;
    app.clock.advance(TimeDelta::seconds(5));
    beat_all(&mut app).await;
    receiver.wait_for(2, WAIT).await;
}

#[tokio::test]
async fn a_heartbeat_that_can_not_be_is_refused() {
    // GIVEN heartbeats out of bounds, for mails, and that are none WHEN they are registered
    let receiver = Receiver::start().await;
    let app = shop("").await;
    let webhook = json!({"kind": "webhook", "url": receiver.url()});
    let email = json!({"kind": "email", "to": ["ada@example.com"]});
    for (heartbeat, sink, says) in [
        ("1s", &webhook, "1s is not from 5s to 1day"),
        (
            "30s",
            &email,
            "goes to a webhook; this sink is of the kind `email`",
        ),
        ("often", &webhook, "`often` is not a duration"),
    ] {
        let body = json!({"name": "x", "object_types": ["sales.order"], "mode": "synchronous",
            "heartbeat": heartbeat, "sink": sink});
        // THEN the answer names the field and what to write
        let (status, text) = call(&app, ADMIN_KEY, "POST", "/v1/subscriptions", &body).await;
        assert_eq!(status, 422, "{text}");
        assert!(
            text.contains("\"/heartbeat\"") && text.contains(says),
            "{text}"
        );
    }
}
