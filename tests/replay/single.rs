//! One delivery is sent again.

use axum::{
    body::Body,
    http::{Request, header},
};
use chrono::TimeDelta;
use serde_json::Value;

use crate::{
    house::{
        ONE_ATTEMPT, account, answered, books, deliveries, done, ids, is_replay, mirrored_to,
        replay, run_replays,
    },
    support::{
        app::{ADMIN_KEY, SIGNING_SECRET},
        receiver::{Answer, Receiver},
    },
};

#[tokio::test]
async fn a_dead_one_is_sent_again_as_it_was_and_the_account_stays() {
    // GIVEN a delivery that was given up, and one that was delivered
    let receiver = Receiver::start().await;
    receiver.verify_with(rowcall::sink::SigningSecret::parse(SIGNING_SECRET).unwrap());
    receiver.script([Answer::Status(500), Answer::Status(200)]);
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql("insert into orders values (2)");
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["dead/1", "delivered/1"]);
    let (before, told) = (account(&app), books(&app));
    assert!(before.adds_up() && before.dead == 1);
    // WHEN both are replayed
    app.clock.advance(TimeDelta::hours(3));
    for state in ["dead", "delivered"] {
        let path = format!("/v1/deliveries/{}/replay", ids(&app, state)[0]);
        let asked = done(&app, "POST", &path, &Value::Null).await;
        assert_eq!((&asked["found"], &asked["queued"]), (&1.into(), &1.into()));
        run_replays(&mut app).await;
        // THEN the replay says that it was sent
        let ended = replay(&app, &asked["id"]).await;
        assert_eq!(
            (&ended["state"], &ended["sent"]),
            (&"done".into(), &1.into())
        );
        assert_eq!(ended["queued"], 0);
    }
    // AND the receiver got the same id, body and number, marked, and signed as of now
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    for (first, again) in [(&received[0], &received[2]), (&received[1], &received[3])] {
        assert_eq!((&first.id, &first.body), (&again.id, &again.body));
        assert!(!is_replay(first) && is_replay(again));
        assert_eq!(again.verified, Some(true));
        assert_ne!(first.timestamp, again.timestamp);
    }
    // AND nothing of the deliveries, and of the account, has changed
    assert_eq!(account(&app), before);
    assert_eq!(books(&app), told);
    // AND the attempts are told beside the delivery's own
    let path = format!("/v1/deliveries/{}", ids(&app, "dead")[0]);
    let shown = done(&app, "GET", &path, &Value::Null).await;
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(shown["replays"][0]["state"], "sent");
    assert_eq!(shown["replays"][0]["attempts"][0]["status"], 200);
}

#[tokio::test]
async fn it_is_retried_as_the_subscription_says_and_may_fail() {
    // GIVEN a dead delivery of a subscription that tries twice, and a receiver that is still down
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(503));
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s", "1m"] }"#).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::minutes(2)).await;
    let (before, told) = (account(&app), books(&app));
    // WHEN it is replayed
    let path = format!("/v1/deliveries/{}/replay", ids(&app, "dead")[0]);
    let asked = done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    // THEN it waits for its second attempt
    assert_eq!(replay(&app, &asked["id"]).await["queued"], 1);
    assert_eq!(receiver.received().len(), 3);
    app.advance(TimeDelta::seconds(50)).await;
    assert_eq!(receiver.received().len(), 3);
    app.advance(TimeDelta::seconds(20)).await;
    // AND is given up after it
    run_replays(&mut app).await;
    let ended = replay(&app, &asked["id"]).await;
    assert_eq!(
        (&ended["state"], &ended["failed"]),
        (&"done".into(), &1.into())
    );
    assert_eq!(receiver.received().len(), 4);
    assert_eq!((account(&app), books(&app)), (before, told));
}

#[tokio::test]
async fn a_replay_that_is_acknowledged_ends_the_time_of_failing() {
    // GIVEN a subscription whose attempts fail since a delivery that it took
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(200), Answer::Status(503)]);
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s", "1h"] }"#).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql("insert into orders values (2)");
    app.run_until_idle().await;
    let failing = "select count(*) from rowcall.subscription_failing";
    assert_eq!(app.count(failing), 1);
    // WHEN a replay fails as well THEN it fails still
    let path = format!("/v1/deliveries/{}/replay", ids(&app, "delivered")[0]);
    receiver.script([Answer::Status(503)]);
    done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    assert_eq!(app.count(failing), 1);
    // WHEN one is acknowledged THEN not every attempt fails
    done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    assert_eq!(app.count(failing), 0);
    app.advance(TimeDelta::hours(2)).await;
    run_replays(&mut app).await;
}

#[tokio::test]
async fn the_same_request_under_one_key_is_one_replay() {
    // GIVEN a dead delivery
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let path = format!("/v1/deliveries/{}/replay", ids(&app, "dead")[0]);
    let request = |path: &str| {
        Request::builder()
            .method("POST")
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
            .header("idempotency-key", "again-1")
            .body(Body::empty())
            .unwrap()
    };
    // WHEN its replay is asked for twice under one key
    let (first, made) = answered(&app, request(&path)).await;
    let (second, recalled) = answered(&app, request(&path)).await;
    // THEN it is one
    assert_eq!((first, second), (202, 202));
    assert_eq!(made["id"], recalled["id"]);
    run_replays(&mut app).await;
    assert_eq!(receiver.received().len(), 2);
    // AND another request may not have the key
    let other = path.replace("/v1/deliveries/0", "/v1/deliveries/1");
    let refused = answered(&app, request(&other)).await;
    assert_eq!(refused.0, 422, "{refused:?}");
    // AND the same holds of one that means several
    let several = || {
        Request::builder()
            .method("POST")
            .uri("/v1/replays")
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "again-2")
            .body(Body::from(r#"{"subscription": "mirror"}"#))
            .unwrap()
    };
    let (_, made) = answered(&app, several()).await;
    let (status, recalled) = answered(&app, several()).await;
    assert_eq!((status, &made["id"]), (202, &recalled["id"]));
    assert_eq!(app.count("select count(*) from rowcall.replay"), 2);
    run_replays(&mut app).await;
}
