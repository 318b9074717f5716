//! A shop whose orders have amounts and regions, and words for what became of their events.

use serde_json::Value;

use crate::support::{
    app::TestApp,
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
    let app = TestApp::start(ORDERS).await;
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
