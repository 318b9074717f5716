//! At least once: every attempt carries the same id and the same bytes.

use chrono::TimeDelta;
use rowcall::{sink::SigningSecret, stage::Stage as _};
use serde_json::json;

use crate::{
    shop::{ORDERS, api, deliveries, mirrored_to, path_of, publish, subscribe},
    support::{
        app::{SIGNING_SECRET, TestApp},
        receiver::{Answer, Receiver},
    },
};

#[tokio::test]
async fn every_attempt_has_the_same_id_and_body_and_a_current_signature() {
    // GIVEN a subscription of the API's, and a receiver that fails three times
    let receiver = Receiver::start().await;
    receiver.verify_with(SigningSecret::parse(SIGNING_SECRET).unwrap());
    receiver.script(std::iter::repeat_n(Answer::Status(503), 3));
    let mut app = TestApp::start(ORDERS).await;
    subscribe(&app, &[]).await;
    let spec = json!({
        "name": "mirror", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": receiver.url(), "secret": SIGNING_SECRET},
        "retry": {"schedule": ["0s", "1h", "1h", "1h"]},
    });
    api(&app, "POST", "/v1/subscriptions", &spec).await;
    app.sql("insert into orders values (1, 1, 'Grüße, \"Zoë\" \\ 1e400')");
    app.run_until_idle().await;
    // WHEN it is tried again, then by another instance after a restart, then after changes of the
    // subscription and of the row
    app.advance(TimeDelta::hours(2)).await;
    let mut restarted = app.sibling().await;
    drop(app);
    restarted.advance(TimeDelta::hours(2)).await;
    let change = json!({"labels": {"desk": "eu"}, "event_types": ["sales.order.*"]});
    api(&restarted, "PATCH", &path_of(&restarted, "mirror"), &change).await;
    restarted.sql("update orders set note = null");
    restarted.advance(TimeDelta::hours(2)).await;
    // THEN id and bytes are the same each time, and each signature was made at its time
    let received = receiver.received();
    assert_eq!(received.len(), 5, "four attempts and the update");
    for (attempt, request) in received[..4].iter().enumerate() {
        assert_eq!(
            (&request.id, &request.body),
            (&received[0].id, &received[0].body)
        );
        assert_eq!(request.verified, Some(true));
        let start = "2026-03-02T09:00:00Z"
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap();
        let sent = start.timestamp() + 7200 * attempt as i64;
        assert_eq!(request.timestamp, sent.to_string());
    }
    assert_eq!(deliveries(&restarted), ["delivered/4", "delivered/1"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_causes_a_repeat_with_the_same_id() {
    // GIVEN a receiver that takes the request and drops the connection before it answers
    let receiver = Receiver::start().await;
    receiver.script([Answer::Reset, Answer::Reset]);
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s", "5s", "5s"] }"#).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(6)).await;
    app.advance(TimeDelta::seconds(6)).await;
    // THEN the repeats carry the id of the first, before the next event
    let received = receiver.received();
    let ids: Vec<&str> = received.iter().map(|request| request.id.as_str()).collect();
    assert_eq!(ids.len(), 4);
    assert!(
        ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3],
        "{ids:?}"
    );
    assert_eq!(received[0].body, received[2].body);
    assert_eq!(deliveries(&app), ["delivered/3", "delivered/1"]);
}

#[tokio::test]
async fn results_that_could_not_be_written_are_written_later() {
    // GIVEN a delivery that was sent and answered
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    publish(&mut app).await;
    receiver
        .wait_for(2, std::time::Duration::from_secs(10))
        .await;
    // WHEN every session of the instance is ended before the result is written
    app.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'rowcall' and datname = current_database()",
    );
    let now = app.clock.now();
    let mut failures = 0;
    while deliveries(&app) != ["delivered/1", "delivered/1"] {
        match app.instance.deliver.run_once(now).await {
            Ok(_) => app.instance.deliver.rest(now).await,
            Err(_) => failures += 1,
        }
        assert!(failures < 20, "the stage does not recover");
    }
    // THEN the failed transaction lost nothing, and nothing is sent twice
    assert!(failures > 0, "no session was ended");
    while app.instance.publish.run_once(now).await.is_err() {}
    app.run_until_idle().await;
    assert_eq!(receiver.received().len(), 2);
    assert_eq!(app.count("select count(*) from rowcall.attempt"), 2);
}
