//! What the tests of starts share: a table of orders, registering by the API, and a mirror that a
//! receiver would keep.

use std::collections::BTreeMap;

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use chrono::TimeDelta;
use rowcall::{
    config::Limits,
    stage::{Progress, Stage as _},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{
    app::{ADMIN_KEY, Options, SIGNING_SECRET, TestApp},
    receiver::{Received, Receiver},
};

pub(crate) const ORDERS: &str =
    "create table public.orders (id integer primary key, status text, amount numeric);";

const SHOP: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
"#;

/// An instance with the shop, after `sql` was run in it, with a clock that is past the database's.
pub(crate) async fn shop(sql: &str) -> TestApp {
    shop_with(sql, "", Options::default()).await
}

/// Runs until everything is sent: also what was put off, because its receiver had its share of the
/// memory, and what a dropped instance had claimed.
pub(crate) async fn send_all(app: &mut TestApp) {
    let left =
        "select count(*) from rowcall.delivery where state in ('pending', 'held', 'sending')";
    for _ in 0..100 {
        app.advance(TimeDelta::seconds(30)).await;
        if app.count(left) == 0 {
            return;
        }
    }
    panic!("{} deliveries are left", app.count(left));
}

/// The same with further metadata.
pub(crate) async fn shop_with(sql: &str, metadata: &str, options: Options) -> TestApp {
    let options = Options {
        // Nothing is put off because a new receiver has its share of the memory.
        limits: Limits {
            deliveries_in_memory_max: 2_400,
            ..options.limits
        },
        ..options
    };
    let mut app = TestApp::start_with(&format!("{ORDERS}{sql}"), options).await;
    app.apply(&format!("{SHOP}{metadata}")).await;
    // A start at a time must not be in the future, and rows are stamped by the database's clock.
    app.clock.advance(TimeDelta::days(36_500));
    // From here on it takes a look to see that there is a start.
    publish_all(&mut app).await;
    app
}

/// Asks the API as the administrator; gives the status and the answer.
pub(crate) async fn ask(app: &TestApp, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// A subscription of orders that starts with what exists; `more` replaces and adds fields.
pub(crate) fn mirror(receiver: &Receiver, more: &Value) -> Value {
    let mut body = json!({
        "name": "mirror", "object_types": ["sales.order"], "mode": "synchronous",
        "start": "existing",
        "sink": {"kind": "webhook", "url": receiver.url(), "secret": SIGNING_SECRET},
    });
    let more = more.as_object().unwrap().clone();
    let fields = body.as_object_mut().unwrap();
    fields.extend(more);
    fields.retain(|_, value| !value.is_null());
    body
}

/// Registers a subscription, and gives its id.
pub(crate) async fn register(app: &TestApp, body: &Value) -> String {
    let (status, answer) = ask(app, "POST", "/v1/subscriptions", body).await;
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// What is shown of a subscription's start.
pub(crate) async fn start_of(app: &TestApp, id: &str) -> Value {
    let path = format!("/v1/subscriptions/{id}");
    let (status, answer) = ask(app, "GET", &path, &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["start"].clone()
}

/// `state done told` of it.
pub(crate) async fn progress(app: &TestApp, id: &str) -> String {
    let start = start_of(app, id).await;
    format!(
        "{} {} {}",
        start["state"].as_str().unwrap(),
        start["done"],
        start["told"]
    )
}

/// One publishing transaction, and no more.
pub(crate) async fn publish(app: &mut TestApp) -> Progress {
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap()
}

/// Publishes until nothing is left.
pub(crate) async fn publish_all(app: &mut TestApp) {
    while publish(app).await == Progress::Worked {}
}

/// The CloudEvent of a request.
pub(crate) fn event(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// `op key` of each request, in order of receipt.
pub(crate) fn told(receiver: &Receiver) -> Vec<String> {
    let received = receiver.received();
    let events = received.iter().map(event);
    let told = events.map(|event| {
        let op = event["data"]["op"].as_str().unwrap();
        format!("{op} {}", event["subject"].as_str().unwrap_or("-"))
    });
    told.collect()
}

/// The same in the order of the alphabet: objects are told in no order among each other.
pub(crate) fn told_sorted(receiver: &Receiver) -> Vec<String> {
    let mut told = told(receiver);
    told.sort();
    told
}

/// A copy of the table as a receiver keeps it: what is there is written, what is gone is removed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Mirror(pub(crate) BTreeMap<String, Value>);

impl Mirror {
    /// Of all requests, in the order of their receipt.
    pub(crate) fn of(receiver: &Receiver) -> Self {
        let mut mirror = Self::default();
        for request in receiver.received() {
            mirror.take(&event(&request));
        }
        mirror
    }

    pub(crate) fn take(&mut self, event: &Value) {
        let data = &event["data"];
        let key = |name: &str| data[name].to_string();
        if !data["previous_key"].is_null() {
            self.0.remove(&key("previous_key"));
        }
        if data["after"].is_null() {
            self.0.remove(&key("key"));
        } else {
            self.0.insert(key("key"), data["after"].clone());
        }
    }

    /// The table as it is, with the columns of its key.
    pub(crate) fn of_table(app: &TestApp, table: &str, key: &[&str]) -> Self {
        let columns: Vec<String> = key
            .iter()
            .map(|column| format!("'{column}', t.\"{column}\""))
            .collect();
        let rows = app.texts(&format!(
            "select json_build_array(json_build_object({}), row_to_json(t)) from {table} t",
            columns.join(", ")
        ));
        let row = |text: &String| {
            let row: Value = serde_json::from_str(text).unwrap();
            (row[0].to_string(), row[1].clone())
        };
        Self(rows.iter().map(row).collect())
    }
}
