//! What the tests of deliveries share: a table whose rows count their writes, and words for what
//! came of it.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use chrono::TimeDelta;
use rowcall::stage::Stage as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::{
    app::{ADMIN_KEY, TestApp},
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

/// A subscription of all orders; `more` are further lines of it.
pub(crate) fn subscription(name: &str, url: &str, more: &str) -> String {
    format!(
        r#"
        [subscription.{name}]
        object_types = ["sales.order"]
        mode = "synchronous"
        sink = {{ kind = "webhook", url = "{url}", secret = {{ env = "SIGNING_SECRET" }} }}
        {more}
        "#
    )
}

/// An instance with the table and the subscription `mirror` to `receiver`.
pub(crate) async fn mirrored_to(receiver: &Receiver, more: &str) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), more)]).await;
    app
}

/// Applies the shop's metadata with these subscriptions.
pub(crate) async fn subscribe(app: &TestApp, subscriptions: &[String]) {
    app.apply(&format!("{SHOP}{}", subscriptions.concat()))
        .await;
}

/// The CloudEvent of a request.
pub(crate) fn event(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// `id:revision` of each request's row, in the order of the requests.
pub(crate) fn rows(received: &[Received]) -> Vec<String> {
    received.iter().map(row).collect()
}

pub(crate) fn row(request: &Received) -> String {
    let data = &event(request)["data"];
    let image = if data["after"].is_null() {
        &data["before"]
    } else {
        &data["after"]
    };
    format!("{}:{}", image["id"], image["revision"])
}

/// `state/attempts` of each delivery, in the order of publishing.
pub(crate) fn deliveries(app: &TestApp) -> Vec<String> {
    app.texts(
        "select state || '/' || attempts from rowcall.delivery order by position, subscription_id",
    )
}

/// `number outcome status` of each attempt.
pub(crate) fn attempts(app: &TestApp) -> Vec<String> {
    app.texts(
        "select concat_ws(' ', a.number, a.outcome, a.status) from rowcall.attempt a \
         join rowcall.delivery d on d.id = a.delivery_id order by d.position, a.number",
    )
}

/// Runs a stage once, and no more.
pub(crate) async fn publish(app: &mut TestApp) {
    app.instance
        .publish
        .run_once(app.clock.now())
        .await
        .unwrap();
}

pub(crate) async fn deliver(app: &mut TestApp) {
    app.instance
        .deliver
        .run_once(app.clock.now())
        .await
        .unwrap();
}

/// Runs the delivering stage until `is_reached`, waiting for its nudges in between.
pub(crate) async fn deliver_until(app: &mut TestApp, is_reached: impl Fn(&TestApp) -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        deliver(app).await;
        if is_reached(app) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "it never came: {:?}",
            deliveries(app)
        );
        app.instance.deliver.rest(app.clock.now()).await;
    }
}

/// Moves the clock to the moment at which the next delivery is due, and says how long that was.
pub(crate) fn step_to_due(app: &TestApp) -> TimeDelta {
    let due = app.texts(
        "select to_char(min(due_at), 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF:00') from rowcall.delivery \
         where state = 'pending' and due_at < 'infinity'",
    );
    let due = chrono::DateTime::parse_from_rfc3339(&due[0]).unwrap();
    let wait = due.to_utc() - app.clock.now();
    app.clock.advance(wait);
    wait
}

/// Asks the API as the administrator, expects success, and gives the answer.
pub(crate) async fn api(app: &TestApp, method: &str, path: &str, body: &Value) -> Value {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    assert!(
        status.is_success(),
        "{method} {path}: {status} {}",
        String::from_utf8_lossy(&bytes)
    );
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

/// The path of the subscription `name` in the API.
pub(crate) fn path_of(app: &TestApp, name: &str) -> String {
    let id = app.texts(&format!(
        "select id from rowcall.subscription where name = '{name}' and state <> 'deleted'"
    ));
    format!("/v1/subscriptions/{}", id[0])
}
