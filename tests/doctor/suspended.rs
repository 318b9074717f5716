//! Conditions whose columns go, and come back.

use rowcall::stage::Stage as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    house::{ORDERS, SALES, found, saying, warnings},
    support::{
        app::{ADMIN_KEY, TestApp},
        receiver::Receiver,
    },
};

const BIG: &str = r#"
    [event_type."sales.order.big"]
    object_type = "sales.order"
    when = "row.amount >= 1000.00"
"#;

async fn shop(receiver: &Receiver, metadata: &str) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    let sink = format!(
        "sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    app.apply(&format!("{SALES}{metadata}").replace("SINK", &sink))
        .await;
    app
}

async fn get(app: &TestApp, path: &str) -> Value {
    let request = axum::http::Request::get(path)
        .header("authorization", format!("Bearer {ADMIN_KEY}"))
        .body(axum::body::Body::empty())
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1_000_000).await;
    serde_json::from_slice(&body.unwrap()).unwrap()
}

fn revision(app: &TestApp) -> i64 {
    app.count("select revision from rowcall.registry")
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

fn types(app: &TestApp) -> Vec<String> {
    app.texts("select type from rowcall.event order by position")
}

#[tokio::test]
async fn an_event_type_whose_column_goes_is_suspended_and_active_when_it_is_back() {
    // GIVEN
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, BIG).await;
    app.sql("insert into orders (id, amount) values (1, 5000)");
    app.run_until_idle().await;
    assert_eq!(types(&app), ["sales.order.created", "sales.order.big"]);
    let path = "/v1/event-types/sales.order.big";
    assert_eq!(get(&app, path).await["state"], "active");
    assert!(found(&app, "event-type-suspended").await.is_empty());

    // WHEN the column is dropped, THEN before anybody noticed the condition fails and the standard
    // event is published
    app.sql("alter table orders drop column amount; insert into orders (id) values (2)");
    app.run_until_idle().await;
    assert_eq!(types(&app)[2..], ["sales.order.created"]);

    // WHEN upkeep has looked
    let before = revision(&app);
    let shown = warnings(&mut app).await;
    // THEN everybody says so
    assert!(revision(&app) > before);
    let parts = [
        "`sales.order.big` is suspended",
        "no column `amount`",
        "remedy",
    ];
    assert_eq!(saying(&shown, &parts), 1, "{shown:?}");
    let item = get(&app, path).await;
    assert_eq!(item["state"], "suspended", "{item}");
    assert!(
        item["state_reason"]
            .as_str()
            .unwrap()
            .contains("no column `amount`")
    );
    let list = get(&app, "/v1/event-types").await;
    let states: Vec<(&str, &str)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["name"].as_str().unwrap(),
                item["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(states.contains(&("sales.order.big", "suspended")));
    assert!(states.contains(&("sales.order.created", "active")));
    assert_eq!(found(&app, "event-type-suspended").await.len(), 1);
    app.sql("insert into orders (id) values (3)");
    app.run_until_idle().await;
    assert_eq!(types(&app)[3..], ["sales.order.created"]);

    // WHEN it comes back THEN it is active, without a restart or another apply
    app.sql("alter table orders add column amount numeric(10,2) not null default 0");
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    assert_eq!(get(&app, path).await["state"], "active");
    app.sql("insert into orders (id, amount) values (4, 2000)");
    app.run_until_idle().await;
    assert_eq!(types(&app)[4..], ["sales.order.created", "sales.order.big"]);
    // and nothing is raised as long as nothing changes
    let before = revision(&app);
    upkeep(&mut app).await;
    app.sql("analyze orders");
    app.sql("vacuum orders");
    upkeep(&mut app).await;
    assert_eq!(revision(&app), before);
}

#[tokio::test]
async fn a_column_that_gets_another_type_suspends_or_changes_what_is_meant() {
    // GIVEN
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, BIG).await;
    app.sql("insert into orders (id) values (1)");
    app.run_until_idle().await;
    // WHEN the number becomes a text that is none, before anybody noticed
    app.sql(
        "alter table orders alter column amount drop default, \
             alter column amount type text using 'much'; \
         update orders set amount = 'more'",
    );
    app.run_until_idle().await;
    // THEN the condition fails, and nothing else
    assert_eq!(types(&app)[1..], ["sales.order.updated"]);
    // and then it is suspended: a text is not compared with a number
    let shown = warnings(&mut app).await;
    assert_eq!(
        saying(&shown, &["`sales.order.big` is suspended"]),
        1,
        "{shown:?}"
    );
    // WHEN it is a number again, of another type THEN it is judged by that
    app.sql("alter table orders alter column amount type float8 using 0");
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    app.sql("update orders set amount = 1000.5");
    app.run_until_idle().await;
    assert_eq!(types(&app).last().unwrap(), "sales.order.big");
}

