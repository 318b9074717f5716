//! A shop whose orders have amounts and regions, and words for what became of their events.

use serde_json::Value;

use crate::support::{
    app::{Options, TestApp},
    receiver::{Received, Receiver},
};

pub(crate) const ORDERS: &str = "create table public.orders (id integer primary key, \
    status text not null default 'new', region text not null default 'EU', \
    amount numeric(10,2) not null default 0, card text, due timestamptz)";

pub(crate) const SALES: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
    mask = ["card"]
"#;

/// An instance with the shop and `metadata`, in which `{url}` is the receiver's.
pub(crate) async fn shop(receiver: &Receiver, metadata: &str) -> TestApp {
    shop_at(receiver, metadata, None).await
}

/// The same, known to subscribers under this address.
pub(crate) async fn shop_at(
    receiver: &Receiver,
    metadata: &str,
    public_url: Option<&'static str>,
) -> TestApp {
    let options = Options {
        public_url,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    apply(&app, receiver, metadata).await;
    app
}

pub(crate) async fn apply(app: &TestApp, receiver: &Receiver, metadata: &str) {
    let sink = format!(
        "sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    let metadata = metadata.replace("SINK", &sink);
    app.apply(&format!("{SALES}{metadata}")).await;
}

/// Runs `sql`, with the test's clock as the time of the changes: constraints that are judged at the
/// event go by it.
pub(crate) fn write(app: &TestApp, sql: &str) {
    app.sql(sql);
    let now = app.clock.now().to_rfc3339();
    app.sql(&format!(
        "update rowcall.change c set at = '{now}' from rowcall.source s \
         where not pg_visible_in_snapshot(c.xid, s.snapshot)"
    ));
}

pub(crate) fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// `type subject` of each request, the object type left out.
pub(crate) fn told(receiver: &Receiver) -> Vec<String> {
    let told = |request: &Received| {
        let event = body(request);
        let name = event["type"].as_str().unwrap();
        format!(
            "{} {}",
            name.rsplit('.').next().unwrap(),
            event["subject"].as_str().unwrap()
        )
    };
    receiver.received().iter().map(told).collect()
}

/// `state/attempts` of each delivery of an event, in the order of publishing.
pub(crate) fn states(app: &TestApp) -> Vec<String> {
    app.texts(
        "select state || '/' || attempts from rowcall.delivery where event_id is not null \
         order by position, subscription_id",
    )
}

/// `decision constraint vVERSION moment: reason` of each judgement.
pub(crate) fn judgements(app: &TestApp) -> Vec<String> {
    app.texts(
        "select decision || ' ' || constraint_name || ' ' || moment || ': ' || reason || ' ' || \
             \"values\" from rowcall.judgement order by judged_at, constraint_name, event_id",
    )
}
