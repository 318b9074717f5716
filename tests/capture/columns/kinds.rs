//! Types: what is captured becomes the row again when Postgres reads it.

use super::{
    rows_of,
    values::{KINDS, Kind, TYPES, WITHOUT_INPUT},
};
use crate::{reading::ByHand, support::app::TestApp};

/// Sessions as they may be set. A value that Postgres does not have is no setting.
const SESSIONS: [&str; 4] = [
    "set timezone = 'Asia/Kathmandu'; set datestyle = 'German'; set intervalstyle = 'sql_standard'; \
     set bytea_output = 'escape'; set extra_float_digits = -15",
    "set timezone = 'America/St_Johns'; set datestyle = 'SQL, DMY'; \
     set intervalstyle = 'postgres_verbose'; set extra_float_digits = 3",
    "set timezone = '+03:30'; set datestyle = 'Postgres, MDY'; set intervalstyle = 'iso_8601'; \
     set extra_float_digits = 0; set lc_monetary = 'C.UTF-8'; set search_path = pg_temp, public; \
     set xmlbinary = hex; set xmloption = document; set standard_conforming_strings = off",
    "set timezone = 'GMT'; set bytea_output = 'escape'; set lc_numeric = 'C.UTF-8'; \
     set lc_time = 'C.UTF-8'; set search_path = ''; set client_encoding = 'LATIN1'; \
     set quote_all_identifiers = on",
];

fn columns() -> Vec<String> {
    let column = |(number, name): (usize, &str)| format!("c{number} {name}");
    KINDS
        .iter()
        .map(|kind| kind.name)
        .enumerate()
        .map(column)
        .collect()
}

/// Row `round + 1` has of each type its value of that round, the last if it has no more.
fn insert(round: usize) -> String {
    let value = |kind: &Kind| {
        let value = kind.values[round.min(kind.values.len() - 1)];
        format!("({value})::{}", kind.name)
    };
    let values: Vec<String> = KINDS.iter().map(value).collect();
    format!(
        "insert into rows select {}, {}",
        round + 1,
        values.join(", ")
    )
}

fn rounds() -> usize {
    KINDS.iter().map(|kind| kind.values.len()).max().unwrap()
}

async fn app() -> TestApp {
    let app = rows_of(&columns(), TYPES, "").await;
    for round in 0..rounds() {
        app.sql(&insert(round));
    }
    // One of nulls.
    app.sql("insert into rows (id) values (0)");
    app
}

/// Columns that are another value when they are made again of what was captured of them.
fn differing(app: &TestApp, columns: impl Iterator<Item = usize>) -> Vec<String> {
    let one = |number: usize| {
        format!(
            "select r.id || ' c{number}: ' || r.c{number}::text || ' is not ' || coalesce(made.v, 'null') \
             from public.rows r, rowcall.change c cross join lateral (select (json_populate_record( \
                 null::public.rows, json_build_object('c{number}', c.after -> 'c{number}'))).c{number}::text \
             ) as made (v) \
             where c.after ->> 'id' = r.id::text and made.v is distinct from r.c{number}::text"
        )
    };
    app.texts(&columns.map(one).collect::<Vec<_>>().join(" union all "))
}

/// Postgres makes no vector of the JSON array that it is written as.
fn is_read_back(kind: &Kind) -> bool {
    !kind.name.ends_with("vector") || kind.name == "tsvector"
}

#[tokio::test]
async fn every_type_of_postgres_is_tried() {
    let app = rows_of(&columns(), TYPES, "").await;
    let untried = app.texts(&format!(
        "select t.typname from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace \
         and t.typtype in ('b', 'r', 'm') and t.typcategory <> 'A' and t.typname <> all ('{{{}}}') \
         and not exists (select from pg_attribute a where a.attrelid = 'rows'::regclass \
             and a.atttypid = t.oid)",
        WITHOUT_INPUT.join(",")
    ));
    assert_eq!(untried, [""; 0]);
}

