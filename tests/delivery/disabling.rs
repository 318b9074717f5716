//! What disables a subscription, and who is told.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use chrono::TimeDelta;
use rowcall::{
    account::account_read,
    auth::{Role, store::key_create},
    stage::Stage as _,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    shop::{
        ORDERS, api, attempts, deliver_until, deliveries, event, mirrored_to, path_of, publish,
        rows, subscribe, subscription,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

const SHORT: &str = r#"retry = { schedule = ["0s", "1h"], disable_after = "1day" }"#;

/// A subscription to operational events.
fn desk(url: &str) -> String {
    format!(
        r#"
        [subscription.desk]
        event_types = ["rowcall.subscription.*"]
        mode = "synchronous"
        sink = {{ kind = "webhook", url = "{url}", secret = {{ env = "SIGNING_SECRET" }} }}
        retry = {{ schedule = ["0s", "1h"], disable_after = "1day" }}
        "#
    )
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.run_until_idle().await;
}

/// A change every three hours, and upkeep after each.
async fn changes(app: &mut TestApp, count: usize) {
    for _ in 0..count {
        app.sql("update orders set revision = revision + 1");
        app.run_until_idle().await;
        app.advance(TimeDelta::hours(2)).await;
        app.advance(TimeDelta::hours(1)).await;
        upkeep(app).await;
    }
}

async fn state(app: &TestApp, name: &str) -> Value {
    api(app, "GET", &path_of(app, name), &json!(null)).await
}

fn failing(app: &TestApp) -> i64 {
    app.count("select count(*) from rowcall.subscription_failing")
}

fn disabled_events(app: &TestApp) -> i64 {
    app.count("select count(*) from rowcall.event where type = 'rowcall.subscription.disabled'")
}

fn adds_up(app: &TestApp) {
    use diesel::Connection as _;
    let account = app
        .connect()
        .transaction(|connection| account_read(connection, "default"))
        .unwrap();
    assert!(account.adds_up(), "{account:?}");
}

#[tokio::test]
async fn a_subscription_that_fails_for_too_long_is_disabled_and_its_owner_is_told_once() {
    // GIVEN a receiver that is out of order, and a desk that listens
    let (receiver, listening) = (Receiver::start().await, Receiver::start().await);
    receiver.answer_with(|_| Answer::Status(503));
    let mut app = TestApp::start(ORDERS).await;
    let mirror = subscription("mirror", receiver.url(), SHORT);
    subscribe(&app, &[mirror, desk(listening.url())]).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let began = app.clock.now();
    // WHEN all its attempts fail for less than the day
    changes(&mut app, 7).await;
    // THEN nothing happens yet, though it was often enough
    assert_eq!(state(&app, "mirror").await["state"], "active");
    assert!(attempts(&app).len() >= 10);
    assert_eq!(failing(&app), 1);
    // WHEN they fail for the day
    changes(&mut app, 2).await;
    // THEN it is disabled with the reason, and the desk is told, once
    let shown = state(&app, "mirror").await;
    assert_eq!(shown["state"], "disabled", "{shown}");
    let reason = shown["state_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("none of ") && reason.ends_with("answered 503"),
        "{reason}"
    );
    assert_eq!((disabled_events(&app), failing(&app)), (1, 0));
    let told = listening.received();
    assert_eq!(told.len(), 1);
    let told = event(&told[0]);
    assert_eq!(told["type"], "rowcall.subscription.disabled");
    assert_eq!(told["source"], "/rowcall/default");
    assert_eq!(told["subject"], shown["id"]);
    assert_eq!(told.get("originid"), None, "{told}");
    let data = &told["data"];
    assert_eq!(
        data["subscription"],
        json!({"id": shown["id"], "name": "mirror"})
    );
    assert_eq!(data["reason"], shown["state_reason"]);
    let failures = data["failures"].as_u64().unwrap();
    assert_eq!(failures as usize, receiver.received().len());
    let since = chrono::DateTime::parse_from_rfc3339(data["since"].as_str().unwrap()).unwrap();
    assert!(
        (since.to_utc() - began).abs() < TimeDelta::seconds(1),
        "{since}"
    );
    // AND it is sent nothing, what comes is kept, and nobody is told again
    let before = receiver.received().len();
    changes(&mut app, 3).await;
    assert_eq!(receiver.received().len(), before);
    assert_eq!((disabled_events(&app), listening.received().len()), (1, 1));
    let kept = deliveries(&app);
    assert!(kept.contains(&"pending/0".to_owned()), "{kept:?}");
    adds_up(&app);
    // WHEN its owner resumes it THEN what was kept is sent in order, and it has a day again
    receiver.answer_with(|_| Answer::Status(200));
    let change = json!({"state": "active"});
    api(&app, "PATCH", &path_of(&app, "mirror"), &change).await;
    app.run_until_idle().await;
    upkeep(&mut app).await;
    let sent = rows(&receiver.received()[before..]);
    let mut sorted = sent.clone();
    sorted.sort_by_key(|row| row.split_once(':').unwrap().1.parse::<u32>().unwrap());
    assert_eq!(sent, sorted);
    assert!(!sent.is_empty());
    assert_eq!(state(&app, "mirror").await["state"], "active");
    assert_eq!((disabled_events(&app), failing(&app)), (1, 0));
    adds_up(&app);
}

#[tokio::test]
async fn one_success_begins_the_time_anew() {
    // GIVEN a receiver that has failed for most of the day
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(500));
    let mut app = mirrored_to(&receiver, SHORT).await;
    app.sql("insert into orders values (1)");
    changes(&mut app, 7).await;
    assert_eq!(failing(&app), 1);
    // WHEN it takes one
    receiver.script([Answer::Status(200)]);
    changes(&mut app, 1).await;
    // THEN it counts as failing from then on, and is disabled a day later and not before
    changes(&mut app, 7).await;
    assert_eq!(state(&app, "mirror").await["state"], "active");
    assert_eq!(failing(&app), 1);
    changes(&mut app, 3).await;
    assert_eq!(state(&app, "mirror").await["state"], "disabled");
}

#[tokio::test]
async fn a_few_failures_disable_nothing_however_far_apart_they_are() {
    // GIVEN a subscription that is told of something once in a month, and fails
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(500));
    let retry = r#"retry = { schedule = ["0s"], disable_after = "1day" }"#;
    let mut app = mirrored_to(&receiver, retry).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    for count in 2..=10 {
        upkeep(&mut app).await;
        assert_eq!(state(&app, "mirror").await["state"], "active", "{count}");
        app.advance(TimeDelta::days(30)).await;
        app.sql("update orders set revision = revision + 1");
        app.run_until_idle().await;
    }
    // WHEN it is the tenth time THEN that is enough
    upkeep(&mut app).await;
    assert_eq!(state(&app, "mirror").await["state"], "disabled");
    assert_eq!(deliveries(&app), ["dead/1"; 10]);
}

