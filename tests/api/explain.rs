//! Why an event was, or was not, sent: every verdict, through an instance that publishes and sends.

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use chrono::TimeDelta;
use rowcall::{
    auth::{Role, store::key_create},
    stage::Stage as _,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    harness::request,
    support::{
        app::{ADMIN_KEY, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

const ORDERS: &str = "create table public.orders (id integer primary key, \
    region text not null default 'EU', amount numeric(10,2) not null default 0, \
    due timestamptz, card text default '4111111111111111', note text default 'between us')";

const SALES: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
    mask = ["card"]
    exclude = ["note"]
"#;

struct Shop {
    app: TestApp,
    receiver: Receiver,
}

impl Shop {
    /// An instance whose metadata is the object type and `metadata`, in which SINK is the receiver.
    async fn open(metadata: &str) -> Self {
        let receiver = Receiver::start().await;
        let app = TestApp::start(ORDERS).await;
        let shop = Self { app, receiver };
        shop.apply(metadata).await;
        shop
    }

    async fn apply(&self, metadata: &str) {
        let sink = format!(
            "sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
            self.receiver.url()
        );
        let metadata = metadata.replace("SINK", &sink);
        self.app.apply(&format!("{SALES}{metadata}")).await;
    }

    async fn call(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request: Request<Body> = request(key, method, path)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let router = self.app.instance.router.clone();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        // Whatever is answered, it holds nothing of the masked and the excluded column.
        assert!(!text.contains("4111111111111111"), "{text}");
        assert!(!text.contains("between us"), "{text}");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The id of the event of this place, from 0, in the order of publishing.
    fn event(&self, place: usize) -> String {
        let ids = self
            .app
            .texts("select id from rowcall.event order by position");
        ids[place].clone()
    }

    async fn explain_as(&self, key: &str, place: usize, subscription: &str) -> (u16, Value) {
        let event = self.event(place);
        let path = format!("/v1/explain?event={event}&subscription={subscription}");
        self.call(key, "GET", &path, "").await
    }

    async fn explain(&self, place: usize, subscription: &str) -> Value {
        let (status, answer) = self.explain_as(ADMIN_KEY, place, subscription).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn insert(&mut self, values: &str) {
        self.app
            .sql(&format!("insert into orders (id, amount) values {values}"));
        // Constraints go by the time of the change: it is that of the test's clock.
        let now = self.app.clock.now().to_rfc3339();
        self.app.sql(&format!(
            "update rowcall.change c set at = '{now}' from rowcall.source s \
             where not pg_visible_in_snapshot(c.xid, s.snapshot)"
        ));
        self.app.run_until_idle().await;
    }

    async fn wait(&mut self, step: TimeDelta) {
        self.app.advance(step).await;
    }

    async fn set_state(&self, name: &str, method: &str, body: &str) {
        let id = &self.app.texts(&format!(
            "select id from rowcall.subscription where name = '{name}' and state <> 'deleted'"
        ))[0];
        let path = format!("/v1/subscriptions/{id}");
        let (status, answer) = self.call(ADMIN_KEY, method, &path, body).await;
        assert!(matches!(status, 200 | 204), "{answer}");
    }
}

/// `step outcome` of each step.
fn steps(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = answer["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| format!("{} {}", text(&step["step"]), text(&step["outcome"])))
        .collect()
}

/// The values of the step of this name.
fn values<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let steps = answer["steps"].as_array().unwrap();
    &steps.iter().find(|step| step["step"] == name).unwrap()["values"]
}

/// Asserts the verdict, the steps, and that the summary is a sentence that says all of `says`.
#[track_caller]
fn is(answer: &Value, verdict: &str, expected: &[&str], says: &[&str]) {
    assert_eq!(answer["verdict"], verdict, "{answer:#}");
    assert_eq!(steps(answer), expected, "{answer:#}");
    let summary = answer["summary"].as_str().unwrap();
    assert!(summary.ends_with('.') && summary.starts_with(char::is_uppercase));
    for part in says {
        assert!(summary.contains(part), "`{part}` is not in: {summary}");
    }
}

const ALL: &str = "[subscription.all]\nobject_types = [\"sales.order\"]\nmode = \"synchronous\"\n\
    retry = { schedule = [\"0s\", \"5s\", \"1h\"] }\nSINK\n";

#[tokio::test]
async fn what_was_delivered_and_what_is_tried_again_and_what_waits_behind_it() {
    let mut shop = Shop::open(ALL).await;
    shop.receiver.script([Answer::Status(503)]);
    shop.insert("(1, 10)").await;
    shop.app.sql("update orders set amount = 11");
    shop.app.run_until_idle().await;
    // WHEN the first attempt has failed THEN it is pending, and the next event waits behind it
    let first = shop.explain(0, "all").await;
    is(
        &first,
        "pending",
        &["event_types passed", "delivery pending", "attempts retry"],
        &[
            "Not sent yet: it is tried again at 2026-03-02T09:00:0",
            "503",
        ],
    );
    assert_eq!(values(&first, "attempts")["attempts"][0]["status"], 503);
    assert!(values(&first, "delivery").get("behind").is_none());
    assert_eq!(
        first["event"],
        json!({"id": shop.event(0), "type": "sales.order.created", "object_type": "sales.order",
            "subject": "1", "time": first["event"]["time"]})
    );
    assert!(first["event"]["time"].is_string());
    assert_eq!(first["subscription"]["name"], "all");
    assert_eq!(first["subscription"]["state"], "active");
    assert_eq!(first["subscription"]["mode"], "synchronous");
    let second = shop.explain(1, "all").await;
    let behind = format!(
        "waits behind the earlier event {} of its object",
        shop.event(0)
    );
    is(
        &second,
        "pending",
        &["event_types passed", "delivery pending"],
        &[&behind, "which"].map(|part| {
            if part == "which" {
                "tried again at"
            } else {
                part
            }
        }),
    );
    assert_eq!(
        values(&second, "delivery")["behind"],
        values(&first, "delivery")["delivery"]
    );
    // WHEN it has gone well THEN it is delivered, after two attempts
    shop.wait(TimeDelta::seconds(10)).await;
    let first = shop.explain(0, "all").await;
    is(
        &first,
        "delivered",
        &[
            "event_types passed",
            "delivery delivered",
            "attempts delivered",
        ],
        &["Sent: the receiver acknowledged it at 2026-03-02T09:00:10Z, after 2 attempts."],
    );
    assert_eq!(
        values(&first, "attempts")["attempts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // and the subscription may be named by its id
    let id = first["subscription"]["id"].as_str().unwrap();
    assert_eq!(shop.explain(0, id).await, first);
    assert_eq!(shop.explain(1, "all").await["verdict"], "delivered");
}

#[tokio::test]
async fn what_is_being_sent_and_what_waits_for_it_in_another_mode() {
    let later = "[subscription.later]\nobject_types = [\"sales.order\"]\n\
        mode = \"synchronous_delayed\"\nSINK\n";
    let mut shop = Shop::open(&format!("{ALL}{later}")).await;
    let gate = Gate::default();
    shop.receiver.script([Answer::Held(gate.clone(), 200)]);
    // WHEN the synchronous subscriber has not answered yet
    shop.app.sql("insert into orders (id) values (1)");
    let now = shop.app.clock.now();
    shop.app.instance.publish.run_once(now).await.unwrap();
    let sending = shop.explain(0, "all").await;
    is(
        &sending,
        "pending",
        &["event_types passed", "delivery sending"],
        &["an instance is sending it", "2026-03-02T09:00:10Z"],
    );
    is(
        &shop.explain(0, "later").await,
        "pending",
        &["event_types passed", "delivery sending"],
        &[
            "an instance has it, and sends it when the event's synchronous deliveries are tried, to `all`; should",
            "2026-03-02T09:00:10Z",
        ],
    );
    // WHEN it has THEN both are told
    gate.open();
    shop.app.run_until_idle().await;
    for name in ["all", "later"] {
        assert_eq!(
            shop.explain(0, name).await["verdict"],
            "delivered",
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_kept_for_a_paused_subscription_and_cancelled_when_it_is_deleted() {
    let mut shop = Shop::open(ALL).await;
    shop.set_state("all", "PATCH", r#"{"state": "paused"}"#)
        .await;
    shop.insert("(1, 10)").await;
    let parked = shop.explain(0, "all").await;
    is(
        &parked,
        "pending",
        &["event_types passed", "delivery pending"],
        &["its subscription is paused, and it is kept until that is resumed"],
    );
    // WHEN it is taken out of the folder THEN nothing of it is sent any more
    shop.wait(TimeDelta::minutes(5)).await;
    shop.apply("").await;
    is(
        &shop.explain(0, "all").await,
        "cancelled",
        &["event_types passed", "delivery pending"],
        &["its subscription is deleted, and it is about to be cancelled"],
    );
    // and when that is written down it is found by name and by id
    let now = shop.app.clock.now();
    shop.app.instance.upkeep.run_once(now).await.unwrap();
    let id = parked["subscription"]["id"].as_str().unwrap();
    for name in ["all", id] {
        let answer = shop.explain(0, name).await;
        is(
            &answer,
            "cancelled",
            &["event_types passed", "delivery cancelled"],
            &["Not sent: its subscription was deleted at 2026-03-02T09:05:00Z"],
        );
        assert_eq!(answer["subscription"]["state"], "deleted");
        let passed = answer["steps"][0]["detail"].as_str().unwrap();
        assert!(
            passed.contains("the catalogue has been changed"),
            "{passed}"
        );
    }
    // WHEN another takes the name THEN that is meant
    shop.wait(TimeDelta::minutes(5)).await;
    shop.apply(ALL).await;
    let other = shop.explain(0, "all").await;
    assert_eq!(other["subscription"]["state"], "active");
    assert_eq!(other["verdict"], "not matched");
    assert_eq!(shop.explain(0, id).await["verdict"], "cancelled");
}

#[tokio::test]
async fn what_was_given_up() {
    let mut shop = Shop::open(ALL).await;
    shop.receiver.script([500, 500, 503].map(Answer::Status));
    shop.insert("(1, 10)").await;
    shop.wait(TimeDelta::seconds(10)).await;
    shop.wait(TimeDelta::hours(2)).await;
    let dead = shop.explain(0, "all").await;
    is(
        &dead,
        "dead",
        &["event_types passed", "delivery dead", "attempts dead"],
        &[
            "Not taken: it was given up at 2026-03-02T11:00:10Z after 3 attempts",
            "503",
        ],
    );
}

const EVENING: &str = r#"
    [constraint.evening]
    applies_to = { object_types = ["sales.order"] }
    window = { from = "18:00", to = "20:00" }
    otherwise = "hold"
    hold_at_most = "2h"
"#;

#[tokio::test]
async fn what_a_constraint_held_and_withdrew_and_suppressed() {
    let large = r#"
        [constraint.large]
        applies_to = { event_types = ["sales.order.created"] }
        condition = "row.amount >= 1000"
        otherwise = "suppress"
    "#;
    let mut shop = Shop::open(&format!("{ALL}{large}{EVENING}")).await;
    shop.insert("(1, 1000), (2, 10.50)").await;
    // THEN the large one is held until the evening
    let held = shop.explain(0, "all").await;
    is(
        &held,
        "held",
        &["event_types passed", "constraint hold", "delivery held"],
        &[
            "the constraint `evening` (version 1) holds it: the window",
            "is closed; it opens at 2026-03-02T18:00:00Z",
            "it is withdrawn at 2026-03-02T11:00:00Z",
        ],
    );
    // and the small one is never sent, with what was looked at
    let suppressed = shop.explain(1, "all").await;
    is(
        &suppressed,
        "suppressed",
        &[
            "event_types passed",
            "constraint suppress",
            "delivery suppressed",
        ],
        &["Never sent: the constraint `large` (version 1) forbade it: the condition is false."],
    );
    let looked_at = values(&suppressed, "constraint");
    assert_eq!(looked_at["row.amount"].to_string(), "10.5");
    assert_eq!(looked_at["constraint"], "large");
    assert_eq!(looked_at["version"], 1);
    assert_eq!(looked_at["moment"], "event");
    assert_eq!(looked_at["judged_at"], "2026-03-02T09:00:00Z");
    // WHEN the two hours are over THEN it is withdrawn
    shop.wait(TimeDelta::hours(2)).await;
    is(
        &shop.explain(0, "all").await,
        "withdrawn",
        &[
            "event_types passed",
            "constraint hold",
            "constraint withdraw",
            "delivery withdrawn",
        ],
        &["Never sent: the constraint `evening` (version 1) held it for as long as it may"],
    );
}

fn batch(more: &str) -> String {
    format!(
        "[subscription.digest]\nobject_types = [\"sales.order\"]\nmode = \"batch\"\n\
         schedule = {{ max_wait = \"1h\", max_items = 10 }}\nretry = {{ schedule = [\"0s\"] }}\n\
         SINK\n{more}\n"
    )
}

#[tokio::test]
async fn what_is_in_a_digest_until_that_is_sent() {
    let mut shop = Shop::open(&batch("")).await;
    shop.insert("(1, 10)").await;
    let open = shop.explain(0, "digest").await;
    is(
        &open,
        "in digest",
        &["event_types passed", "digest open"],
        &[
            "it is in the open digest, which has 1 event and closes at 2026-03-02T10:00:00Z or \
             when it has 10 events",
        ],
    );
    assert_eq!(values(&open, "digest")["count"], 1);
    // WHEN its window closes THEN it was sent as a part of the digest
    shop.wait(TimeDelta::hours(1)).await;
    is(
        &shop.explain(0, "digest").await,
        "delivered",
        &[
            "event_types passed",
            "digest condensed",
            "delivery delivered",
            "attempts delivered",
        ],
        &[
            "acknowledged it at 2026-03-02T10:00:00Z",
            "the digest 1, closed at",
            "by max_wait",
        ],
    );
    // WHEN the next one is refused THEN its events are dead with it
    shop.receiver.script([Answer::Status(500)]);
    shop.insert("(2, 10)").await;
    shop.wait(TimeDelta::hours(1)).await;
    is(
        &shop.explain(1, "digest").await,
        "dead",
        &[
            "event_types passed",
            "digest condensed",
            "delivery dead",
            "attempts dead",
        ],
        &["after 1 attempt", "500", "the digest 2"],
    );
    // WHEN the subscription is deleted THEN what is open is cancelled
    shop.insert("(3, 10)").await;
    shop.apply("").await;
    shop.wait(TimeDelta::hours(1)).await;
    is(
        &shop.explain(2, "digest").await,
        "cancelled",
        &["event_types passed", "digest cancelled"],
        &["its subscription was deleted before the digest"],
    );
}

#[tokio::test]
async fn what_came_to_nothing_in_a_digest() {
    let fold = "condense = \"net_effect\"\nfilter = \"row.amount >= 100\"\n";
    let mut shop = Shop::open(&batch(fold)).await;
    // WHEN one order comes and goes, one stays small, one grows, and one grows and gets another key
    shop.insert("(1, 500), (2, 10), (3, 10), (4, 10)").await;
    shop.app.sql(
        "delete from orders where id = 1; update orders set amount = 200 where id = 3; \
         update orders set id = 5, amount = 200 where id = 4",
    );
    shop.app.run_until_idle().await;
    shop.wait(TimeDelta::hours(1)).await;
    let told = [
        "condensed",
        "condensed",
        "delivered",
        "delivered",
        "condensed",
        "delivered",
    ];
    for (place, verdict) in told.into_iter().chain(["delivered"]).enumerate() {
        let answer = shop.explain(place, "digest").await;
        assert_eq!(answer["verdict"], verdict, "{place}: {answer:#}");
    }
    is(
        &shop.explain(0, "digest").await,
        "condensed",
        &["event_types passed", "digest condensed"],
        &[
            "the digest 1",
            "does not tell of it: what was done to its object was undone, or the filter",
        ],
    );
    // WHEN all of a digest comes to nothing THEN that is so of each
    shop.insert("(6, 10)").await;
    shop.wait(TimeDelta::hours(1)).await;
    let answer = shop.explain(7, "digest").await;
    assert_eq!(answer["verdict"], "condensed", "{answer:#}");
    assert_eq!(steps(&answer)[1], "digest empty");
}

#[tokio::test]
async fn what_was_held_before_it_was_gathered() {
    let held = EVENING.replace("2h", "72h");
    let mut shop = Shop::open(&batch(&held)).await;
    shop.insert("(1, 10)").await;
    shop.wait(TimeDelta::hours(9)).await;
    let steps = ["event_types passed", "constraint hold", "digest open"];
    is(
        &shop.explain(0, "digest").await,
        "in digest",
        &steps,
        &["it is in the open digest"],
    );
}

#[tokio::test]
async fn a_digest_that_a_constraint_holds_is_held_with_its_events() {
    let constraint = EVENING.replace("otherwise", "judge = \"at_send\"\notherwise");
    let mut shop = Shop::open(&batch(&constraint)).await;
    shop.insert("(1, 10)").await;
    shop.wait(TimeDelta::hours(1)).await;
    is(
        &shop.explain(0, "digest").await,
        "held",
        &[
            "event_types passed",
            "digest condensed",
            "constraint hold",
            "delivery held",
        ],
        &["Not sent yet: the constraint `evening`", "the digest 1"],
    );
}

#[tokio::test]
async fn what_was_not_for_the_subscription() {
    let metadata = r#"
        [subscription.deleted-orders]
        event_types = ["sales.order.deleted"]
        mode = "synchronous"
        SINK
        [subscription.order-seven]
        object_types = ["sales.order"]
        object_keys = [{ id = 7 }, { id = 8 }]
        mode = "synchronous"
        SINK
        [subscription.large]
        object_types = ["sales.order"]
        filter = "row.amount >= 1000 && row.region == 'EU'"
        mode = "synchronous"
        SINK
        [subscription.due]
        object_types = ["sales.order"]
        filter = "row.due > timestamp('2026-01-01T00:00:00Z')"
        mode = "synchronous"
        SINK
    "#;
    let mut shop = Shop::open(metadata).await;
    shop.insert("(1, 10.50)").await;
    assert!(shop.receiver.received().is_empty());
    let unasked = shop.explain(0, "deleted-orders").await;
    is(
        &unasked,
        "not matched",
        &["event_types failed"],
        &[
            "Never sent: the subscription does not ask for `sales.order.created`: it asks for \
           event_types `sales.order.deleted`.",
        ],
    );
    assert_eq!(values(&unasked, "event_types")["catalogue_version"], 1);
    assert_eq!(values(&unasked, "event_types")["catalogue_version_now"], 1);
    let keys = shop.explain(0, "order-seven").await;
    is(
        &keys,
        "not matched",
        &["event_types passed", "object_keys failed"],
        &["Never sent: its object is none of the 2 that `object_keys` names."],
    );
    assert_eq!(values(&keys, "object_keys")["key"], "1");
    let large = shop.explain(0, "large").await;
    is(
        &large,
        "not matched",
        &["event_types passed", "object_keys passed", "filter failed"],
        &["the filter `row.amount >= 1000 && row.region == 'EU'` is false."],
    );
    assert_eq!(
        values(&large, "filter"),
        &json!({"row.amount": 10.5, "row.region": "EU"})
    );
    is(
        &shop.explain(0, "due").await,
        "not matched",
        &["event_types passed", "object_keys passed", "filter failed"],
        &["fails, which counts as false: `>` met a null."],
    );
}

#[tokio::test]
async fn what_was_before_its_time_and_what_was_changed_since() {
    let deaf = "[subscription.deaf]\nevent_types = [\"sales.order.*\"]\nfilter = \"row.amount < 0\"\n\
        mode = \"synchronous\"\nSINK\n";
    let mut shop = Shop::open(deaf).await;
    shop.insert("(1, 10)").await;
    shop.wait(TimeDelta::minutes(1)).await;
    // WHEN one is registered later THEN that is why
    let all = deaf
        .replace("deaf", "all")
        .replace("filter = \"row.amount < 0\"\n", "");
    shop.apply(&format!("{deaf}{all}")).await;
    is(
        &shop.explain(0, "all").await,
        "not matched",
        &["event_types passed", "object_keys passed", "filter passed"],
        &[
            "Never sent: the subscription was registered at 2026-03-02T09:01:00Z, after the event \
           was published at 2026-03-02T09:00:00Z.",
        ],
    );
    // WHEN the filter is another one now THEN it says that it would match, and what was changed
    let open = deaf.replace("filter = \"row.amount < 0\"\n", "");
    shop.apply(&format!("{open}{all}")).await;
    let answer = shop.explain(0, "deaf").await;
    is(
        &answer,
        "not matched",
        &["event_types passed", "object_keys passed", "filter passed"],
        &[
            "by what is in force now it would be, since the catalogue has been changed, at \
             2026-03-02T09:01:00Z last (it was at version 1, and is at 3), and the subscription \
             has been changed, at 2026-03-02T09:01:00Z last",
        ],
    );
    // WHEN it is deleted before the next event THEN that is why
    shop.wait(TimeDelta::minutes(1)).await;
    shop.apply(&all).await;
    shop.wait(TimeDelta::minutes(1)).await;
    shop.insert("(2, 10)").await;
    is(
        &shop.explain(1, "deaf").await,
        "not matched",
        &["event_types passed", "object_keys passed", "filter passed"],
        &["the subscription was deleted at 2026-03-02T09:02:00Z, before the event was published"],
    );
}

#[tokio::test]
async fn what_the_catalogue_does_not_have_any_more_is_for_nobody() {
    let campaign = "[event_type.\"sales.campaign.opened\"]\nschema = {}\n";
    let all = "[subscription.all]\nevent_types = [\"sales.*\"]\nfilter = \"event.subject == 's'\"\n\
        mode = \"synchronous\"\nSINK\n";
    let mut shop = Shop::open(&format!("{campaign}{all}")).await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/a", "subject": "t",
        "type": "sales.campaign.opened", "data": 1});
    let body = event.to_string();
    for id in ["1", "2"] {
        let body = body.replace("\"id\":\"1\"", &format!("\"id\":\"{id}\""));
        let (status, answer) = shop.call(ADMIN_KEY, "POST", "/v1/events", &body).await;
        assert_eq!(status, 202, "{answer}");
        if id == "1" {
            shop.app.run_until_idle().await;
            shop.wait(TimeDelta::minutes(1)).await;
        }
    }
    is(
        &shop.explain(0, "all").await,
        "not matched",
        &["event_types passed", "object_keys passed", "filter failed"],
        &["Never sent: the filter `event.subject == 's'` is false."],
    );
    // WHEN the type is taken out between accepting and publishing
    shop.apply(all).await;
    shop.app.run_until_idle().await;
    let gone = shop.explain(1, "all").await;
    is(
        &gone,
        "not matched",
        &["event_types failed"],
        &["the catalogue has no event type `sales.campaign.opened`, so nobody is told of it."],
    );
    assert_eq!(gone["event"]["object_type"], Value::Null);
    assert_eq!(gone["event"]["subject"], "t");
}

#[tokio::test]
async fn a_subscriber_asks_about_its_own_subscriptions_and_sees_values_of_its_own_events() {
    let mut shop = Shop::open(ALL).await;
    let role = |role| {
        let mut connection = shop.app.connect();
        let key = key_create(&mut connection, "test", role, shop.app.clock.now());
        key.unwrap().expose()
    };
    let (own, other) = (role(Role::Subscriber), role(Role::Subscriber));
    let (publisher, viewer) = (role(Role::Publisher), role(Role::Viewer));
    // GIVEN a subscription of a subscriber for large orders, and a digest of very large ones
    for (name, amount, mode) in [("large", 100, "synchronous"), ("huge", 1_000, "batch")] {
        let mut spec = json!({
            "name": name, "object_types": ["sales.order"], "mode": mode,
            "filter": format!("row.amount >= {amount}"),
            "sink": {"kind": "webhook", "url": shop.receiver.url()},
        });
        if mode == "batch" {
            spec["schedule"] = json!({"max_wait": "1h"});
        }
        let path = "/v1/subscriptions";
        let (status, answer) = shop.call(&own, "POST", path, &spec.to_string()).await;
        assert_eq!(status, 201, "{answer}");
    }
    shop.insert("(1, 10), (2, 100)").await;
    // THEN it is told why it did not get the small one, and nothing of its values
    let (status, small) = shop.explain_as(&own, 0, "large").await;
    assert_eq!(status, 200);
    is(
        &small,
        "not matched",
        &["event_types passed", "object_keys passed", "filter failed"],
        &["the filter `row.amount >= 100` is false"],
    );
    assert_eq!(small["event"]["subject"], Value::Null);
    assert_eq!(values(&small, "filter"), &json!({}));
    // and of one that it got by another subscription, it is told them
    let (_, other_way) = shop.explain_as(&own, 1, "huge").await;
    assert_eq!(other_way["verdict"], "not matched");
    assert_eq!(other_way["event"]["subject"], "2");
    assert_eq!(values(&other_way, "filter"), &json!({"row.amount": 100.0}));
    // and of what is not its own there is nothing
    for (key, name) in [(&own, "all"), (&other, "large"), (&own, "nobody")] {
        let (status, answer) = shop.explain_as(key, 0, name).await;
        assert_eq!(status, 404, "{answer}");
        assert_eq!(answer["detail"], format!("there is no subscription {name}"));
    }
    let (status, seen) = shop.explain_as(&viewer, 0, "large").await;
    assert_eq!(status, 200);
    assert_eq!(values(&seen, "filter"), &json!({"row.amount": 10.0}));
    let (status, answer) = shop.explain_as(&publisher, 0, "large").await;
    assert_eq!(
        (status, &answer["type"]),
        (403, &json!("/problems/forbidden"))
    );
    // and what waits for others' deliveries does not name them
    let spec = json!({
        "name": "later", "object_types": ["sales.order"], "mode": "synchronous_delayed",
        "sink": {"kind": "webhook", "url": shop.receiver.url()},
    });
    let (status, answer) = shop
        .call(&own, "POST", "/v1/subscriptions", &spec.to_string())
        .await;
    assert_eq!(status, 201, "{answer}");
    let gate = Gate::default();
    let answers = [gate.clone(), gate.clone()].map(|gate| Answer::Held(gate, 200));
    shop.receiver.script(answers);
    shop.app.sql("insert into orders (id) values (3)");
    let now = shop.app.clock.now();
    shop.app.instance.publish.run_once(now).await.unwrap();
    let (_, waiting) = shop.explain_as(&own, 2, "later").await;
    is(
        &waiting,
        "pending",
        &["event_types passed", "delivery sending"],
        &["sends it when the event's synchronous deliveries are tried; should"],
    );
    assert!(!waiting.to_string().contains("`all`"), "{waiting}");
    gate.open();
    shop.app.run_until_idle().await;
}

#[tokio::test]
async fn the_events_of_a_digest_are_its_owners_to_read() {
    let mut shop = Shop::open("").await;
    let key = {
        let mut connection = shop.app.connect();
        let key = key_create(
            &mut connection,
            "test",
            Role::Subscriber,
            shop.app.clock.now(),
        );
        key.unwrap().expose()
    };
    let spec = json!({
        "name": "digest", "object_types": ["sales.order"], "mode": "batch",
        "schedule": {"max_wait": "1h"},
        "sink": {"kind": "webhook", "url": shop.receiver.url()},
    });
    let (status, answer) = shop
        .call(&key, "POST", "/v1/subscriptions", &spec.to_string())
        .await;
    assert_eq!(status, 201, "{answer}");
    shop.insert("(1, 10)").await;
    let (status, event) = shop
        .call(&key, "GET", &format!("/v1/events/{}", shop.event(0)), "")
        .await;
    assert_eq!((status, &event["subject"]), (200, &json!("1")));
    let (_, listed) = shop.call(&key, "GET", "/v1/events", "").await;
    assert_eq!(listed["items"], json!([event]));
    let (_, explained) = shop.explain_as(&key, 0, "digest").await;
    assert_eq!(explained["event"]["subject"], "1");
    assert_eq!(explained["verdict"], "in digest");
}

#[tokio::test]
async fn a_question_that_is_none_is_answered_with_what_is_wrong() {
    let mut shop = Shop::open(ALL).await;
    shop.insert("(1, 10)").await;
    let event = shop.event(0);
    let unknown = "019c132c-0000-7000-8000-000000000009";
    for (query, status, slug, says) in [
        ("", 400, "invalid-parameter", "?event: it is missing"),
        (
            "?event=1&subscription=all",
            400,
            "invalid-parameter",
            "?event: the id of an event",
        ),
        (
            &format!("?event={event}"),
            400,
            "invalid-parameter",
            "?subscription: it is missing",
        ),
        (
            &format!("?event={event}&subscription="),
            400,
            "invalid-parameter",
            "it is missing",
        ),
        (
            &format!("?event={event}&subscripton=all"),
            400,
            "invalid-parameter",
            "did you mean `subscription`?",
        ),
        (
            &format!("?event={unknown}&subscription=all"),
            404,
            "not-found",
            "there is no event",
        ),
        (
            &format!("?event={event}&subscription={unknown}"),
            404,
            "not-found",
            "there is no subscription",
        ),
    ] {
        let path = format!("/v1/explain{query}");
        let (found, answer) = shop.call(ADMIN_KEY, "GET", &path, "").await;
        assert_eq!(found, status, "{query}: {answer}");
        assert_eq!(answer["type"], format!("/problems/{slug}"), "{query}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{query}: {detail}");
    }
    let (status, _) = shop.call("", "GET", "/v1/explain", "").await;
    assert_eq!(status, 401);
}
