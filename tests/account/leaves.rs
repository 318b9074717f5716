//! Leaves that retention drops stay in the account.

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::stage::Stage as _;

use crate::{
    shop::{report, shop},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

fn captured(app: &TestApp) -> i64 {
    let report = report(app);
    assert!(report.adds_up(), "{report}");
    report.changes.captured
}

fn leaf(app: &TestApp, number: i32) -> bool {
    app.texts(&format!("select to_regclass('rowcall.change_{number}')"))[0] != "null"
}

#[tokio::test]
async fn the_account_stays_exact_when_leaves_are_dropped() {
    // GIVEN three orders in a leaf that is closed
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders select n from generate_series(1, 3) as n");
    app.advance(TimeDelta::hours(25)).await;
    upkeep(&mut app).await;
    app.sql("insert into orders values (4)");
    app.run_until_idle().await;
    assert_eq!(captured(&app), 4);
    // WHEN retention has passed it, and it is counted and dropped
    app.advance(TimeDelta::days(8)).await;
    upkeep(&mut app).await;
    assert!(leaf(&app, 1), "it is counted first");
    assert_eq!(captured(&app), 4);
    upkeep(&mut app).await;
    assert!(!leaf(&app, 1));
    // THEN the account is as before
    assert_eq!(app.count("select count(*) from rowcall.change"), 1);
    assert_eq!(captured(&app), 4);
    assert_eq!(app.count("select count(*) from rowcall.leaf_count"), 0);
    // AND the next leaves are added
    for day in 0..3 {
        app.sql(&format!("insert into orders values ({})", 10 + day));
        app.advance(TimeDelta::hours(25)).await;
        upkeep(&mut app).await;
    }
    app.advance(TimeDelta::days(8)).await;
    for _ in 0..10 {
        upkeep(&mut app).await;
    }
    assert_eq!(app.count("select changes_dropped from rowcall.account"), 7);
    assert_eq!(captured(&app), 7);
}

#[tokio::test]
async fn a_writer_who_was_late_in_a_counted_leaf_is_counted() {
    // GIVEN a writer in the first leaf when it is closed, and when it is counted
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders values (1)");
    let mut late = app.connect();
    late.batch_execute("begin; insert into orders values (2), (3)")
        .unwrap();
    app.advance(TimeDelta::hours(25)).await;
    upkeep(&mut app).await;
    app.advance(TimeDelta::days(8)).await;
    upkeep(&mut app).await;
    assert_eq!(app.count("select changes from rowcall.leaf_count"), 1);
    // WHEN it commits, is read, and the leaf is dropped
    late.batch_execute("commit").unwrap();
    app.run_until_idle().await;
    upkeep(&mut app).await;
    assert!(!leaf(&app, 1));
    // THEN its changes are in the account
    assert_eq!(captured(&app), 3);
    app.advance(TimeDelta::days(3)).await;
}