#[tokio::test]
async fn time_in_which_nothing_is_tried_counts_only_when_the_next_attempt_fails_too() {
    // GIVEN a subscription whose attempts all failed within hours, often enough
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(500));
    let retry = r#"retry = { schedule = ["0s"], disable_after = "1day" }"#;
    let mut app = mirrored_to(&receiver, retry).await;
    app.sql("insert into orders values (1)");
    changes(&mut app, 5).await;
    app.sql("update orders set revision = revision + 1; insert into orders values (2), (3), (4)");
    app.run_until_idle().await;
    assert_eq!(attempts(&app).len(), 10);
    // WHEN there is nothing to send for days THEN nobody knows of it that it fails still
    app.advance(TimeDelta::days(5)).await;
    upkeep(&mut app).await;
    assert_eq!(state(&app, "mirror").await["state"], "active");
    // WHEN one more fails THEN it has for days
    app.sql("update orders set revision = revision + 1 where id = 1");
    app.run_until_idle().await;
    upkeep(&mut app).await;
    assert_eq!(state(&app, "mirror").await["state"], "disabled");
}

#[tokio::test]
async fn what_an_operator_must_mend_disables_nobody() {
    // GIVEN an instance that may not reach the receiver's address any more
    let receiver = Receiver::start().await;
    let app = mirrored_to(&receiver, SHORT).await;
    let options = Options {
        allow_nets: &[],
        ..Options::default()
    };
    let mut strict = app.sibling_with(options).await;
    drop(app);
    // WHEN that goes on for days
    strict.sql("insert into orders values (1)");
    changes(&mut strict, 20).await;
    // THEN deliveries died, and nobody was disabled for it
    assert!(deliveries(&strict).contains(&"dead/2".to_owned()));
    assert_eq!(failing(&strict), 0);
    assert_eq!(state(&strict, "mirror").await["state"], "active");
    strict.sql("delete from rowcall.delivery where state = 'pending'");
}

