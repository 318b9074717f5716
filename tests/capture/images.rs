//! What the trigger makes of rows: everything that Postgres can hold, without ever failing the
//! writer.

use diesel::RunQueryDsl as _;

use crate::{
    reading::{ByHand, rows_metadata, run},
    support::app::TestApp,
};

/// Where the server has it: pglz takes half as long again.
const FAST_COMPRESSION: &str = "select set_config(name, 'lz4', false) from pg_settings \
     where name = 'default_toast_compression' and 'lz4' = any(enumvals)";

async fn app(columns: &str, more: &str) -> TestApp {
    let app = TestApp::start(&format!(
        "create table public.rows (id integer primary key, {columns})"
    ))
    .await;
    app.apply(&rows_metadata(more)).await;
    app
}

#[tokio::test]
async fn json_that_parsers_refuse_is_carried_as_it_is() {
    let app = app("j json", "").await;
    let mut hand = ByHand::new(&app, 10);
    let strange = [
        r#"{"a":"\u0000"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1e200000}"#,
        r#"{"a":1,"a":2}"#,
    ];
    for (id, json) in strange.iter().enumerate() {
        app.sql(&format!("insert into rows values ({id}, '{json}')"));
    }
    hand.read_all();
    for (change, json) in hand.changes.iter().zip(strange) {
        assert!(change.after.as_ref().unwrap().contains(json), "{change:?}");
    }
}

#[tokio::test]
async fn excluded_columns_never_reach_the_change_table_and_masked_ones_only_as_stars() {
    let app = app(
        "v text, secret text, card text, j json",
        "exclude = [\"secret\"]\nmask = [\"card\"]",
    )
    .await;
    let mut hand = ByHand::new(&app, 10);
    app.sql("insert into rows values (1, 'v', 'hush', '4111', '{\"x\": [1, 2]}')");
    app.sql("update rows set secret = 'hush2', card = '4222'");
    // A json text that can't be parsed makes a gap here, because filtering has to parse.
    app.sql(r#"insert into rows values (2, 'v', 'hush', '4111', '{"a":"\u0000"}')"#);
    hand.read_all();
    let stored: String = hand
        .changes
        .iter()
        .map(|change| format!("{:?}{:?}", change.before, change.after))
        .collect();
    assert!(!stored.contains("hush") && !stored.contains("4111") && !stored.contains("4222"));
    assert_eq!(stored.matches("***").count(), 3);
    assert_eq!(hand.changes[2].op, "g", "{:?}", hand.changes[2]);
    assert!(
        hand.changes[2]
            .after
            .as_ref()
            .unwrap()
            .contains("not_imaged")
    );
}

#[tokio::test]
async fn an_image_over_the_limit_is_a_gap_that_keeps_the_key() {
    // GIVEN images of at most 100,000 bytes
    let app = app("v text", "").await;
    let mut hand = ByHand::new(&app, 10);
    // WHEN
    app.sql("insert into rows values (7, repeat('x', 200000))");
    app.sql("begin; insert into rows values (8, repeat('x', 200000)); rollback");
    app.sql("delete from rows");
    hand.read_all();
    // THEN the writer was not disturbed, and the gap says what it stands for
    assert_eq!(hand.changes.len(), 2);
    let gap: serde_json::Value =
        serde_json::from_str(hand.changes[0].after.as_ref().unwrap()).unwrap();
    assert_eq!(hand.changes[0].op, "g");
    assert_eq!(gap["op"], "insert");
    assert_eq!(gap["reason"], "too_large");
    assert_eq!(gap["key"], serde_json::json!({"id": 7}));
    assert!(gap["size"].as_i64().unwrap() > 200_000);
}

/// It takes some seconds and up to 2 GB of memory: nothing smaller reaches the limits of Postgres.
#[tokio::test]
async fn an_image_that_postgres_itself_cannot_make_is_a_gap_too() {
    // GIVEN a row that is small where it is kept, as its values are compressed, and all of them
    // together are too large for a text
    let columns: Vec<String> = (0..10).map(|n| format!("j{n}")).collect();
    let copies: Vec<String> = columns[1..].iter().map(|c| format!("{c} = j0")).collect();
    let app = TestApp::start(&format!(
        "{FAST_COMPRESSION};
         create table public.rows (id integer primary key, n integer, b bytea, {} json);
         insert into rows (id, j0) values (2, ('\"' || repeat('x', 110000000) || '\"')::json);
         update rows set {}",
        columns.join(" json, "),
        copies.join(", ")
    ))
    .await;
    app.apply(&rows_metadata("")).await;
    let mut hand = ByHand::new(&app, 10);
    // WHEN
    app.sql("update rows set n = 1");
    app.sql("delete from rows");
    // AND a single value is too large, as hex
    app.sql(&format!(
        "{FAST_COMPRESSION};
         insert into rows (id, b) values (1, convert_to(repeat('x', 540000000), 'UTF8'))"
    ));
    app.sql("update rows set n = 1");
    hand.read_all();
    // THEN the writer was not disturbed
    let gaps: Vec<String> = hand
        .changes
        .iter()
        .map(|change| format!("{} {}", change.op, change.after.as_deref().unwrap_or("-")))
        .collect();
    let gap = |op: &str, id: u32| {
        format!(
            "g {{\"op\" : \"{op}\", \"reason\" : \"too_large\", \"size\" : null, \
             \"key\" : {{\"id\" : {id}}}}}"
        )
    };
    let expected = [
        gap("update", 2),
        gap("delete", 2),
        gap("insert", 1),
        gap("update", 1),
    ];
    assert_eq!(gaps, expected);
}

#[tokio::test]
async fn a_row_that_needs_care_costs_no_transaction_id() {
    // GIVEN rows that the plain statement does not take
    let app = app("v text", "").await;
    let mut writer = app.connect();
    run(&mut writer, "begin");
    for id in 1..=3 {
        run(
            &mut writer,
            &format!("insert into rows values ({id}, repeat('x', 3000))"),
        );
    }
    // THEN the transaction has one id, and none of parts of it
    let ids: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "(select count(*) from pg_locks where locktype = 'transactionid' \
             and pid = pg_backend_pid())",
    ))
    .get_result(&mut writer)
    .unwrap();
    assert_eq!(ids, 1);
}

