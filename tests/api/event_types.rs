//! `/v1/event-types`.

use axum::body::Body;
use rowcall::{auth::Role, catalog::model::Catalog};
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Api, order_subscription, request},
    support::postgres::execute,
};

const RELEASED: &str = "/v1/event-types/sales.order.released";

fn released() -> Value {
    json!({
        "name": "sales.order.released",
        "description": "It may be shipped",
        "object_type": "sales.order",
        "on": ["update"],
        "when": "old.status != 'released' && new.status == 'released'",
    })
}

fn started() -> Value {
    json!({
        "name": "sales.campaign.started",
        "schema": {"type": "object", "required": ["budget"]},
    })
}

async fn put(api: &Api, path: &str, body: &Value) -> crate::harness::Answer {
    api.call(ADMIN_KEY, "PUT", path, &body.to_string()).await
}

fn versions(api: &Api) -> i64 {
    Catalog::load(&mut api.database.connect()).unwrap().version
}

#[tokio::test]
async fn an_event_type_is_made_shown_replaced_and_removed_and_each_is_a_version() {
    // GIVEN
    let api = Api::start();
    let revision = api.stored().revision;

    // WHEN one is made
    let path = "/v1/event-types?reason=for%20the%20warehouse";
    let made = api.post(path, &released()).await;

    // THEN it is answered as it is, and runs
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.headers["location"], RELEASED);
    assert_eq!(
        made.json,
        json!({
            "name": "sales.order.released", "standard": false, "state": "active",
            "origin": "api", "version": 2,
            "changed_at": "2026-01-31T08:00:00Z", "author": "bootstrap",
            "reason": "for the warehouse", "description": "It may be shipped",
            "object_type": "sales.order", "on": ["update"],
            "when": "old.status != 'released' && new.status == 'released'",
        })
    );
    assert_eq!(api.stored().revision, revision + 1);
    let catalog = Catalog::load(&mut api.database.connect()).unwrap();
    assert!(catalog.event_types.contains_key("sales.order.released"));
    let of_order: Vec<String> = catalog.event_types_of("sales.order").collect();
    assert_eq!(
        of_order,
        [
            "sales.order.created",
            "sales.order.updated",
            "sales.order.deleted",
            "sales.order.truncated",
            "sales.order.existed",
            "sales.order.released"
        ]
    );
    assert_eq!(api.get(RELEASED).await.json, made.json);

    // WHEN it is replaced
    let mut other = released();
    other["when"] = json!("new.status == 'released'");
    let replaced = put(&api, RELEASED, &other).await;

    // THEN that is a version, and the same again is none
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    assert_eq!(
        (&replaced.json["version"], &replaced.json["when"]),
        (&json!(3), &json!("new.status == 'released'"))
    );
    let again = put(&api, RELEASED, &other).await;
    assert_eq!((again.status, versions(&api)), (200, 3));
    assert_eq!(api.stored().revision, revision + 2);

    // WHEN it is removed
    let removed = api.call(ADMIN_KEY, "DELETE", RELEASED, "").await;

    // THEN
    assert_eq!((removed.status, versions(&api)), (204, 4));
    api.get(RELEASED)
        .await
        .is_problem(404, "not-found", &["there is no event type"]);
    let gone = api.call(ADMIN_KEY, "DELETE", RELEASED, "").await;
    gone.is_problem(404, "not-found", &["sales.order.released"]);

    // AND PUT makes it again
    let made = put(&api, RELEASED, &released()).await;
    assert_eq!((made.status, versions(&api)), (201, 5));
}

