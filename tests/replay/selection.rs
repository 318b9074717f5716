//! What a replay means, how fast it goes, and how it is cancelled.

use chrono::TimeDelta;
use rowcall::stage::Stage as _;
use serde_json::{Value, json};

use crate::{
    house::{
        account, ask, books, deliver, deliveries, done, is_replay, mirrored_to, publish, replay,
        rows, run_replays,
    },
    support::{
        app::TestApp,
        receiver::{Answer, Gate, Receiver},
    },
};

/// Asks for a replay, has it done, and gives the rows that it sent, in order.
async fn replayed(app: &mut TestApp, receiver: &Receiver, mut body: Value) -> Vec<String> {
    let before = receiver.received().len();
    body["subscription"] = "mirror".into();
    let asked = done(app, "POST", "/v1/replays", &body).await;
    run_replays(app).await;
    let ended = replay(app, &asked["id"]).await;
    assert_eq!(ended["state"], "done", "{ended}");
    let received = receiver.received();
    let again = &received[before..];
    assert!(again.iter().all(is_replay));
    assert_eq!(ended["sent"], again.len(), "{ended}");
    assert_eq!(ended["found"], again.len(), "{ended}");
    let mut rows = rows(again);
    rows.sort();
    rows
}

#[tokio::test]
async fn deliveries_are_meant_by_state_time_type_object_and_filter() {
    // GIVEN orders 1 and 2 that are dead, 3 and 4 that are delivered an hour later, and updates
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500), Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s"] }"#).await;
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    // Times of events are the server's, which is not under the test's hands.
    app.sql("update rowcall.event set \"time\" = '2026-03-02T08:00:00Z'");
    app.advance(TimeDelta::hours(1)).await;
    app.sql("insert into orders values (3), (4); update orders set revision = 2 where id = 4");
    app.run_until_idle().await;
    app.sql(
        "update rowcall.event set \"time\" = '2026-03-02T09:30:00Z' \
         where \"time\" <> '2026-03-02T08:00:00Z'",
    );
    let (before, told) = (account(&app), books(&app));
    // WHEN they are narrowed in each way THEN just those are sent that are meant
    for (body, expected) in [
        (json!({}), vec!["1:1", "2:1"]),
        (json!({"state": "delivered"}), vec!["3:1", "4:1", "4:2"]),
        (
            json!({"state": "any"}),
            vec!["1:1", "2:1", "3:1", "4:1", "4:2"],
        ),
        (
            json!({"state": "any", "from": "2026-03-02T08:00:00Z", "to": "2026-03-02T09:30:00Z"}),
            vec!["1:1", "2:1"],
        ),
        (
            json!({"state": "any", "from": "2026-03-02T09:00:00Z"}),
            vec!["3:1", "4:1", "4:2"],
        ),
        (
            json!({"state": "any", "event_type": "sales.order.updated"}),
            vec!["4:2"],
        ),
        (
            json!({"state": "any", "object_type": "sales.order", "key": "4"}),
            vec!["4:1", "4:2"],
        ),
        (json!({"object_type": "sales.order", "key": "4"}), vec![]),
        (
            json!({"state": "any", "filter": "op == 'create' && row.id >= 2"}),
            vec!["2:1", "3:1", "4:1"],
        ),
    ] {
        assert_eq!(
            replayed(&mut app, &receiver, body.clone()).await,
            expected,
            "{body}"
        );
    }
    assert_eq!((account(&app), books(&app)), (before, told));
}

#[tokio::test]
async fn an_event_that_is_dated_ahead_of_its_publishing_is_found_by_its_date() {
    // GIVEN an event that its publisher dated two days ahead, and one that is dated as it is
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    app.sql(
        "update rowcall.event set \"time\" = case object_key when '1' \
             then published_at + interval '2 days' else published_at end",
    );
    // WHEN that day has come, and what is of it is replayed
    app.advance(TimeDelta::days(3)).await;
    let body = json!({"state": "delivered", "from": "2026-03-04T00:00:00Z"});
    // THEN it is sent, though it was published before
    assert_eq!(replayed(&mut app, &receiver, body).await, ["1:1"]);
    let body = json!({"state": "delivered", "from": "2026-03-04T12:00:00Z"});
    assert_eq!(replayed(&mut app, &receiver, body).await, [""; 0]);
}

#[tokio::test]
async fn what_is_published_after_the_request_is_not_meant() {
    // GIVEN a replay that is asked for, and not searched for yet
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    // WHEN another event is published and delivered before the search
    app.clock.advance(TimeDelta::milliseconds(10));
    app.sql("insert into orders values (2)");
    publish(&mut app).await;
    while deliveries(&app) != ["delivered/1", "delivered/1"] {
        app.instance.deliver.rest(app.clock.now()).await;
        deliver(&mut app).await;
    }
    run_replays(&mut app).await;
    // THEN it is not sent again
    assert_eq!(replay(&app, &asked["id"]).await["found"], 1);
    assert_eq!(rows(&receiver.received()), ["1:1", "2:1", "1:1"]);
}