#[tokio::test]
async fn what_is_captured_is_the_row() {
    // GIVEN values of all types
    let app = app().await;
    let mut hand = ByHand::new(&app, 1_000);
    // THEN each row can be made again of its image, and none is a gap
    hand.read_all();
    assert_eq!(hand.changes.len(), rounds() + 1);
    assert!(
        hand.changes.iter().all(|change| change.op == "c"),
        "{:?}",
        hand.seen()
    );
    let read_back = (0..KINDS.len()).filter(|number| is_read_back(&KINDS[*number]));
    assert_eq!(differing(&app, read_back), [""; 0]);
    // AND a change of each column is found in the images before and after, which differ in it alone
    let mut expected = Vec::new();
    for number in 0..KINDS.len() {
        app.sql(&format!("update rows set c{number} = null where id = 1"));
        expected.push(format!("c{number}"));
    }
    hand.changes.clear();
    hand.read_all();
    for (change, column) in hand.changes.iter().zip(&expected) {
        let parse = |text: &Option<String>| {
            serde_json::from_str::<serde_json::Value>(text.as_ref().unwrap()).unwrap()
        };
        let (before, mut after) = (parse(&change.before), parse(&change.after));
        assert_ne!(before, after, "{column}");
        after[column.as_str()] = before[column.as_str()].clone();
        assert_eq!(before, after, "{column}");
    }
}

#[tokio::test]
async fn arrays_of_every_type_are_captured() {
    // GIVEN a column of arrays of each type that has them
    let columns: Vec<String> = KINDS
        .iter()
        .enumerate()
        .map(|(number, kind)| format!("c{number} {}[]", kind.name.trim_end_matches("[]")))
        .collect();
    let app = rows_of(&columns, TYPES, "").await;
    // WHEN they hold all values of their type, and null
    let values: Vec<String> = KINDS
        .iter()
        .enumerate()
        .map(|(number, kind)| {
            let value = |value: &&str| format!("({value})::{}", kind.name);
            let of = kind.values.iter().map(value).collect::<Vec<_>>().join(", ");
            if kind.name.ends_with(']') {
                format!("{} as c{number}", value(&kind.values[0]))
            } else {
                format!("array[{of}, null]::{}[] as c{number}", kind.name)
            }
        })
        .collect();
    app.sql(&format!("insert into rows select 1, {}", values.join(", ")));
    // THEN
    let mut hand = ByHand::new(&app, 10);
    hand.read_all();
    assert_eq!(hand.changes[0].op, "c");
    // Of arrays in arrays Postgres makes one of more dimensions.
    let read_back = |number: &usize| {
        let kind = &KINDS[*number];
        is_read_back(kind) && kind.name != "public.many"
    };
    assert_eq!(differing(&app, (0..KINDS.len()).filter(read_back)), [""; 0]);
    for (name, expected) in [
        ("int2vector", "[[1,2,3],[],null]"),
        ("oidvector", r#"[["1","4294967295"],[],null]"#),
        ("public.many", "[[1,null,3],null]"),
    ] {
        let number = KINDS.iter().position(|kind| kind.name == name).unwrap();
        let captured = app.texts(&format!("select after -> 'c{number}' from rowcall.change"));
        assert_eq!(captured, [expected], "{name}");
    }
}

#[tokio::test]
async fn every_session_captures_a_row_as_every_other() {
    let app = app().await;
    let mut hand = ByHand::new(&app, 1_000);
    hand.read_all();
    let first: Vec<Option<String>> = hand
        .changes
        .iter()
        .map(|change| change.after.clone())
        .collect();
    for session in SESSIONS {
        // WHEN a session with other settings writes the rows and changes nothing
        app.sql(&format!("{session}; update public.rows set id = id"));
        // THEN before and after are what they were, to the byte
        hand.changes.clear();
        hand.read_all();
        assert_eq!(hand.changes.len(), first.len());
        for change in &hand.changes {
            assert!(
                first.contains(&change.before),
                "{session}: {:?}",
                change.before
            );
            assert_eq!(change.before, change.after, "{session}");
        }
    }
}

#[tokio::test]
async fn generated_and_identity_columns_are_captured_as_they_are_stored() {
    let app = TestApp::start(
        "create table public.rows (id integer generated always as identity primary key,
             n integer, twice integer generated always as (n * 2) stored,
             at timestamptz default '2026-01-01Z', serial bigserial)",
    )
    .await;
    app.apply(&crate::reading::rows_metadata("")).await;
    let mut hand = ByHand::new(&app, 10);
    app.sql("insert into rows (n) values (4); update rows set n = 5");
    hand.read_all();
    let after = |number: usize| hand.changes[number].after.as_deref().unwrap();
    assert_eq!(
        after(0),
        r#"{"id":1,"n":4,"twice":8,"at":"2026-01-01T00:00:00+00:00","serial":1}"#
    );
    assert!(after(1).contains(r#""n":5,"twice":10"#), "{}", after(1));
}