#[tokio::test]
async fn mended_metadata_makes_it_active_and_new_columns_may_be_named_at_once() {
    // GIVEN a condition whose column was renamed
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, BIG).await;
    app.sql("alter table orders rename column amount to total");
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &["`sales.order.big` is suspended"]), 1);
    // WHEN the metadata names it as it is now, and a column that was added a moment ago
    app.sql("alter table orders add column desk text default 'eu'; insert into orders (id, total) values (1, 5000)");
    let mended = BIG.replace(
        "row.amount >= 1000.00",
        "row.total >= 1000.00 && row.desk == 'eu'",
    );
    app.apply(&format!("{SALES}{mended}")).await;
    // THEN without a look of upkeep it is judged
    app.run_until_idle().await;
    assert_eq!(types(&app), ["sales.order.created", "sales.order.big"]);
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_filter_is_suspended_on_the_types_it_does_not_fit() {
    // GIVEN a subscription with a filter on two object types
    let receiver = Receiver::start().await;
    let metadata = r#"
        [object_type."sales.invoice"]
        table = "public.invoices"
        key = ["id"]
        [subscription.big]
        object_types = ["sales.*"]
        filter = "row.amount >= 10"
        mode = "synchronous"
        SINK
    "#;
    let app = TestApp::start(&format!(
        "{ORDERS}; create table invoices (id integer primary key, amount integer)"
    ))
    .await;
    let sink = format!(
        "sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    app.apply(&format!("{SALES}{metadata}").replace("SINK", &sink))
        .await;
    let mut app = app;
    let shown = get(&app, "/v1/subscriptions").await;
    assert_eq!(shown["items"][0].get("suspended"), None);
    // WHEN one of the tables loses the column
    app.sql("alter table invoices drop column amount");
    let warned = warnings(&mut app).await;
    // THEN it is matched on the other alone, and all say so
    let parts = [
        "subscription `big` is suspended on `sales.invoice`",
        "PATCH",
    ];
    assert_eq!(saying(&warned, &parts), 1, "{warned:?}");
    assert_eq!(found(&app, "filter-suspended").await.len(), 1);
    let shown = get(&app, "/v1/subscriptions").await;
    let suspended = &shown["items"][0]["suspended"];
    assert_eq!(suspended[0]["object_type"], "sales.invoice", "{shown}");
    assert!(
        suspended[0]["reason"]
            .as_str()
            .unwrap()
            .contains("`amount`")
    );
    let id = shown["items"][0]["id"].as_str().unwrap();
    let one = get(&app, &format!("/v1/subscriptions/{id}")).await;
    assert_eq!(&one["suspended"], suspended);
    app.sql("insert into orders (id, amount) values (1, 50); insert into invoices values (1)");
    app.run_until_idle().await;
    assert_eq!(
        app.texts(
            "select e.type from rowcall.delivery d join rowcall.event e on e.id = d.event_id"
        ),
        ["sales.order.created"]
    );
    // WHEN the table goes altogether
    app.sql("drop table invoices");
    let warned = warnings(&mut app).await;
    assert_eq!(
        saying(
            &warned,
            &["`big` is suspended on `sales.invoice`", "is not there"]
        ),
        1
    );
}

#[tokio::test]
async fn a_constraint_that_cannot_be_judged_lets_nothing_pass() {
    // GIVEN one that suppresses what may not be told
    let receiver = Receiver::start().await;
    let metadata = r#"
        [constraint.legal]
        applies_to = { event_types = ["sales.order.*"] }
        condition = "row.card == null"
        otherwise = "suppress"
        [subscription.all]
        object_types = ["sales.order"]
        mode = "synchronous"
        SINK
    "#;
    let mut app = shop(&receiver, metadata).await;
    let path = "/v1/constraints/legal";
    assert_eq!(get(&app, path).await["state"], "active");
    app.sql("insert into orders (id) values (1); insert into orders (id, card) values (2, '4711')");
    app.run_until_idle().await;
    let states = "select state from rowcall.delivery order by position";
    assert_eq!(app.texts(states), ["delivered", "suppressed"]);
    // WHEN its column goes, before and after it was noticed
    app.sql("alter table orders drop column card; insert into orders (id) values (3)");
    app.run_until_idle().await;
    let shown = warnings(&mut app).await;
    app.sql("insert into orders (id) values (4)");
    app.run_until_idle().await;
    // THEN nothing passes, and that is told
    assert_eq!(app.texts(states)[2..], ["suppressed", "suppressed"]);
    let parts = [
        "constraint `legal` can't be judged on `sales.order`",
        "no column `card`",
    ];
    assert_eq!(saying(&shown, &parts), 1, "{shown:?}");
    assert_eq!(found(&app, "constraint-suspended").await.len(), 1);
    let item = get(&app, path).await;
    assert_eq!(item["state"], "suspended");
    assert!(
        item["state_reason"]
            .as_str()
            .unwrap()
            .starts_with("on `sales.order`: ")
    );
    let list = get(&app, "/v1/constraints").await;
    assert_eq!(list["items"][0]["state"], "suspended");
    // WHEN it is back THEN what it lets pass is sent
    app.sql("alter table orders add column card text; insert into orders (id) values (5)");
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    app.sql("insert into orders (id) values (6)");
    app.run_until_idle().await;
    assert_eq!(app.texts(states).last().unwrap(), "delivered");
}

#[tokio::test]
async fn a_constraint_of_which_a_part_cannot_be_read_lets_nothing_pass() {
    // GIVEN one whose time zone is none, as after the zone was taken off the system
    let receiver = Receiver::start().await;
    let metadata = r#"
        [constraint.hours]
        applies_to = { event_types = ["sales.order.*"] }
        window = { from = "00:00", to = "24:00", time_zone = "Europe/Berlin" }
        otherwise = "suppress"
        [subscription.all]
        object_types = ["sales.order"]
        mode = "synchronous"
        SINK
    "#;
    let mut app = shop(&receiver, metadata).await;
    app.sql(
        "update rowcall.catalog_item set definition = replace(definition::text, 'Europe/Berlin', \
             'Europe/Atlantis')::json where name = 'hours'; \
         update rowcall.registry set revision = revision + 1; \
         insert into orders (id) values (1)",
    );
    // WHEN
    app.run_until_idle().await;
    // THEN
    assert_eq!(
        app.texts("select state from rowcall.delivery"),
        ["suppressed"]
    );
    let reasons = app.texts("select reason from rowcall.judgement");
    assert!(reasons[0].contains("Europe/Atlantis"), "{reasons:?}");
    let shown = warnings(&mut app).await;
    let parts = [
        "constraint `hours` can't be judged, so nothing",
        "Europe/Atlantis",
    ];
    assert_eq!(saying(&shown, &parts), 1, "{shown:?}");
    assert_eq!(
        get(&app, "/v1/constraints/hours").await["state"],
        "suspended"
    );
}

#[tokio::test]
async fn a_net_effect_digest_tells_nothing_that_its_filter_can_not_be_judged_on() {
    // GIVEN changes that were gathered while the filter fitted
    let receiver = Receiver::start().await;
    let metadata = r#"
        [subscription.folded]
        object_types = ["sales.order"]
        filter = "row.amount >= 10"
        mode = "batch"
        condense = "net_effect"
        schedule = { max_wait = "1h" }
        SINK
    "#;
    let mut app = shop(&receiver, metadata).await;
    app.sql("insert into orders (id, amount) values (1, 5)");
    app.run_until_idle().await;
    // WHEN the column goes before the window closes
    app.sql("alter table orders drop column amount");
    upkeep(&mut app).await;
    app.advance(chrono::TimeDelta::hours(2)).await;
    // THEN it is not told: what the subscriber does not want must not come because of an ALTER
    assert_eq!(receiver.received().len(), 0);
    assert_eq!(
        json!(app.count("select count(*) from rowcall.delivery")),
        json!(0)
    );
}

#[tokio::test]
async fn what_digests_are_grouped_by_is_suspended_and_no_event_is_lost() {
    // GIVEN digests that are grouped by a column
    let receiver = Receiver::start().await;
    let metadata = r#"
        [subscription.by-amount]
        object_types = ["sales.order"]
        mode = "batch"
        schedule = { max_items = 2 }
        group_by = "row.amount"
        SINK
    "#;
    let mut app = shop(&receiver, metadata).await;
    assert!(found(&app, "group-by-suspended").await.is_empty());
    // WHEN the column goes
    app.sql("alter table orders drop column amount");
    let warned = warnings(&mut app).await;
    // THEN all who are asked say so, and of a column that is there nothing is said
    let parts = [
        "`by-amount` is suspended on `sales.order`",
        "no column `amount`",
        "change `group_by` with PATCH",
    ];
    assert_eq!(saying(&warned, &parts), 1, "{warned:?}");
    let told = found(&app, "group-by-suspended").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].severity.as_str(), "warning");
    assert!(found(&app, "filter-suspended").await.is_empty());
    // AND what comes meanwhile is told in the group of null
    app.sql("insert into orders (id) values (1), (2)");
    app.run_until_idle().await;
    app.instance.digest.run_once(app.clock.now()).await.unwrap();
    let told = app.texts(
        "select concat_ws(' ', body::json->'data'->>'group', body::json->'data'->>'count') \
         from rowcall.digest_part",
    );
    assert_eq!(told, ["2"]);
    // WHEN it is back
    app.sql("alter table orders add column amount numeric(10, 2)");
    let warned = warnings(&mut app).await;
    // THEN nobody says so any more
    assert_eq!(saying(&warned, &parts[..1]), 0, "{warned:?}");
    app.run_until_idle().await;
}
