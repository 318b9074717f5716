//! Registering subscriptions: what is made, and what is refused.

use diesel::{
    RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Text},
};
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Api, order_subscription},
    support::postgres::execute,
};

#[derive(diesel::QueryableByName)]
struct Stored {
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    sequences: i64,
    #[diesel(sql_type = Array<Text>)]
    object_key_texts: Vec<String>,
}

fn stored(api: &Api) -> Stored {
    sql_query(
        "select (select revision from rowcall.registry) as revision, \
             (select count(*) from rowcall.subscription_sequence) as sequences, \
             coalesce((select object_key_texts from rowcall.subscription \
                 order by id desc limit 1), '{}') as object_key_texts",
    )
    .get_result(&mut api.database.connect())
    .unwrap()
}

#[tokio::test]
async fn a_registration_is_answered_whole_with_its_secret_once() {
    let api = Api::start();
    let answer = api
        .post("/v1/subscriptions", &order_subscription("erp-mirror"))
        .await;

    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json["id"].as_str().unwrap();
    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(answer.headers["location"], path.as_str());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json["name"], "erp-mirror");
    assert_eq!(answer.json["state"], "active");
    assert_eq!(answer.json["origin"], "api");
    assert_eq!(answer.json["created_at"], "2026-01-31T08:00:00Z");
    assert_eq!(answer.json["event_types"], json!(["sales.order.*"]));
    assert_eq!(answer.json["sink"]["url"], "https://erp.example.com/hooks");
    assert_eq!(answer.json["retry"]["schedule"][1], "5s");
    assert!(
        answer.json["secret"]
            .as_str()
            .unwrap()
            .starts_with("whsec_")
    );

    let shown = api.get(&path).await;
    assert_eq!(shown.status, 200);
    let mut without_secret = answer.json.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.json, without_secret);

    let stored = stored(&api);
    assert_eq!((stored.revision, stored.sequences), (1, 1));
}

#[tokio::test]
async fn a_name_is_unique_until_its_subscription_is_deleted() {
    let api = Api::start();
    let id = api.registered(ADMIN_KEY, "erp").await;
    let again = api
        .post("/v1/subscriptions", &order_subscription("erp"))
        .await;
    again.is_problem(409, "name-taken", &["`erp`", "choose another", "/name"]);

    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(api.call(ADMIN_KEY, "DELETE", &path, "").await.status, 204);
    api.get(&path).await.is_problem(404, "not-found", &[&id]);
    api.call(ADMIN_KEY, "DELETE", &path, "")
        .await
        .is_problem(404, "not-found", &[&id]);
    api.registered(ADMIN_KEY, "erp").await;
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let api = Api::start();
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(api.registered(ADMIN_KEY, name).await);
        api.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let first = api.get("/v1/subscriptions?limit=2").await;
    let items = first.json["items"].as_array().unwrap();
    assert_eq!(
        items.iter().map(|item| &item["id"]).collect::<Vec<_>>(),
        [&ids[0], &ids[1]]
    );
    let next = first.json["next"].as_str().unwrap();
    let second = api
        .get(&format!("/v1/subscriptions?limit=2&cursor={next}"))
        .await;
    assert_eq!(second.json["items"][0]["id"], ids[2].as_str());
    assert_eq!(second.json["next"], Value::Null);
}

#[tokio::test]
async fn object_keys_are_kept_as_events_spell_them() {
    let api = Api::start();
    let mut body = order_subscription("parts");
    body["event_types"] = json!([]);
    body["object_types"] = json!(["sales.part"]);
    // numeric(8,2) prints 7 as 7.00 and "1.5" as 1.50.
    body["object_keys"] = json!([{"code": "a/b", "lot": 7}, {"lot": "1.5", "code": "x"}]);
    let answer = api.post("/v1/subscriptions", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(stored(&api).object_key_texts, ["a%2Fb/7.00", "x/1.50"]);
}

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
    assert_eq!(stored(&api).sequences, 0);
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
    assert_eq!(stored(&api).sequences, 0);
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

/// Type, the value as a caller writes it, and the same value as a row may hold it.
const SPELLINGS: [(&str, &str, &str); 14] = [
    ("bigint", "9007199254740993", "9007199254740993"),
    ("integer", "\"42\"", "42"),
    ("numeric", "1.50", "1.50"),
    ("numeric(12,3)", "1.5", "1.500"),
    ("double precision", "0.1", "0.1"),
    ("text", "\"Zürich/1\"", "Zürich/1"),
    ("character(5)", "\"ab\"", "ab"),
    (
        "uuid",
        "\"019C132C-0000-7000-8000-000000000001\"",
        "019c132c-0000-7000-8000-000000000001",
    ),
    ("boolean", "\"yes\"", "true"),
    ("date", "\"31 Jan 2026\"", "2026-01-31"),
    (
        "timestamptz",
        "\"2026-01-31 09:00+01\"",
        "2026-01-31 08:00:00+00",
    ),
    ("timestamp", "\"2026-01-31 09:00\"", "2026-01-31 09:00:00"),
    ("interval", "\"26 hours\"", "26:00:00"),
    ("bytea", "\"\\\\x00ff\"", "\\x00ff"),
];

#[derive(diesel::QueryableByName)]
struct Image {
    #[diesel(sql_type = Text)]
    image: String,
}

#[tokio::test]
async fn key_texts_are_those_of_captured_rows_for_each_type() {
    use rowcall::catalog::object_key::key_text_push;
    use serde_json::value::RawValue;
    let api = Api::start();
    for (index, (key_type, asked, held)) in SPELLINGS.into_iter().enumerate() {
        // GIVEN a table whose key has the type, and a row as the triggers' session prints it
        execute(
            &api.database.url,
            &format!(
                "create table public.t{index} (k {key_type} primary key); \
                 insert into public.t{index} values ('{held}'); \
                 insert into rowcall.catalog_item (kind, name, origin, definition, version_from) \
                     values ('object_type', 'sales.t{index}', 'api', \
                         '{{\"table\": \"public.t{index}\", \"key\": [\"k\"]}}', 1)"
            ),
        );
        let mut connection = api.database.connect();
        sql_query(
            "select set_config('timezone', 'UTC', false), \
                 set_config('intervalstyle', 'iso_8601', false)",
        )
        .execute(&mut connection)
        .unwrap();
        let row: Image = sql_query(format!(
            "select (row_to_json(t)->'k')::text as image from public.t{index} t"
        ))
        .get_result(&mut connection)
        .unwrap();
        let mut expected = String::new();
        assert!(key_text_push(
            &mut expected,
            true,
            &RawValue::from_string(row.image).unwrap()
        ));

        // WHEN the key is named by a subscription
        let body = format!(
            "{{\"name\": \"t{index}\", \"object_types\": [\"sales.t{index}\"], \
              \"object_keys\": [{{\"k\": {asked}}}], \"mode\": \"synchronous\", \
              \"sink\": {{\"kind\": \"webhook\", \"url\": \"https://example.com/\"}}}}"
        );
        let answer = api
            .call(ADMIN_KEY, "POST", "/v1/subscriptions", &body)
            .await;
        assert_eq!(answer.status, 201, "{key_type}: {}", answer.text);
        // THEN it is spelled as the row spells it, and shown as it was written
        assert_eq!(stored(&api).object_key_texts, [expected], "{key_type}");
        assert!(
            answer.text.contains(&format!("{{\"k\":{asked}}}")),
            "{}",
            answer.text
        );
        api.clock.advance(chrono::TimeDelta::seconds(1));
    }
}
