//! A shop with subscriptions of every kind, and its account.

use diesel::Connection as _;
use rowcall::account::{Entry, Pairs, Report, draw_up};

use crate::support::{
    app::{Options, TestApp},
    receiver::Receiver,
};

const ORDERS: &str = "create table public.orders (id integer primary key, \
    region text not null default 'EU', amount integer not null default 0)";

const METADATA: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]

    [constraint.large]
    applies_to = { labels = { desk = "large" } }
    condition = "row.amount >= 1000"
    otherwise = "suppress"

    [constraint.office]
    applies_to = { labels = { desk = "office" } }
    window = { days = "mon-fri", from = "12:00", to = "18:00", time_zone = "UTC" }
    otherwise = "hold"
    hold_at_most = "72h"

    [subscription.mirror]
    object_types = ["sales.order"]
    mode = "synchronous"
    SINK

    [subscription.large]
    object_types = ["sales.order"]
    mode = "synchronous"
    labels = { desk = "large" }
    SINK

    [subscription.office]
    event_types = ["sales.order.created"]
    mode = "synchronous_delayed"
    labels = { desk = "office" }
    SINK

    [subscription.europe]
    event_types = ["sales.*"]
    filter = "row.region == 'EU'"
    mode = "synchronous"
    SINK

    [subscription.netted]
    object_types = ["sales.order"]
    mode = "batch"
    condense = "net_effect"
    schedule = { max_wait = "1h" }
    SINK
"#;

/// An instance with the shop, all of whose subscriptions are told to `receiver`.
pub(crate) async fn shop(receiver: &Receiver, options: Options) -> TestApp {
    let app = TestApp::start_with(ORDERS, options).await;
    app.apply(&metadata(receiver, "")).await;
    app
}

/// The shop's metadata and `more` of it, in which `SINK` stands for the sink.
pub(crate) fn metadata(receiver: &Receiver, more: &str) -> String {
    let sink = format!(
        "sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    format!("{METADATA}{more}").replace("SINK", &sink)
}

/// The account as it is.
pub(crate) fn report(app: &TestApp) -> Report {
    app.connect()
        .transaction(|connection| draw_up(connection, 60, app.clock.now()))
        .unwrap_or_else(|error: rowcall::db::DbError| panic!("{error:?}"))
}

/// The pairs of the subscription `name`.
pub(crate) fn pairs(report: &Report, name: &str) -> Pairs {
    let is_meant = |entry: &&Entry| entry.name == name;
    report.subscriptions.iter().find(is_meant).unwrap().pairs
}