#[tokio::test]
async fn a_410_tells_the_owner_once_also_if_two_are_under_way() {
    // GIVEN two requests under way to a receiver that is about to be gone
    let (receiver, listening) = (Receiver::start().await, Receiver::start().await);
    let gates = [Gate::default(), Gate::default()];
    let mut app = TestApp::start(ORDERS).await;
    let mirror = subscription("mirror", receiver.url(), SHORT);
    subscribe(&app, &[mirror, desk(listening.url())]).await;
    receiver.script([Answer::Status(500)]);
    app.sql("insert into orders values (7)");
    app.run_until_idle().await;
    app.clock.advance(TimeDelta::minutes(1));
    receiver.script(gates.clone().map(|gate| Answer::Held(gate, 410)));
    app.sql("insert into orders values (1), (2)");
    publish(&mut app).await;
    receiver
        .wait_for(3, std::time::Duration::from_secs(10))
        .await;
    let revision = "select revision from rowcall.registry";
    let before = app.count(revision);
    // WHEN one is answered, and when that is written, the other
    for (gate, written) in gates.iter().zip(1..) {
        gate.open();
        let tried = "select count(*) from rowcall.attempt where status = 410";
        deliver_until(&mut app, |app| app.count(tried) == written).await;
    }
    app.run_until_idle().await;
    // THEN the registration list is one edit further, and not one for each answer
    assert_eq!(app.count(revision), before + 1);
    // AND it is disabled once, and the event counts what failed before
    assert_eq!(state(&app, "mirror").await["state"], "disabled");
    assert_eq!((disabled_events(&app), listening.received().len()), (1, 1));
    let told = event(&listening.received()[0]);
    let failures = told["data"]["failures"].as_u64().unwrap();
    assert_eq!(failures, 2, "{told}");
    assert!(
        told["data"]["reason"].as_str().unwrap().contains("410"),
        "{told}"
    );
    assert!(
        told["data"]["since"]
            .as_str()
            .unwrap()
            .starts_with("2026-03-02T09:00:00")
    );
    // AND what it would be told of itself waits with the rest
    upkeep(&mut app).await;
    assert_eq!(disabled_events(&app), 1);
}

#[tokio::test]
async fn who_is_told_of_being_disabled_itself_goes_round_in_no_circle() {
    // GIVEN a desk that is the only one that listens, and is gone
    let (receiver, listening) = (Receiver::start().await, Receiver::start().await);
    receiver.answer_with(|_| Answer::Status(410));
    listening.answer_with(|_| Answer::Status(410));
    let mut app = TestApp::start(ORDERS).await;
    let mirror = subscription("mirror", receiver.url(), SHORT);
    subscribe(&app, &[mirror, desk(listening.url())]).await;
    // WHEN the mirror is disabled, and the desk by being told of it
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::days(3)).await;
    upkeep(&mut app).await;
    // THEN there are two events, and the desk's own waits for it
    assert_eq!((disabled_events(&app), listening.received().len()), (2, 1));
    assert_eq!(state(&app, "desk").await["state"], "disabled");
    listening.answer_with(|_| Answer::Status(200));
    let change = json!({"state": "active"});
    api(&app, "PATCH", &path_of(&app, "desk"), &change).await;
    app.run_until_idle().await;
    let told: Vec<Value> = listening.received().iter().map(event).collect();
    let names: Vec<&Value> = told
        .iter()
        .map(|told| &told["data"]["subscription"]["name"])
        .collect();
    assert_eq!(names, ["mirror", "mirror", "desk"]);
    assert_eq!(disabled_events(&app), 2);
    adds_up(&app);
}

