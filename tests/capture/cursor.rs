//! The snapshot cursor: commit order, transaction order and capture order may all differ.

use crate::{
    reading::{ByHand, rows_app, run},
    support::app::{Options, TestApp},
};

async fn app() -> TestApp {
    rows_app("", Options::default()).await
}

#[tokio::test]
async fn a_transaction_that_commits_last_is_read_last_and_delays_nobody() {
    // GIVEN a transaction that captured first and stays open (F5)
    let app = app().await;
    let mut hand = ByHand::new(&app, 5_000);
    let (mut slow, mut others) = (app.connect(), app.connect());
    run(&mut slow, "begin; insert into rows values (0, 'slow')");
    // WHEN a thousand others commit, read in several batches
    for batch in 0..10 {
        for id in 1..=100 {
            run(
                &mut others,
                &format!("insert into rows values ({}, 'x')", batch * 100 + id),
            );
        }
        assert_eq!(hand.read(), 100);
    }
    // THEN it is read once, when it commits
    assert_eq!(hand.read(), 0);
    run(
        &mut slow,
        "savepoint a; insert into rows values (-1, 'sub'); release a; commit",
    );
    assert_eq!(hand.read_all().len(), 1002);
    assert_eq!(hand.seen()[1000..], ["c 0:-->slow", "c -1:-->sub"]);
}

#[tokio::test]
async fn a_quiet_clusters_open_transaction_is_not_lost() {
    // GIVEN an open transaction whose number no snapshot lists, because nothing completed after it
    let app = app().await;
    let mut hand = ByHand::new(&app, 5_000);
    let mut lone = app.connect();
    run(&mut lone, "begin; insert into rows values (1, 'a')");
    for _ in 0..3 {
        assert_eq!(hand.read(), 0);
    }
    // WHEN it commits
    run(&mut lone, "commit");
    // THEN
    assert_eq!(hand.read_all().len(), 1);
}

#[tokio::test]
async fn changes_of_one_row_come_in_their_order_whatever_the_transactions_numbers() {
    // GIVEN F6: the later transaction has the smaller number
    let app = app().await;
    app.sql("insert into rows values (1, '0')");
    let mut hand = ByHand::new(&app, 5_000);
    let (mut first, mut second) = (app.connect(), app.connect());
    run(&mut second, "begin; select pg_current_xact_id()");
    run(&mut first, "begin; update rows set v = '1'; commit");
    // WHEN, with and without a batch in between
    assert_eq!(hand.read(), 2);
    run(&mut second, "update rows set v = '2'; commit");
    run(&mut first, "update rows set v = '3'");
    // THEN
    hand.read_all();
    assert_eq!(
        hand.seen(),
        ["c 1:-->0", "u 1:0->1", "u 1:1->2", "u 1:2->3"]
    );
}