#[tokio::test]
async fn replays_are_listed_in_pages_newest_first() {
    // GIVEN five replays
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    let body = json!({"subscription": "mirror"});
    let mut asked = Vec::new();
    for _ in 0..5 {
        app.clock.advance(TimeDelta::milliseconds(1));
        asked.push(done(&app, "POST", "/v1/replays", &body).await["id"].clone());
    }
    run_replays(&mut app).await;
    // WHEN they are listed by two THEN each is on one page
    let (mut listed, mut path) = (Vec::new(), "/v1/replays?limit=2".to_owned());
    loop {
        let page = done(&app, "GET", &path, &Value::Null).await;
        let items = page["items"].as_array().unwrap();
        assert!((1..=2).contains(&items.len()), "{page}");
        listed.extend(items.iter().map(|item| item["id"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/replays?limit=2&cursor={next}");
    }
    asked.reverse();
    assert_eq!(listed, asked);
}

#[tokio::test]
async fn what_is_kept_no_more_is_counted_and_from_when_all_is_kept_is_told() {
    // GIVEN three delivered events, of which the first is kept no more
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql("delete from rowcall.event; insert into orders values (2), (3)");
    app.run_until_idle().await;
    app.sql("update rowcall.event set \"time\" = '2026-03-02T08:00:00Z'");
    // WHEN all since before are replayed
    let body = json!({"subscription": "mirror", "state": "any", "from": "2026-03-01T00:00:00Z"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    assert_eq!(asked["complete_from"], "2026-03-02T08:00:00Z");
    // AND one of them is lost between the search and its send
    let now = app.clock.now();
    while replay(&app, &asked["id"]).await["state"] == "searching" {
        app.instance.replay.run_once(now).await.unwrap();
    }
    app.sql("delete from rowcall.event where object_key = '3'");
    run_replays(&mut app).await;
    // THEN it is told how many could not be sent
    let ended = replay(&app, &asked["id"]).await;
    let counts = ["found", "sent", "gone", "queued"].map(|name| ended[name].as_i64().unwrap());
    assert_eq!((&ended["state"], counts), (&"done".into(), [3, 1, 2, 0]));
}

#[tokio::test]
async fn a_rate_bounds_what_is_sent_in_a_time() {
    // GIVEN thirty delivered events
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders select g from generate_series(1, 30) g");
    app.run_until_idle().await;
    // WHEN they are replayed at ten in a second
    let body = json!({"subscription": "mirror", "state": "delivered", "rate": "10/s"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    assert_eq!(asked["rate"], "10/s");
    let mut counts = Vec::new();
    for _ in 0..30 {
        app.run_until_idle().await;
        counts.push(receiver.received().len() - 30);
        app.clock.advance(TimeDelta::milliseconds(100));
    }
    // THEN no second sees more than ten, and the slice of a second that is claimed at once
    for (place, count) in counts.iter().enumerate() {
        assert!(*count <= place + 2, "{counts:?}");
        assert!(*count >= place, "{counts:?}");
    }
    run_replays(&mut app).await;
    assert_eq!(receiver.received().len(), 60);
}

#[tokio::test]
async fn a_cancelled_replay_sends_nothing_more() {
    // GIVEN a replay of which some is under way and some waits
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["0s", "1s"] }"#).await;
    app.sql("insert into orders select g from generate_series(1, 20) g");
    app.run_until_idle().await;
    let gate = Gate::default();
    let answers = [200, 503].map(|status| Answer::Held(gate.clone(), status));
    receiver.script(answers);
    let body = json!({"subscription": "mirror", "state": "delivered", "rate": "10/s"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    while receiver.received().len() < 22 {
        let now = app.clock.now();
        app.instance.replay.run_once(now).await.unwrap();
        tokio::task::yield_now().await;
    }
    // WHEN it is cancelled
    let path = format!("/v1/replays/{}", asked["id"].as_str().unwrap());
    let cancelled = done(&app, "DELETE", &path, &Value::Null).await;
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(
        (&cancelled["cancelled"], &cancelled["queued"]),
        (&18.into(), &2.into())
    );
    gate.open();
    for _ in 0..5 {
        app.advance(TimeDelta::seconds(2)).await;
    }
    // THEN what was under way is counted, and what failed is not tried again
    let ended = replay(&app, &asked["id"]).await;
    let counts = ["found", "sent", "failed", "cancelled", "queued"];
    let counts = counts.map(|name| ended[name].as_i64().unwrap());
    assert_eq!(counts, [20, 1, 0, 19, 0]);
    assert_eq!(receiver.received().len(), 22);
    // AND cancelling once more changes nothing
    assert_eq!(done(&app, "DELETE", &path, &Value::Null).await, ended);
    let listed = done(&app, "GET", "/v1/replays", &Value::Null).await;
    assert_eq!(listed["items"][0], ended);
    let (status, _) = ask(&app, "DELETE", "/v1/replays/none", &Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_replay_waits_while_its_subscription_is_paused_and_ends_with_it() {
    // GIVEN a replay whose subscription is paused before anything was sent
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    let id = app.texts("select id from rowcall.subscription")[0].clone();
    let path = format!("/v1/subscriptions/{id}");
    done(&app, "PATCH", &path, &json!({"state": "paused"})).await;
    // WHEN time goes by THEN it waits
    app.advance(TimeDelta::minutes(1)).await;
    let waiting = replay(&app, &asked["id"]).await;
    assert_eq!(
        (&waiting["state"], &waiting["queued"]),
        (&"sending".into(), &2.into())
    );
    assert_eq!(receiver.received().len(), 2);
    // WHEN it is resumed THEN it goes on
    done(&app, "PATCH", &path, &json!({"state": "active"})).await;
    run_replays(&mut app).await;
    assert_eq!(receiver.received().len(), 4);
    // WHEN the subscription of another is deleted THEN that is cancelled, and says why
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    app.sql("update rowcall.registry set revision = revision + 1");
    app.sql("update rowcall.subscription set state = 'deleted'");
    run_replays(&mut app).await;
    let ended = replay(&app, &asked["id"]).await;
    assert_eq!(ended["state"], "cancelled");
    assert!(ended["reason"].to_string().contains("deleted"), "{ended}");
}