#[tokio::test]
async fn the_same_row_has_the_same_text_in_every_session() {
    let app = app(
        "at timestamptz, i interval, b bytea, f float8, r tstzrange, d date, a timestamptz[]",
        "",
    )
    .await;
    let mut hand = ByHand::new(&app, 10);
    app.sql(
        "insert into rows values (1, '2026-01-01T00:00:00Z', '1 mon 2 days', '\\x00ff', 0.1, \
             '[2026-01-01T00:00:00Z,)', '2026-03-04', array['2026-01-01T00:00:00Z'::timestamptz])",
    );
    app.sql("set timezone = 'Asia/Tokyo'; set intervalstyle = 'sql_standard'; set bytea_output = 'escape'; \
             set extra_float_digits = -5; set datestyle = 'German'; update rows set id = 1");
    hand.read_all();
    let (created, updated) = (&hand.changes[0], &hand.changes[1]);
    assert_eq!(created.after, updated.before);
    assert_eq!(created.after, updated.after);
}

#[tokio::test]
async fn a_type_with_a_cast_to_json_of_its_own_is_captured_as_text() {
    // GIVEN a cast that raises
    let app = TestApp::start(
        "create type public.mood as enum ('good', 'bad');
         create function public.mood_json(mood) returns json language plpgsql as
             $$ begin raise 'never'; end $$;
         create cast (mood as json) with function public.mood_json(mood);
         create domain public.mood_domain as mood;
         create table public.rows (id integer primary key, m mood, d mood_domain, v text)",
    )
    .await;
    app.apply(&rows_metadata("")).await;
    let mut hand = ByHand::new(&app, 10);
    // WHEN
    app.sql("insert into rows values (1, 'good', 'bad', 'x')");
    // AND a column is renamed, which an image that names columns does not survive
    app.sql("alter table rows rename v to w");
    app.sql("insert into rows values (2, 'good', 'bad', 'x')");
    // AND in a session that knows the columns by the types that they had
    let mut writer = app.connect();
    run(&mut writer, "alter table rows rename w to v");
    run(
        &mut writer,
        "insert into rows values (3, 'good', 'bad', 'x')",
    );
    run(&mut writer, "alter table rows alter v type integer using 4");
    run(&mut writer, "insert into rows values (4, 'good', 'bad', 4)");
    // THEN nothing failed, and the gaps say which object they are of
    hand.read_all();
    let after = hand.changes[0].after.as_ref().unwrap();
    assert!(after.contains(r#""m":"good","d":"bad""#), "{after}");
    let gaps = hand.changes.iter().filter(|change| change.op == "g");
    let gaps: Vec<&str> = gaps.filter_map(|gap| gap.after.as_deref()).collect();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(gaps[0].contains(r#""key" : {"id" : 2}"#), "{gaps:?}");
    assert!(gaps[1].contains(r#""key" : {"id" : 4}"#), "{gaps:?}");
}

#[tokio::test]
async fn the_tables_owner_may_change_it_as_before() {
    // GIVEN
    let app = app("v text, w text", "").await;
    let mut hand = ByHand::new(&app, 100);
    // WHEN columns are added, dropped, retyped and renamed between writes, the key's too
    let ddl = [
        "alter table rows add column n integer default 5",
        "alter table rows drop column w",
        "alter table rows alter column v type varchar(100)",
        "alter table rows rename v to vv",
        "alter table rows alter column id type bigint",
        "alter table rows rename id to ident",
    ];
    for (number, ddl) in (1..).zip(ddl) {
        app.sql(ddl);
        app.sql(&format!("insert into rows values ({number})"));
    }
    // THEN nothing failed, and everything was captured
    assert_eq!(hand.read_all().len(), 6);
    assert!(
        hand.changes[5]
            .after
            .as_ref()
            .unwrap()
            .contains("\"ident\":6")
    );
}

#[tokio::test]
async fn wide_rows_strange_names_and_strange_values() {
    let columns: Vec<String> = (0..1500).map(|n| format!("\"c {n}\" smallint")).collect();
    let app = app(
        &format!(
            "\"Quo\"\"te'd\" text, f float8, n numeric, {}",
            columns.join(", ")
        ),
        "",
    )
    .await;
    let mut hand = ByHand::new(&app, 10);
    app.sql("insert into rows (id, \"Quo\"\"te'd\", f, n) values (1, e'a\\\\b\"\\n', 'NaN', 'Infinity')");
    hand.read_all();
    let row: serde_json::Value =
        serde_json::from_str(hand.changes[0].after.as_ref().unwrap()).unwrap();
    assert_eq!(row["Quo\"te'd"], "a\\b\"\n");
    assert_eq!(row["f"], "NaN");
    assert_eq!(row.as_object().unwrap().len(), 1504);
}
