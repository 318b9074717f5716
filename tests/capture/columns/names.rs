//! Names that need quotes, in every place where a name goes.

use rowcall::stage::Stage as _;
use serde_json::{Value, json};

use crate::support::app::TestApp;

/// Names that a careless program would stumble over.
const NAMES: [&str; 14] = [
    "Mixed Case",
    "a.b",
    "quo\"te",
    "o'clock",
    "back\\slash",
    "größe",
    "日本 語",
    "{{bell}}",
    "$x$",
    "$1",
    "select",
    "%s %I",
    "line\nbreak",
    "old",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: &[&str]) -> String {
    serde_json::to_string(names).unwrap()
}

/// What was published, in its order.
fn bodies(app: &TestApp) -> Vec<Value> {
    app.texts("select body from rowcall.event order by position")
        .iter()
        .map(|body| serde_json::from_str(body).unwrap())
        .collect()
}

#[tokio::test]
async fn columns_of_any_name_may_be_keys_excluded_masked_or_carried() {
    // GIVEN a table whose name is no better than its columns'
    let columns: Vec<String> = NAMES
        .iter()
        .map(|name| format!("{} text not null default 'x'", quoted(name)))
        .collect();
    let (key, rest) = NAMES.split_at(5);
    let (excluded, rest) = rest.split_at(3);
    let (masked, carried) = rest.split_at(3);
    let keys: Vec<String> = key.iter().map(|name| quoted(name)).collect();
    let mut app = TestApp::start(&format!(
        "create schema \"My Schema\"; create table \"My Schema\".\"T \"\"äb's\" ({}, primary key ({}))",
        columns.join(", "),
        keys.join(", ")
    ))
    .await;
    app.apply(
        &format!(
            "[namespace.t]\n[object_type.\"t.row\"]\ntable = 'My Schema.T \"äb''s'\nkey = {}\n\
         exclude = {}\nmask = {}",
            list(key),
            list(excluded),
            list(masked)
        )
        .replace("'My Schema.T \"äb''s'", "\"My Schema.T \\\"äb's\""),
    )
    .await;
    // WHEN
    app.sql(&format!(
        "insert into \"My Schema\".\"T \"\"äb's\" default values; \
         update \"My Schema\".\"T \"\"äb's\" set {} = 'a/b %', {} = 'y', {} = 'y', {} = 'y'",
        quoted(key[1]),
        quoted(excluded[0]),
        quoted(masked[0]),
        quoted(carried[0])
    ));
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    // THEN
    let bodies = bodies(&app);
    assert_eq!(bodies.len(), 2);
    let row = |second: &str, changed: &str| {
        let value = |(place, name): (usize, &&str)| {
            let value = match place {
                1 => second,
                _ if masked.contains(name) => "***",
                _ if *name == carried[0] => changed,
                _ => "x",
            };
            ((*name).to_owned(), json!(value))
        };
        let all = NAMES
            .iter()
            .enumerate()
            .filter(|(_, name)| !excluded.contains(*name));
        Value::Object(all.map(value).collect())
    };
    let keys = |second: &str| {
        let value = |(place, name): (usize, &&str)| {
            (
                (*name).to_owned(),
                json!(if place == 1 { second } else { "x" }),
            )
        };
        Value::Object(key.iter().enumerate().map(value).collect())
    };
    assert_eq!(bodies[0]["subject"], "x/x/x/x/x");
    assert_eq!(bodies[0]["data"]["after"], row("x", "x"));
    assert_eq!(bodies[1]["subject"], "x/a%2Fb%20%25/x/x/x");
    let data = &bodies[1]["data"];
    assert_eq!(
        (&data["key"], &data["previous_key"]),
        (&keys("a/b %"), &keys("x"))
    );
    assert_eq!(
        (&data["before"], &data["after"]),
        (&row("x", "x"), &row("a/b %", "y"))
    );
    assert_eq!(data["changed"], json!([key[1], carried[0]]));
}

#[tokio::test]
async fn keys_of_every_sort_change() {
    // GIVEN a composite key of types whose text needs care
    let mut app = TestApp::start(
        "create type public.mood as enum ('so so', 'go/od');
         create table public.rows (n numeric(10,2), at timestamptz, m mood, f float8, b bytea,
             u uuid, v text, primary key (n, at, m, f, b, u))",
    )
    .await;
    app.apply(
        "[namespace.t]\n[object_type.\"t.row\"]\ntable = \"public.rows\"\n\
         key = [\"n\", \"at\", \"m\", \"f\", \"b\", \"u\"]",
    )
    .await;
    // WHEN it is written by sessions with other settings, and each part of it changes
    let changes = [
        "n = 1.5",
        "at = '2026-03-29 03:00:00+02'",
        "m = 'go/od'",
        "f = '-Infinity'",
        "b = '\\x00'",
        "u = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'",
        "v = 'no key'",
    ];
    app.sql(
        "insert into rows values (1, '2026-01-01Z', 'so so', 0.1, '', \
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x')",
    );
    for change in changes {
        app.sql(&format!(
            "set timezone = 'Asia/Tokyo'; set bytea_output = escape; set extra_float_digits = -3; \
             update rows set {change}"
        ));
    }
    app.sql("delete from rows");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    // THEN each event begins with the key that the one before it ended with
    let bodies = bodies(&app);
    let subjects: Vec<&str> = bodies
        .iter()
        .map(|body| body["subject"].as_str().unwrap())
        .collect();
    assert_eq!(
        subjects[0],
        "1.00/2026-01-01T00%3A00%3A00%2B00%3A00/so%20so/0.1/%5Cx/a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    );
    assert_eq!(
        subjects[6],
        "1.50/2026-03-29T01%3A00%3A00%2B00%3A00/go%2Fod/-Infinity/%5Cx00/\
         a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"
    );
    assert_eq!(subjects[6..], [subjects[6]; 3]);
    let previous = app.texts(
        "select previous_key is not distinct from case when object_key <> lag then lag end \
         from (select position, object_key, previous_key, lag(object_key) over (order by position) \
             as lag from rowcall.event) as e order by position",
    );
    assert_eq!(previous, ["true"; 9]);
}