#[tokio::test]
async fn the_list_has_the_standard_ones_too_and_pages() {
    let api = Api::start();
    api.post("/v1/event-types", &released()).await;
    api.post("/v1/event-types", &started()).await;
    let (mut path, mut names) = ("/v1/event-types?limit=4".to_owned(), Vec::new());
    loop {
        let page = api.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for item in page.json["items"].as_array().unwrap() {
            let standard = item["standard"].as_bool().unwrap();
            names.push((item["name"].as_str().unwrap().to_owned(), standard));
        }
        match page.json["next"].as_str() {
            Some(next) => path = format!("/v1/event-types?limit=4&cursor={next}"),
            None => break,
        }
    }
    let expected = [
        ("rowcall.capture.gap", true),
        ("rowcall.subscription.disabled", true),
        ("sales.campaign.started", false),
        ("sales.order.created", true),
        ("sales.order.deleted", true),
        ("sales.order.existed", true),
        ("sales.order.released", false),
        ("sales.order.truncated", true),
        ("sales.order.updated", true),
        ("sales.part.created", true),
        ("sales.part.deleted", true),
        ("sales.part.existed", true),
        ("sales.part.truncated", true),
        ("sales.part.updated", true),
    ];
    let expected = expected.map(|(name, standard)| (name.to_owned(), standard));
    assert_eq!(names, expected);
    let shown = api.get("/v1/event-types/sales.order.created").await.json;
    assert_eq!(
        shown,
        json!({"name": "sales.order.created", "standard": true, "state": "active",
               "object_type": "sales.order", "on": ["create"]})
    );
    let shown = api.get("/v1/event-types/sales.order.truncated").await.json;
    assert_eq!(shown["on"], json!(["truncate"]));
    api.get("/v1/event-types?cursor=%21").await.is_problem(
        400,
        "invalid-parameter",
        &["no cursor"],
    );
}

