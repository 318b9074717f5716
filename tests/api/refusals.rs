//! Registrations that are refused: what is wrong, where, and what to do.

use serde_json::{Value, json};

use crate::harness::{Api, order_subscription};

#[tokio::test]
async fn a_key_value_that_its_column_cannot_hold_is_refused() {
    let api = Api::start();
    let mut body = order_subscription("parts");
    body["event_types"] = json!([]);
    body["object_types"] = json!(["sales.part"]);
    for (key, column) in [
        (json!({"code": "toolong", "lot": 1}), "code"),
        (json!({"code": "x", "lot": "seven"}), "lot"),
        (json!({"code": "x", "lot": 1.555}), "lot"),
        (json!({"code": "x", "lot": 12_345_678}), "lot"),
    ] {
        body["object_keys"] = json!([{"code": "x", "lot": 1}, key]);
        let answer = api.post("/v1/subscriptions", &body).await;
        answer.is_problem(422, "invalid-body", &["the value is no", "column's type"]);
        assert_eq!(answer.pointers(), [format!("/object_keys/1/{column}")]);
    }
    assert_eq!(api.stored().sequences, 0);
}

/// What is wrong with a registration, where, and what the answer says to do.
#[tokio::test]
async fn each_wrong_field_is_named_with_what_to_do() {
    let api = Api::start();
    let cases: &[(&str, Value, &str, &str)] = &[
        (
            "/event_types",
            json!([]),
            "/event_types",
            "name at least one",
        ),
        (
            "/event_types/0",
            json!("sales.ordr.created"),
            "/event_types/0",
            "did you mean `sales.order.created`?",
        ),
        (
            "/event_types/0",
            json!("sales.zzz.*"),
            "/event_types/0",
            "no event type of the catalogue matches",
        ),
        (
            "/object_types",
            json!(["sales.orders"]),
            "/object_types/0",
            "did you mean `sales.order`?",
        ),
        (
            "/object_keys",
            json!([{"id": 1}]),
            "/object_keys",
            "name exactly one in `object_types`",
        ),
        (
            "/labels",
            json!({"": "x"}),
            "/labels/",
            "a label needs a name",
        ),
        (
            "/labels",
            json!({"a/b": "x".repeat(101)}),
            "/labels/a~1b",
            "at most 100 characters",
        ),
        (
            "/labels",
            json!({"desk": 3}),
            "/labels/desk",
            "expected a string",
        ),
        (
            "/retry",
            json!({"schedule": []}),
            "/retry/schedule",
            "write 1 to 32",
        ),
        (
            "/retry",
            json!({"schedule": vec!["1s"; 33]}),
            "/retry/schedule",
            "33 entries",
        ),
        (
            "/retry",
            json!({"schedule": ["0s", "8days"]}),
            "/retry/schedule/1",
            "the limit of one wait is 7days",
        ),
        (
            "/retry",
            json!({"schedule": ["soon"]}),
            "/retry/schedule",
            "such as `30s`",
        ),
        (
            "/retry",
            json!({"shedule": ["1s"]}),
            "/retry/shedule",
            "did you mean `schedule`?",
        ),
        (
            "/mode",
            json!("synchronus"),
            "/mode",
            "did you mean `synchronous`?",
        ),
        (
            "/ordering",
            json!("keys"),
            "/ordering",
            "did you mean `key`?",
        ),
        (
            "/event_type",
            json!([]),
            "/event_type",
            "did you mean `event_types`?",
        ),
        (
            "/name",
            json!("-x"),
            "/name",
            "starts with a letter or digit",
        ),
        ("/name", json!("x".repeat(101)), "/name", "1 to 100"),
        ("/name", json!(7), "/name", "a text is expected"),
        (
            "/sink/url",
            json!("http://127.0.0.1/"),
            "/sink/url",
            "--allow-nets 127.0.0.0/8",
        ),
        (
            "/sink/url",
            json!("ftp://example.com/"),
            "/sink/url",
            "use https or http",
        ),
        (
            "/sink/url",
            json!("https://u:p@example.com/"),
            "/sink/url",
            "remove it",
        ),
        (
            "/sink/url",
            json!("erp.example.com"),
            "/sink/url",
            "no URL such as",
        ),
        (
            "/sink/kind",
            json!("webhok"),
            "/sink/kind",
            "did you mean `webhook`?",
        ),
        (
            "/sink/urll",
            json!("x"),
            "/sink/urll",
            "did you mean `url`?",
        ),
        (
            "/sink/secret",
            json!("hunter2"),
            "/sink/secret",
            "starts with `whsec_`",
        ),
        (
            "/sink/secret",
            json!("whsec_c2hvcnQ="),
            "/sink/secret",
            "24 to 64 bytes",
        ),
        (
            "/sink/secret",
            json!({"env": "PATH"}),
            "/sink/secret",
            "only the metadata folder",
        ),
        (
            "/sink/secret",
            json!(5),
            "/sink/secret",
            "a text is expected",
        ),
        (
            "/sink",
            json!("https://x"),
            "/sink",
            "an object is expected",
        ),
    ];
    for (at, value, pointer, says) in cases {
        let mut body = order_subscription("erp");
        let (parent, field) = at.rsplit_once('/').unwrap();
        match body.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[0] = value.clone(),
            object => object[field] = value.clone(),
        }
        let answer = api.post("/v1/subscriptions", &body).await;
        answer.is_problem(422, "invalid-body", &[says]);
        assert_eq!(answer.pointers(), [*pointer], "{at}: {}", answer.text);
    }
    for (field, pointer) in [("mode", "/mode"), ("sink", "/sink"), ("name", "/name")] {
        let mut body = order_subscription("erp");
        body.as_object_mut().unwrap().remove(field);
        let answer = api.post("/v1/subscriptions", &body).await;
        answer.is_problem(422, "invalid-body", &["missing"]);
        assert_eq!(answer.pointers(), [pointer]);
    }
    assert_eq!(api.stored().sequences, 0);
}

#[tokio::test]
async fn wrong_object_keys_are_named_one_by_one() {
    let api = Api::start();
    let mut body = order_subscription("erp");
    body["event_types"] = json!([]);
    body["object_types"] = json!(["sales.part"]);
    body["object_keys"] = json!([{"cod": "x", "lot": null}, {"code": {}, "lot": 1}]);
    let answer = api.post("/v1/subscriptions", &body).await;
    answer.is_problem(
        422,
        "invalid-body",
        &[
            "did you mean `code`?",
            "null is no key value",
            "key column `code` is missing",
        ],
    );
    assert_eq!(
        answer.pointers(),
        [
            "/object_keys/0/cod",
            "/object_keys/0/lot",
            "/object_keys/0",
            "/object_keys/1/code"
        ]
    );
    body["event_types"] = json!(["sales.part.created"]);
    let answer = api.post("/v1/subscriptions", &body).await;
    assert_eq!(answer.pointers(), ["/object_keys"]);
}