/// A key of this role.
fn key(app: &TestApp, role: Role) -> String {
    let key = key_create(&mut app.connect(), "test", role, app.clock.now()).unwrap();
    key.expose()
}

/// Registers a subscription as the holder of a key.
async fn register(app: &TestApp, key: &str, name: &str, event_types: &[&str], url: &str) -> String {
    let body = json!({"name": name, "event_types": event_types, "mode": "synchronous",
        "sink": {"kind": "webhook", "url": url}});
    let request = Request::post("/v1/subscriptions")
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), 1_000_000).await.unwrap();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_subscriber_is_told_of_its_own_and_an_operator_of_all() {
    // GIVEN two subscribers, each with a receiver that is gone and a desk; an administrator's desk;
    // and one who asked for everything
    let gone = Receiver::start().await;
    gone.answer_with(|_| Answer::Status(410));
    let mut app = TestApp::start(ORDERS).await;
    subscribe(&app, &[]).await;
    let keys = [Role::Subscriber, Role::Subscriber, Role::Admin].map(|role| key(&app, role));
    let desks = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    let mut about = Vec::new();
    for (place, (key, desk)) in keys.iter().zip(&desks).enumerate() {
        let name = format!("desk-{place}");
        register(
            &app,
            key,
            &name,
            &["rowcall.subscription.disabled"],
            desk.url(),
        )
        .await;
        let name = format!("mirror-{place}");
        about.push(register(&app, key, &name, &["sales.order.created"], gone.url()).await);
    }
    let everything = Receiver::start().await;
    register(&app, &keys[2], "everything", &["*"], everything.url()).await;
    // WHEN all are disabled
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(disabled_events(&app), 3);
    // THEN each is told of its own, and the administrator of all
    let told = |receiver: &Receiver| {
        let mut told: Vec<String> = receiver
            .received()
            .iter()
            .map(|request| event(request)["subject"].as_str().unwrap().to_owned())
            .collect();
        told.sort();
        told
    };
    assert_eq!(told(&desks[0]), [about[0].clone()]);
    assert_eq!(told(&desks[1]), [about[1].clone()]);
    let mut all = about.clone();
    all.sort();
    assert_eq!(told(&desks[2]), all);
    // AND who asked for everything asked for what happens in the business
    assert_eq!(told(&everything), ["1"]);
    // AND why is told to who asks
    let others = app.texts(&format!(
        "select id from rowcall.event where type = 'rowcall.subscription.disabled' \
         and object_key = '{}'",
        about[0]
    ));
    let path = format!("/v1/explain?event={}&subscription=desk-1", others[0]);
    let explained = api(&app, "GET", &path, &json!(null)).await;
    assert_eq!(explained["verdict"], "not matched", "{explained}");
    let summary = explained["summary"].as_str().unwrap();
    assert!(summary.contains("told to operators"), "{summary}");
}

#[tokio::test]
async fn its_event_type_exists_and_is_nobodys_to_make_or_to_submit() {
    let app = TestApp::start(ORDERS).await;
    let path = "/v1/event-types/rowcall.subscription.disabled";
    let shown = api(&app, "GET", path, &json!(null)).await;
    assert_eq!(shown["standard"], true, "{shown}");
    let schema = api(&app, "GET", &format!("{path}/schema"), &json!(null)).await;
    assert_eq!(
        schema["required"],
        json!(["subscription", "reason", "since", "failures"])
    );
    let listed = api(&app, "GET", "/v1/event-types?limit=500", &json!(null)).await;
    let names = listed["items"].as_array().unwrap().iter();
    let count = names
        .filter(|item| item["name"] == "rowcall.subscription.disabled")
        .count();
    assert_eq!(count, 1);
    for (method, path, media_type, body) in [
        ("PUT", path, "application/json", json!({"schema": {}})),
        (
            "POST",
            "/v1/events",
            "application/cloudevents+json",
            json!({"specversion": "1.0", "id": "1", "source": "/x",
                "type": "rowcall.subscription.disabled", "data": {}}),
        ),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", crate::support::app::ADMIN_KEY),
            )
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = app.instance.router.clone().oneshot(request).await.unwrap();
        assert!(
            answer.status().is_client_error(),
            "{method}: {}",
            answer.status()
        );
    }
}
