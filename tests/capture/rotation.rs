//! Rotation: leaves come and go under writers, and nothing unread goes with them.

use chrono::TimeDelta;
use rowcall::stage::Stage as _;

use crate::{
    reading::{ByHand, rows_app, run},
    support::app::{Options, TestApp},
};

async fn app() -> TestApp {
    rows_app("", Options::default()).await
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

#[tokio::test]
async fn a_writer_in_the_old_leaf_finishes_there_and_new_ones_use_the_next() {
    // GIVEN a writer in the first leaf
    let mut app = app().await;
    let mut hand = ByHand::new(&app, 100);
    let mut writer = app.connect();
    run(&mut writer, "begin; insert into rows values (1, 'old')");
    // WHEN a day passes
    app.clock.advance(TimeDelta::hours(25));
    upkeep(&mut app).await;
    run(
        &mut writer,
        "insert into rows values (2, 'same session'); commit",
    );
    app.sql("insert into rows values (3, 'new')");
    // THEN
    assert_eq!(hand.read_all().len(), 3);
    assert_eq!(
        app.texts("select (select relname from pg_class where oid = c.tableoid) from rowcall.change c order by seq"),
        ["change_1", "change_2", "change_2"]
    );
}

#[tokio::test]
async fn a_leaf_goes_when_retention_has_passed_and_all_of_it_was_read() {
    // GIVEN a closed leaf of which something is unread
    let mut app = app().await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("insert into rows values (1, 'a')");
    app.clock.advance(TimeDelta::hours(25));
    upkeep(&mut app).await;
    app.clock.advance(TimeDelta::days(8));
    // WHEN upkeep runs before and after it is read
    upkeep(&mut app).await;
    assert_eq!(
        app.count("select count(*) from rowcall.change"),
        1,
        "it is unread"
    );
    assert_eq!(hand.read_all().len(), 1);
    upkeep(&mut app).await;
    // THEN
    assert_eq!(app.count("select count(*) from rowcall.change"), 0);
    assert_eq!(
        app.texts("select to_regclass('rowcall.change_1')"),
        ["null"]
    );
    app.sql("insert into rows values (2, 'b')");
    assert_eq!(hand.read_all().len(), 2);
}

#[tokio::test]
async fn a_leaf_that_a_writer_is_in_stays_and_the_writer_does_not_wait() {
    // GIVEN an expired leaf with an open writer in it
    let mut app = app().await;
    let mut hand = ByHand::new(&app, 100);
    let mut writer = app.connect();
    run(&mut writer, "begin; insert into rows values (1, 'late')");
    app.clock.advance(TimeDelta::hours(25));
    upkeep(&mut app).await;
    app.clock.advance(TimeDelta::days(8));
    // WHEN it was counted, for the account, and is to be dropped
    upkeep(&mut app).await;
    upkeep(&mut app).await;
    // THEN the drop gave up, and what the writer commits is read
    assert_eq!(
        app.texts("select to_regclass('rowcall.change_1')"),
        ["rowcall.change_1"],
        "a leaf was dropped under a writer"
    );
    run(&mut writer, "commit");
    assert_eq!(hand.read_all().len(), 1);
    upkeep(&mut app).await;
}

#[tokio::test]
async fn rotation_under_load_fails_no_writer() {
    // GIVEN writers that give up after a short wait for a lock
    let mut app = app().await;
    let mut hand = ByHand::new(&app, 100_000);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let url = app.database.url.clone();
            std::thread::spawn(move || {
                let mut connection = crate::support::postgres::connect(&url);
                run(&mut connection, "set lock_timeout = '2s'");
                for id in 0..300 {
                    run(
                        &mut connection,
                        &format!("insert into rows values ({}, 'x')", writer * 1000 + id),
                    );
                }
            })
        })
        .collect();
    // WHEN leaves are opened and dropped meanwhile
    for _ in 0..8 {
        app.clock.advance(TimeDelta::days(9));
        let now = app.clock.now();
        // A drop may find a writer in the leaf; then it is left for the next time.
        let _ = app.instance.upkeep.run_once(now).await;
        hand.read();
    }
    for writer in writers {
        writer.join().unwrap();
    }
    // THEN
    assert_eq!(hand.read_all().len(), 1200);
    assert!(app.count("select max(number) from rowcall.rotation") >= 8);
}

#[tokio::test]
async fn an_object_type_that_is_taken_out_is_no_longer_captured() {
    let app = app().await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("insert into rows values (1, 'a')");
    app.apply("[namespace.t]").await;
    app.sql("insert into rows values (2, 'b')");
    assert_eq!(hand.read_all().len(), 1);
    assert_eq!(
        app.count("select count(*) from pg_trigger where tgname like '% rowcall%'"),
        0
    );
    assert_eq!(
        app.count("select count(*) from pg_proc where proname like 'capture\\_%'"),
        0
    );
}