#[tokio::test]
async fn a_batch_larger_than_a_transaction_takes_is_split_and_survives_failures() {
    // GIVEN a transaction of 1,000 changes and a reader that takes 100 at a time
    let app = app().await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("insert into rows select i, 'x' from generate_series(1, 1000) i");
    app.sql("insert into rows values (2000, 'other')");
    // WHEN chunks fail, and the reader is replaced by another in the middle
    for round in 0..4 {
        hand.read_and_fail();
        assert_eq!(hand.read(), 100, "chunk {round}");
        hand.read_and_fail();
    }
    let mut successor = ByHand::new(&app, 100);
    successor.changes.append(&mut hand.changes);
    successor.read_all();
    // THEN each is read once, in order
    let keys: Vec<String> = successor.seen();
    let mut expected: Vec<String> = (1..=1000).map(|id| format!("c {id}:-->x")).collect();
    expected.push("c 2000:-->other".to_owned());
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn what_commits_while_a_batch_is_split_comes_in_the_next() {
    // GIVEN a batch of which one chunk was published
    let app = app().await;
    let mut hand = ByHand::new(&app, 10);
    app.sql("insert into rows select i, 'a' from generate_series(1, 25) i");
    let mut open = app.connect();
    run(&mut open, "begin; update rows set v = 'open' where id = 1");
    assert_eq!(hand.read(), 10);
    // WHEN others commit meanwhile
    app.sql("update rows set v = 'b' where id = 25");
    run(&mut open, "commit");
    hand.read_all();
    // THEN
    let seen = hand.seen();
    assert_eq!(seen.len(), 27);
    assert_eq!(seen[24], "c 25:-->a");
    assert!(seen[25..].contains(&"u 1:a->open".to_owned()), "{seen:?}");
    assert!(seen[25..].contains(&"u 25:a->b".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn a_database_that_went_backwards_stops_the_reading() {
    // GIVEN a cursor ahead of the database, as after a restore
    let app = app().await;
    app.sql("update rowcall.source set snapshot = '9000000:9000000:'");
    // WHEN
    let mut connection = app.connect();
    let mut reader = rowcall::capture::batch::Reader::new("default", &app.database.url, 10);
    let refused = reader.read(&mut connection).unwrap_err().to_string();
    // THEN
    assert!(
        refused.contains("went backwards") && refused.contains("9000000"),
        "{refused}"
    );
    app.sql("update rowcall.source set snapshot = pg_current_snapshot()");
}

#[tokio::test]
async fn a_transaction_open_for_long_costs_the_polls_nothing() {
    // GIVEN an open transaction, and many changes since
    let app = app().await;
    let mut hand = ByHand::new(&app, 20_000);
    let mut open = app.connect();
    run(&mut open, "begin; insert into rows values (0, 'open')");
    for part in 0..10 {
        app.sql(&format!(
            "insert into rows select {part} * 1000 + i, 'x' from generate_series(1, 1000) i"
        ));
        hand.read();
    }
    // WHEN the reading statement is explained
    let plan = explain_read(&app);
    // THEN it touches nothing that was read already
    let rows: f64 = plan["Plan"]["Actual Rows"].as_f64().unwrap();
    assert!((rows - 0.0).abs() < 0.5, "{plan}");
    let buffers = plan["Plan"]["Shared Hit Blocks"].as_i64().unwrap()
        + plan["Plan"]["Shared Read Blocks"].as_i64().unwrap();
    assert!(buffers < 50, "{buffers} blocks were looked at: {plan}");
    run(&mut open, "commit");
    assert_eq!(hand.read_all().len(), 10_001);
}

/// The plan of a poll, run.
pub(crate) fn explain_read(app: &TestApp) -> serde_json::Value {
    let snapshot = &app.texts("select snapshot from rowcall.source")[0];
    let sql = include_str!("../../src/capture/changes_read.sql")
        .replace("$1", &format!("'{snapshot}'"))
        .replace("$2", "pg_current_snapshot()")
        .replace("$3", "0");
    let mut connection = app.connect();
    run(&mut connection, "set enable_seqscan = off");
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        #[diesel(column_name = "QUERY PLAN")]
        plan: String,
    }
    use diesel::RunQueryDsl as _;
    run(
        &mut connection,
        &format!(
            "create function pg_temp.plan() returns setof json language plpgsql as $f$ \
        begin return query execute 'explain (analyze, buffers, format json) {}'; end $f$",
            sql.replace('\'', "''")
        ),
    );
    let row: Row =
        diesel::sql_query("select plan::text as \"QUERY PLAN\" from pg_temp.plan() as plan")
            .get_result(&mut connection)
            .unwrap();
    serde_json::from_str::<serde_json::Value>(&row.plan).unwrap()[0].take()
}

#[tokio::test]
async fn what_is_written_is_counted_apart_from_what_is_read() {
    // GIVEN a backlog that takes three reads
    let app = app().await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("insert into rows select i, 'a' from generate_series(1, 250) i");
    // WHEN it is read: at the first look nobody knows what was written when
    assert_eq!((hand.read(), hand.written()), (100, 0));
    assert_eq!((hand.read(), hand.written()), (100, 0));
    // THEN only what is written now counts, also before it is committed
    let mut open = app.connect();
    run(
        &mut open,
        "begin; update rows set v = 'b' where id between 1 and 7",
    );
    assert_eq!((hand.read(), hand.written()), (50, 7));
    run(&mut open, "commit");
    hand.read_all();
    assert_eq!(hand.written(), 0);
    assert_eq!(hand.seen().len(), 257);
}
