//! What the tests of replays share: orders, a subscription, and an operator who asks the API.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::{
    account::{Account, account_read},
    auth::{Role, store::key_create},
    stage::Stage as _,
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::{
    app::{ADMIN_KEY, Options, TestApp},
    receiver::{Received, Receiver},
};

/// Rows that are written with another revision each time.
pub(crate) const ORDERS: &str = "create table public.orders \
    (id integer primary key, revision integer not null default 1, note text)";

const SHOP: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
"#;

/// One attempt, and a delivery that fails is dead.
pub(crate) const ONE_ATTEMPT: &str = r#"retry = { schedule = ["0s"] }"#;
/// The same, and a dead delivery holds its lane.
pub(crate) const BLOCKING: &str = "retry = { schedule = [\"0s\"] }\non_dead = \"block\"";

/// An instance with the table and the subscription `mirror` to `receiver`; `more` are further lines
/// of it.
pub(crate) async fn mirrored_to(receiver: &Receiver, more: &str) -> TestApp {
    mirrored_with(receiver, more, Options::default()).await
}

pub(crate) async fn mirrored_with(receiver: &Receiver, more: &str, options: Options) -> TestApp {
    let app = TestApp::start_with(ORDERS, options).await;
    subscribe(&app, receiver, more).await;
    app
}

/// Applies the metadata with these lines of the subscription.
pub(crate) async fn subscribe(app: &TestApp, receiver: &Receiver, more: &str) {
    let mode = if more.contains("mode =") {
        ""
    } else {
        "mode = \"synchronous\""
    };
    app.apply(&format!(
        r#"{SHOP}
        [subscription.mirror]
        object_types = ["sales.order"]
        {mode}
        sink = {{ kind = "webhook", url = "{}", secret = {{ env = "SIGNING_SECRET" }} }}
        {more}
        "#,
        receiver.url()
    ))
    .await;
}

/// Asks the API with a key; gives status and answer.
pub(crate) async fn ask_as(
    app: &TestApp,
    key: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json");
    answered(app, request.body(Body::from(text)).unwrap()).await
}

pub(crate) async fn answered(app: &TestApp, request: Request<Body>) -> (u16, Value) {
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

/// Asks as the administrator.
pub(crate) async fn ask(app: &TestApp, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask_as(app, ADMIN_KEY, method, path, body).await
}

/// Asks as the administrator for what must succeed.
pub(crate) async fn done(app: &TestApp, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(app, method, path, body).await;
    assert!(
        (200..300).contains(&status),
        "{method} {path}: {status} {answer}"
    );
    answer
}

/// Asserts that an answer is the problem `slug` and says all of `says`.
pub(crate) fn assert_problem((status, answer): &(u16, Value), slug: &str, says: &[&str]) {
    assert_eq!(
        answer["type"],
        format!("/problems/{slug}"),
        "{status} {answer}"
    );
    for part in says {
        assert!(
            answer.to_string().contains(part),
            "`{part}` is not in {answer}"
        );
    }
}

/// A new key of this role.
pub(crate) fn key(app: &TestApp, role: Role) -> String {
    let key = key_create(&mut app.connect(), "test", role, app.clock.now());
    key.unwrap().expose()
}

/// The replay with this id, as it is now.
pub(crate) async fn replay(app: &TestApp, id: &Value) -> Value {
    let path = format!("/v1/replays/{}", id.as_str().unwrap());
    done(app, "GET", &path, &Value::Null).await
}

/// Moves the clock in small steps until every replay has ended.
pub(crate) async fn run_replays(app: &mut TestApp) {
    for _ in 0..10_000 {
        app.run_until_idle().await;
        if replays_running(app) == 0 {
            return;
        }
        app.clock.advance(TimeDelta::milliseconds(200));
    }
    panic!("replays go on for ever");
}

pub(crate) fn replays_running(app: &TestApp) -> i64 {
    app.count("select count(*) from rowcall.replay where state in ('searching', 'sending')")
}

/// The account of the whole repository.
pub(crate) fn account(app: &TestApp) -> Account {
    app.connect()
        .transaction(|connection| account_read(connection, "default"))
        .unwrap()
}

/// Everything that is known of deliveries and their attempts, to see that a replay changes none of
/// it.
pub(crate) fn books(app: &TestApp) -> Vec<String> {
    let mut books = app.texts("select d from rowcall.delivery d order by id");
    books.extend(app.texts("select a from rowcall.attempt a order by delivery_id, number"));
    books
}

/// The ids of the deliveries in this state, in the order of publishing.
pub(crate) fn ids(app: &TestApp, state: &str) -> Vec<String> {
    app.texts(&format!(
        "select id from rowcall.delivery where state = '{state}' order by position, id"
    ))
}

/// `state/attempts` of each delivery, in the order of publishing; `!` marks those that block.
pub(crate) fn deliveries(app: &TestApp) -> Vec<String> {
    app.texts(
        "select state || '/' || attempts || case when blocks then '!' else '' end \
         from rowcall.delivery order by position",
    )
}

/// `id:revision` of each request's row, in the order of the requests.
pub(crate) fn rows(received: &[Received]) -> Vec<String> {
    received.iter().map(row).collect()
}

pub(crate) fn row(request: &Received) -> String {
    let event: Value = serde_json::from_slice(&request.body).unwrap();
    let data = &event["data"];
    let image = if data["after"].is_null() {
        &data["before"]
    } else {
        &data["after"]
    };
    format!("{}:{}", image["id"], image["revision"])
}

/// Whether a request is marked as a replay.
pub(crate) fn is_replay(request: &Received) -> bool {
    request.header("rowcall-replay") == Some("1")
}

/// Runs one stage once, and no more.
pub(crate) async fn publish(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
}

pub(crate) async fn deliver(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.deliver.run_once(now).await.unwrap();
}

pub(crate) async fn replays(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.replay.run_once(now).await.unwrap();
}
