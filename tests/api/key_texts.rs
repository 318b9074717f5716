//! Object keys of subscriptions, spelled as captured rows spell them.

use diesel::{RunQueryDsl as _, sql_query, sql_types::Text};
use serde_json::json;

use crate::{
    harness::{ADMIN_KEY, Api, order_subscription},
    support::postgres::execute,
};

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
    assert_eq!(api.stored().object_key_texts, ["a%2Fb/7.00", "x/1.50"]);
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
        assert_eq!(api.stored().object_key_texts, [expected], "{key_type}");
        assert!(
            answer.text.contains(&format!("{{\"k\":{asked}}}")),
            "{}",
            answer.text
        );
        api.clock.advance(chrono::TimeDelta::seconds(1));
    }
}
