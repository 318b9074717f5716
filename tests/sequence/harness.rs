//! A shop whose subscriptions are numbered, and questions to its API.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use rowcall::{
    auth::{Role, store::key_create},
    config::Limits,
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::{
    app::{ADMIN_KEY, Options, TestApp},
    receiver::Receiver,
};

const ORDERS: &str = "create table public.orders (id integer primary key, \
    region text not null default 'EU', revision integer not null default 1)";

const SALES: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
"#;

/// An instance with the shop and `metadata`.
pub(crate) async fn shop(metadata: &str) -> TestApp {
    let limits = Limits {
        digest_part_items_max: 2,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    app.apply(&format!("{SALES}{metadata}")).await;
    app
}

/// A subscription of all orders that is sent to the path `/hook-<name>` of `receiver`.
pub(crate) fn subscription(receiver: &Receiver, name: &str, more: &str) -> String {
    format!(
        "[subscription.{name}]\nobject_types = [\"sales.order\"]\n\
         sink = {{ kind = \"webhook\", url = \"{}-{name}\", secret = {{ env = \"SIGNING_SECRET\" }} }}\n\
         {more}\n",
        receiver.url()
    )
}

/// Inserts the orders `ids` of a region, each in a transaction of its own.
pub(crate) fn order(app: &TestApp, ids: impl IntoIterator<Item = i64>, region: &str) {
    for id in ids {
        app.sql(&format!(
            "insert into orders values ({id}, '{region}') \
             on conflict (id) do update set revision = orders.revision + 1, region = '{region}'"
        ));
    }
}

/// The id of the latest subscription of this name.
pub(crate) fn id_of(app: &TestApp, name: &str) -> String {
    let ids = app.texts(&format!(
        "select id from rowcall.subscription where name = '{name}' order by id desc"
    ));
    ids[0].clone()
}

/// A new key of a role.
pub(crate) fn key(app: &TestApp, role: Role) -> String {
    key_create(&mut app.connect(), "test", role, app.clock.now())
        .unwrap()
        .expose()
}

/// Asks the API: the status, and the answer as text.
pub(crate) async fn call(
    app: &TestApp,
    key: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, String) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// What became of the numbers of the subscription `name` behind `after`, as the administrator sees
/// it.
pub(crate) async fn since(app: &TestApp, name: &str, after: &str) -> Value {
    let path = format!("/v1/subscriptions/{}/since/{after}", id_of(app, name));
    let (status, text) = call(app, ADMIN_KEY, "GET", &path, &Value::Null).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// `number what` of each item of a page, where what is its state or its tombstone.
pub(crate) fn items(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    let text = |item: &Value| {
        let number: i64 = item["sequence"].as_str().unwrap().parse().unwrap();
        let what = item["tombstone"].as_str().or(item["state"].as_str());
        format!("{number} {}", what.unwrap())
    };
    items.map(text).collect()
}

/// `assigned` and `settled_through` of an answer or of a heartbeat's data.
pub(crate) fn numbers(value: &Value) -> (i64, i64) {
    let number = |name: &str| {
        let text = value[name].as_str().unwrap();
        assert_eq!(text.len(), 20, "{value}");
        text.parse().unwrap()
    };
    (number("assigned"), number("settled_through"))
}
