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
const SPELLINGS: [(&str, &str, &str); 19] = [
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
    ("public.spied_number", "1.5", "1.500"),
    ("public.spied_again", "\"1.5\"", "1.500"),
    ("public.spied_day", "\"31 Jan 2026\"", "2026-01-31"),
    ("public.spied_mood", "\"good\"", "good"),
    ("int4range", "\"[1,3]\"", "[1,4)"),
];

/// Types whose owner has functions called when a value is checked or cast: by whom, is recorded
/// once the rows are there.
const SPIES: &str = "
    create schema spy;
    create table spy.seen (what text);
    create function spy.sees(what text) returns boolean language plpgsql as $$ begin
        if current_setting('application_name') <> 'the owner' then
            insert into spy.seen values (what);
        end if;
        return true;
    end $$;
    create domain public.spied_number as numeric(12, 3) check (spy.sees('number'));
    create domain public.spied_again as public.spied_number check (spy.sees('again'));
    create domain public.spied_day as date check (spy.sees('day'));
    create type public.mood as enum ('good', 'bad');
    create domain public.spied_mood as public.mood check (spy.sees('mood'));
    create function spy.mood(text) returns public.mood language sql as
        $$ select case when spy.sees('cast') then 'bad'::public.mood end $$;
    create cast (text as public.mood) with function spy.mood(text);";

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
    let owner = "set application_name = 'the owner'";
    execute(&api.database.url, &format!("{owner}; {SPIES}"));
    for (index, (key_type, asked, held)) in SPELLINGS.into_iter().enumerate() {
        // GIVEN a table whose key has the type, and a row as the triggers' session prints it
        execute(
            &api.database.url,
            &format!(
                "{owner}; create table public.t{index} (k {key_type} primary key); \
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

#[tokio::test]
async fn a_key_is_read_without_running_the_functions_of_its_types_owner() {
    let api = Api::start();
    let owner = "set application_name = 'the owner'";
    execute(&api.database.url, &format!("{owner}; {SPIES}"));
    // GIVEN keys of domains, one with a cast to json, and one that has a domain inside
    execute(
        &api.database.url,
        &format!(
            "{owner};
             create function spy.json(public.mood) returns json language sql as
                 $$ select case when spy.sees('json') then '{{}}'::json end $$;
             create cast (public.mood as json) with function spy.json(public.mood);
             create domain public.spied_element as integer check (spy.sees('element'));
             create type public.spied_range as range (subtype = public.spied_element);"
        ),
    );
    let types = ["spied_again", "spied_mood", "spied_range"];
    for key_type in types {
        execute(
            &api.database.url,
            &format!(
                "create table public.of_{key_type} (k public.{key_type} primary key);
                 insert into rowcall.catalog_item (kind, name, origin, definition, version_from) \
                     values ('object_type', 'sales.{key_type}', 'api', \
                         '{{\"table\": \"public.of_{key_type}\", \"key\": [\"k\"]}}', 1)"
            ),
        );
    }
    let register = async |name: &str, key_type: &str, key: serde_json::Value| {
        let mut body = order_subscription(name);
        body["event_types"] = json!([]);
        body["object_types"] = json!([format!("sales.{key_type}")]);
        body["object_keys"] = json!([{"k": key}]);
        api.post("/v1/subscriptions", &body).await
    };
    // WHEN they are named
    for (key_type, key, text) in [
        ("spied_again", json!(1.5), "1.500"),
        ("spied_mood", json!("good"), "good"),
    ] {
        let answer = register(key_type, key_type, key).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(api.stored().object_key_texts, [text]);
        api.clock.advance(chrono::TimeDelta::seconds(1));
    }
    // THEN one that does not fit, or can't be read so, is refused
    let answer = register("a", "spied_mood", json!("neither")).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(
        answer.text.contains("no public.spied_mood,"),
        "{}",
        answer.text
    );
    let answer = register("b", "spied_range", json!("[1,2)")).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(
        answer.text.contains("is made of a domain"),
        "{}",
        answer.text
    );
    // AND no function of the owner was run
    let mut connection = api.database.connect();
    let seen =
        sql_query("select coalesce(string_agg(distinct what, ' '), '') as image from spy.seen")
            .get_result::<Image>(&mut connection)
            .unwrap();
    assert_eq!(seen.image, "");
}
