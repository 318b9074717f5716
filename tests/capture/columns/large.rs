//! Many columns, large values, and values that are stored aside.

use rowcall::stage::Stage as _;
use serde_json::{Value, json};

use super::rows_of;
use crate::{reading::ByHand, support::app::TestApp};

#[tokio::test]
async fn as_many_columns_as_postgres_has() {
    // GIVEN 1,600 columns, two of them the key
    let columns: Vec<String> = (1..1600)
        .map(|n| format!("c{n} smallint not null default {n}"))
        .collect();
    let mut app = TestApp::start(&format!(
        "create table public.rows (id integer, {}, primary key (id, c1599))",
        columns.join(", ")
    ))
    .await;
    app.apply(&crate::reading::rows_metadata("").replace("[\"id\"]", "[\"id\", \"c1599\"]"))
        .await;
    // WHEN
    app.sql(
        "insert into rows (id) values (1); update rows set c800 = 0, c1599 = 7; delete from rows",
    );
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    // THEN
    let bodies: Vec<Value> = app
        .texts("select body::json -> 'data' from rowcall.event order by position")
        .iter()
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0]["after"].as_object().unwrap().len(), 1600);
    assert_eq!(bodies[1]["changed"], json!(["c800", "c1599"]));
    assert_eq!(bodies[1]["previous_key"], json!({"id": 1, "c1599": 1599}));
    assert_eq!(bodies[2]["before"], bodies[1]["after"]);
}

#[tokio::test]
async fn a_value_that_is_stored_aside_and_did_not_change_is_captured_whole() {
    // GIVEN values that are too large for the row, compressed and not, of four kinds
    let columns = [
        "t text",
        "e text",
        "b bytea",
        "j jsonb",
        "a text[]",
        "v integer",
    ];
    let app = rows_of(&columns.map(ToOwned::to_owned), "select 1", "").await;
    app.sql("alter table rows alter column e set storage external");
    app.sql(
        "insert into rows select 1, repeat('t', 9000), s, decode(s, 'hex'), \
             jsonb_build_object('x', s), array[s, s], 0 \
         from (select string_agg(md5(i::text), '') as s from generate_series(1, 250) i) as made",
    );
    assert!(
        app.count("select pg_relation_size(reltoastrelid) from pg_class where relname = 'rows'")
            > 0
    );
    // WHEN another column changes, and then the row goes
    app.sql("update rows set v = 1; delete from rows");
    let mut hand = ByHand::new(&app, 10);
    hand.read_all();
    // THEN every image holds them
    let images: Vec<&String> = hand
        .changes
        .iter()
        .flat_map(|change| [&change.before, &change.after])
        .flatten()
        .collect();
    assert_eq!(images.len(), 4);
    assert!(images[0].len() > 40_000, "{}", images[0].len());
    assert_eq!(images[1], images[0]);
    assert_eq!(*images[2], images[0].replace("\"v\":0", "\"v\":1"));
    assert_eq!(images[3], images[2]);
}

#[tokio::test]
async fn a_value_of_300_megabytes_is_a_gap_and_the_writer_goes_on() {
    // GIVEN
    let mut app = rows_of(
        &["v text".to_owned(), "n integer".to_owned()],
        "select 1",
        "",
    )
    .await;
    // WHEN it is written, kept while another column changes, and deleted, each with its neighbours
    app.sql("insert into rows values (1, repeat('x', 300 * 1024 * 1024)), (2, 'small')");
    app.sql("update rows set n = 1");
    app.sql("delete from rows");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    // THEN what is small is whole, and what is large is told of with its key and size
    let told = app.texts(
        "select concat_ws(' ', object_key, d ->> 'op', d ->> 'captured_op', d ->> 'reason', \
             (d ->> 'size')::bigint / 1048576) \
         from (select position, object_key, body::json -> 'data' as d from rowcall.event) as e \
         order by position",
    );
    assert_eq!(
        told,
        [
            "1 gap insert too_large 300",
            "2 create",
            "1 gap update too_large 600",
            "2 update",
            "1 gap delete too_large 300",
            "2 delete"
        ]
    );
    assert!(app.count("select pg_total_relation_size('rowcall.change_1')") < 1_000_000);
}