#[tokio::test]
async fn each_event_type_has_the_schema_of_its_data() {
    let api = Api::start();
    api.post("/v1/event-types", &released()).await;
    api.post("/v1/event-types", &started()).await;
    let schema = api.get(&format!("{RELEASED}/schema")).await;
    assert_eq!(schema.headers["content-type"], "application/schema+json");
    let validator = jsonschema::validator_for(&schema.json).unwrap();
    let row = json!({"id": 1, "status": "released"});
    let data = json!({"object_type": "sales.order", "key": {"id": 1}, "op": "update",
        "before": row, "after": row, "changed": [], "actor": null, "xid": "7"});
    assert!(validator.is_valid(&data));
    assert!(!validator.is_valid(&json!({"id": 1})));
    let schema = api.get("/v1/event-types/sales.order.deleted/schema").await;
    assert_eq!(schema.json["properties"]["op"], json!({"enum": ["delete"]}));
    let existed = "/v1/event-types/sales.order.existed";
    let shown = api.get(existed).await.json;
    assert!(shown.get("on").is_none(), "{shown}");
    let schema = api.get(&format!("{existed}/schema")).await.json;
    assert_eq!(
        [
            &schema["properties"]["op"],
            &schema["properties"]["before"],
            &schema["properties"]["after"]
        ],
        [
            &json!({"enum": ["snapshot"]}),
            &json!({"type": "null"}),
            &json!({"$ref": "#/$defs/row"})
        ]
    );
    let schema = api
        .get("/v1/event-types/sales.order.truncated/schema")
        .await;
    let validator = jsonschema::validator_for(&schema.json).unwrap();
    let mut data = json!({"object_type": "sales.order", "key": null, "op": "truncate",
        "before": null, "after": null, "changed": [], "actor": null, "xid": "7"});
    assert!(validator.is_valid(&data));
    data["key"] = json!({"id": 1});
    assert!(!validator.is_valid(&data));
    let schema = api
        .get("/v1/event-types/sales.campaign.started/schema")
        .await;
    assert_eq!(schema.json, started()["schema"]);
    let schema = api.get("/v1/event-types/rowcall.capture.gap/schema").await;
    assert_eq!(schema.json["properties"]["op"], json!({"const": "gap"}));
    api.get("/v1/event-types/sales.none.x/schema")
        .await
        .is_problem(404, "not-found", &["sales.none.x"]);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_pointer_and_nothing_is_changed() {
    let api = Api::start();
    api.post("/v1/event-types", &released()).await;
    let revision = api.stored().revision;
    let deep = format!("{}true{}", "(".repeat(100), ")".repeat(100));
    let long = format!("new.status == '{}'", "x".repeat(5_000));
    for (changes, pointer, says) in [
        (
            json!({"name": "sales.order.Released"}),
            "/name",
            "is not a name",
        ),
        (json!({"name": "sales.released"}), "/name", "is too short"),
        (
            json!({"name": "slaes.order.x"}),
            "/name",
            "did you mean `sales`?",
        ),
        (json!({"name": 7}), "/name", "a text is expected"),
        (json!({"name": null}), "/name", "a text is expected"),
        (
            json!({"object_type": "sales.ordr"}),
            "/object_type",
            "did you mean `sales.order`?",
        ),
        (json!({"object_type": null}), "/on", "is about rows"),
        (json!({"on": []}), "/on", "at least one of"),
        (json!({"on": ["update", "update"]}), "/on/1", "named twice"),
        (
            json!({"on": ["truncate"]}),
            "/on/0",
            "every one is the event `<object type>.truncated`",
        ),
        (
            json!({"on": ["updated"]}),
            "/on/0",
            "did you mean `update`?",
        ),
        (json!({"on": "update"}), "/on", "expected a sequence"),
        (
            json!({"schema": {"type": "object"}}),
            "/schema",
            "leave `schema` out",
        ),
        (json!({"wen": "x"}), "/wen", "did you mean `when`?"),
        (
            json!({"when": "new.statu == 'x'"}),
            "/when",
            "line 1, column 5: ",
        ),
        (json!({"when": "new.statu == 'x'"}), "/when", "`status`"),
        (
            json!({"when": "new.status == 7"}),
            "/when",
            "line 1, column ",
        ),
        (json!({"when": "new.status"}), "/when", "line 1, column "),
        (
            json!({"when": "new.status == 'x' &&"}),
            "/when",
            "line 1, column ",
        ),
        (
            json!({"when": "subscription.mode == 'batch'"}),
            "/when",
            "line 1, column ",
        ),
        (json!({"when": ""}), "/when", "line 1, column "),
        (json!({"when": deep}), "/when", "line 1, column "),
        (json!({"when": long}), "/when", "line 1, column "),
        (json!({"when": "false"}), "/when", "never true"),
        (json!({"when": true}), "/when", "expected a string"),
    ] {
        // WHEN
        let mut body = released();
        body["name"] = json!("sales.order.shipped");
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = api.post("/v1/event-types", &body).await;

        // THEN
        refused.is_problem(422, "invalid-body", &[says]);
        assert!(
            refused.pointers().contains(&pointer),
            "{changes}: {}",
            refused.text
        );
    }
    assert_eq!((api.stored().revision, versions(&api)), (revision, 2));
}

#[tokio::test]
async fn a_schema_that_is_none_is_told_where() {
    let api = Api::start();
    for (schema, pointer, says) in [
        (json!({"type": "objct"}), "/schema/type", "no JSON Schema"),
        (json!("{}"), "/schema", "a JSON Schema is a table"),
        (
            json!({"$ref": "https://example.com/x"}),
            "/schema/$ref",
            "nothing is fetched",
        ),
        (json!(null), "/schema", "needs a `schema`"),
    ] {
        let mut body = started();
        body["schema"] = schema;
        let refused = api.post("/v1/event-types", &body).await;
        refused.is_problem(422, "invalid-body", &[says]);
        assert_eq!(refused.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn names_that_are_taken_or_stand_by_themselves_are_refused() {
    let api = Api::start();
    api.post("/v1/event-types", &released()).await;
    api.post("/v1/event-types", &released())
        .await
        .is_problem(409, "name-taken", &["/name", "PUT"]);
    for name in ["sales.order.created", "rowcall.capture.gap"] {
        let path = format!("/v1/event-types/{name}");
        put(&api, &path, &json!({"object_type": "sales.order"}))
            .await
            .is_problem(409, "standard", &[name]);
        api.call(ADMIN_KEY, "DELETE", &path, "")
            .await
            .is_problem(409, "standard", &[name]);
    }
    put(
        &api,
        RELEASED,
        &json!({"name": "sales.order.x", "object_type": "sales.order"}),
    )
    .await
    .is_problem(422, "invalid-body", &["/name", "the name stays"]);
}

#[tokio::test]
async fn the_roles_read_and_only_an_admin_writes() {
    let api = Api::start();
    let body = released().to_string();
    for role in [Role::Publisher, Role::Subscriber, Role::Viewer] {
        let key = api.key(role);
        let list = api.call(&key, "GET", "/v1/event-types", "").await;
        assert_eq!(list.status, 200, "{role}");
        let schema = "/v1/event-types/sales.order.created/schema";
        assert_eq!(
            api.call(&key, "GET", schema, "").await.status,
            200,
            "{role}"
        );
        for (method, path) in [
            ("POST", "/v1/event-types"),
            ("PUT", RELEASED),
            ("DELETE", RELEASED),
        ] {
            let refused = api.call(&key, method, path, &body).await;
            refused.is_problem(403, "forbidden", &["a key of the role admin"]);
        }
    }
    let anonymous = api.call("", "GET", "/v1/event-types", "").await;
    anonymous.is_problem(401, "missing-key", &[]);
    let admin = api.key(Role::Admin);
    let made = api.call(&admin, "POST", "/v1/event-types", &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json["author"], admin[4..16]);
}

#[tokio::test]
async fn what_is_kept_in_the_folder_can_be_changed_and_stays_the_folders() {
    let api = Api::start();
    execute(
        &api.database.url,
        "insert into rowcall.catalog_item (kind, name, origin, definition, version_from) values \
         ('event_type', 'sales.order.released', 'folder', '{\"object_type\": \"sales.order\"}', 1)",
    );
    let changed = put(&api, RELEASED, &released()).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(
        (&changed.json["origin"], versions(&api)),
        (&json!("folder"), 2)
    );
    let warning = changed.json["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("of the metadata folder"), "{warning}");
    let removed = api.call(ADMIN_KEY, "DELETE", RELEASED, "").await;
    assert_eq!((removed.status, versions(&api)), (204, 3));
}

#[tokio::test]
async fn what_somebody_names_is_not_removed_and_what_does_not_fit_is_told() {
    // GIVEN a subscription and a constraint that name an event type
    let api = Api::start();
    api.post("/v1/event-types", &released()).await;
    let mut subscription = order_subscription("erp");
    subscription["event_types"] = json!(["sales.order.released"]);
    subscription["filter"] = json!("new.status == 'released'");
    assert_eq!(
        api.post("/v1/subscriptions", &subscription).await.status,
        201
    );
    let constraint = json!({"name": "calm", "applies_to": {"event_types": ["sales.order.released"]},
        "rate": "10/h", "otherwise": "suppress"});
    assert_eq!(api.post("/v1/constraints", &constraint).await.status, 201);

    // WHEN it is removed THEN both are named
    let refused = api.call(ADMIN_KEY, "DELETE", RELEASED, "").await;
    refused.is_problem(
        409,
        "in-use",
        &["the subscription `erp`", "the constraint `calm`"],
    );
    assert_eq!(api.get(RELEASED).await.status, 200);

    // WHEN another event type comes under a pattern whose filter can't be judged on it
    subscription["name"] = json!("all");
    subscription["event_types"] = json!(["sales.order.*"]);
    assert_eq!(
        api.post("/v1/subscriptions", &subscription).await.status,
        201
    );
    let shipped = json!({"name": "sales.order.shipped", "schema": {"type": "object"}});
    let made = api.post("/v1/event-types", &shipped).await;

    // THEN that is a warning
    assert_eq!(made.status, 201, "{}", made.text);
    let warning = made.json["warnings"][0]["message"].as_str().unwrap();
    assert!(
        warning.starts_with(
            "the subscription `all` is not told of `sales.order.shipped`, on which it can't be \
             judged (its filter: line 1, column 1: "
        ),
        "{warning}"
    );
    assert_eq!(made.json["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_post_that_is_sent_twice_makes_one() {
    let api = Api::start();
    let post = |body: Value| {
        let request = request(ADMIN_KEY, "POST", "/v1/event-types")
            .header("Idempotency-Key", "k1")
            .body(Body::from(body.to_string()))
            .unwrap();
        api.send(request)
    };
    let first = post(released()).await;
    let again = post(released()).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text);
    assert_eq!((&first.text, versions(&api)), (&again.text, 2));
    post(started())
        .await
        .is_problem(422, "idempotency-key-reused", &[]);
    api.call(ADMIN_KEY, "DELETE", RELEASED, "").await;
    post(released()).await.is_problem(404, "not-found", &[]);
}

#[tokio::test]
async fn a_reason_is_one_short_line() {
    let api = Api::start();
    for reason in ["a%0Ab".to_owned(), "x".repeat(1_001)] {
        let path = format!("/v1/event-types?reason={reason}");
        api.post(&path, &released())
            .await
            .is_problem(400, "invalid-parameter", &["?reason"]);
    }
    let always = {
        let mut body = released();
        body["when"] = json!("true");
        body
    };
    let made = api.post("/v1/event-types", &always).await;
    assert_eq!(
        made.json["warnings"][0]["pointer"], "/when",
        "{}",
        made.text
    );
    assert_eq!(api.get(RELEASED).await.json.get("warnings"), None);
}
