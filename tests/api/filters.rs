//! The filter of a subscription, and selections that are probably not meant.

use serde_json::{Value, json};

use crate::{
    harness::{Api, order_subscription},
    support::postgres::execute,
};

fn filtered(name: &str, filter: &str) -> Value {
    let mut body = order_subscription(name);
    body["filter"] = json!(filter);
    body
}

#[tokio::test]
async fn a_filter_is_judged_on_every_type_that_is_matched() {
    let api = Api::start();
    let made = api
        .post("/v1/subscriptions", &filtered("erp", "row.status == 'new'"))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json["filter"], "row.status == 'new'");
    assert_eq!(made.json.get("warnings"), None);

    // WHEN the same filter is for another object type, too
    let mut both = filtered("both", "row.status == 'new'");
    both["object_types"] = json!(["sales.part"]);
    let refused = api.post("/v1/subscriptions", &both).await;

    // THEN the one that lacks the column is named
    refused.is_problem(
        422,
        "invalid-body",
        &["line 1, column 5: on `sales.part`: ", "`status`"],
    );
    assert_eq!(refused.pointers(), ["/filter"]);
}

#[tokio::test]
async fn a_filter_that_is_wrong_is_told_with_its_place_and_nothing_is_registered() {
    let api = Api::start();
    let revision = api.stored().revision;
    execute(
        &api.database.url,
        "update rowcall.catalog_item set definition = '{\"table\": \"public.orders\", \
         \"key\": [\"id\"], \"exclude\": [\"note\"], \"mask\": [\"card\"]}' \
         where name = 'sales.order'; \
         alter table public.orders add note text, add card text, add amount numeric(8,2)",
    );
    let deep = format!("{}true{}", "(".repeat(100), ")".repeat(100));
    let long = format!("row.status == '{}'", "x".repeat(5_000));
    for (filter, says) in [
        ("row.statu == 'x'", "line 1, column 5: "),
        ("row.statu == 'x'", "`status`"),
        ("row.note == 'x'", "line 1, column 5: "),
        ("row.card == 'x'", "line 1, column 5: "),
        ("row.status == 'x' ||\n  row.id == 'y'", "line 2, column "),
        ("row.amount > 'x'", "line 1, column "),
        ("row.amount", "line 1, column "),
        ("row.amount >", "line 1, column "),
        (&deep, "line 1, column "),
        (&long, "line 1, column "),
        ("", "line 1, column "),
        ("1 > 2", "never true"),
    ] {
        let refused = api.post("/v1/subscriptions", &filtered("x", filter)).await;
        refused.is_problem(422, "invalid-body", &[says]);
        assert_eq!(
            refused.pointers(),
            ["/filter"],
            "{filter}: {}",
            refused.text
        );
        // What is hidden is named by its author alone, and never by what is known here.
        assert!(!refused.text.contains("\"note\"") || filter.contains("note"));
    }
    assert_eq!(api.stored().revision, revision);
}

#[tokio::test]
async fn a_patch_is_judged_as_a_registration_is() {
    let api = Api::start();
    let made = api
        .post("/v1/subscriptions", &filtered("erp", "row.status == 'new'"))
        .await;
    let path = format!("/v1/subscriptions/{}", made.json["id"].as_str().unwrap());

    let refused = api.patch(&path, &json!({"event_types": ["sales.*"]})).await;
    refused.is_problem(422, "invalid-body", &["on `sales.part`"]);
    let always = api.patch(&path, &json!({"filter": "true"})).await;
    assert_eq!(
        (always.status, &always.json["filter"]),
        (200, &json!("true"))
    );
    assert_eq!(always.json["warnings"][0]["pointer"], "/filter");
    let none = api.patch(&path, &json!({"filter": null})).await;
    assert_eq!((none.status, none.json.get("filter")), (200, None));
}

#[tokio::test]
async fn everything_by_mistake_is_a_warning() {
    let api = Api::start();
    let mut body = order_subscription("all");
    for (event_types, object_types, pointer) in [
        (
            json!(["sales.order.created", "*"]),
            json!([]),
            "/event_types/1",
        ),
        (json!([]), json!(["*"]), "/object_types/0"),
    ] {
        body["name"] = json!(format!("all{}", pointer.replace('/', ".")));
        body["event_types"] = event_types;
        body["object_types"] = object_types;
        let made = api.post("/v1/subscriptions", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.json["warnings"][0]["pointer"], pointer);
        let message = made.json["warnings"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("`*` matches everything"), "{message}");
    }
    body["name"] = json!("all-filtered");
    body["filter"] = json!("op == 'delete'");
    let made = api.post("/v1/subscriptions", &body).await;
    assert_eq!(
        (made.status, made.json.get("warnings")),
        (201, None),
        "{}",
        made.text
    );
}

#[tokio::test]
async fn a_net_effect_is_of_rows() {
    let api = Api::start();
    let started = json!({"name": "sales.order.planned", "schema": {"type": "object"}});
    assert_eq!(api.post("/v1/event-types", &started).await.status, 201);
    let mut body = order_subscription("digest");
    body["mode"] = json!("batch");
    body["condense"] = json!("net_effect");
    body["schedule"] = json!({"max_items": 10});

    let refused = api.post("/v1/subscriptions", &body).await;
    refused.is_problem(422, "invalid-body", &["`sales.order.planned`"]);
    assert_eq!(refused.pointers(), ["/condense"]);

    body["event_types"] = json!(["sales.order.updated"]);
    let made = api.post("/v1/subscriptions", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn a_table_that_is_gone_is_told() {
    let api = Api::start();
    execute(&api.database.url, "drop table public.orders");
    let refused = api
        .post("/v1/subscriptions", &filtered("erp", "row.status == 'new'"))
        .await;
    refused.is_problem(
        422,
        "invalid-body",
        &["the table of `sales.order` is not there"],
    );
}
