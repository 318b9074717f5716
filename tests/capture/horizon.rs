//! A session that stays idle in its transaction keeps the whole database from forgetting old row
//! versions (F8). Capture makes none, so it costs neither writers nor reader.

use rowcall::stage::Stage as _;
use serde_json::Value;

use crate::{
    cursor::explain_read,
    reading::{rows_app, run},
    support::app::{Options, TestApp},
};

/// Changes that each part of the test makes.
const PART: usize = 400;

async fn write_and_publish(app: &mut TestApp) {
    let mut writer = app.connect();
    for round in 0..PART / 4 {
        run(
            &mut writer,
            &format!("update rows set v = '{round}' where id between 1 and 4"),
        );
        let now = app.clock.now();
        app.instance.publish.run_once(now).await.unwrap();
    }
}

/// The blocks that a poll looks at when there is nothing to read.
fn blocks(app: &TestApp) -> i64 {
    let plan: Value = explain_read(app);
    let count = |name: &str| plan["Plan"][name].as_i64().unwrap();
    assert_eq!(count("Actual Rows"), 0, "{plan}");
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

#[tokio::test]
async fn a_session_idle_in_its_transaction_makes_no_dead_changes_and_no_slow_reads() {
    // GIVEN a session that holds its snapshot, and one that only holds a transaction id
    let mut app = rows_app(
        "insert into rows select i, '0' from generate_series(1, 4) i",
        Options::default(),
    )
    .await;
    let (mut reads, mut writes) = (app.connect(), app.connect());
    run(
        &mut reads,
        "begin isolation level repeatable read; select count(*) from rows",
    );
    run(&mut writes, "begin; select pg_current_xact_id()");
    write_and_publish(&mut app).await;
    let early = blocks(&app);
    // WHEN much is written and read while they stay
    for _ in 0..4 {
        write_and_publish(&mut app).await;
    }
    // THEN a poll looks at no more than at first
    let late = blocks(&app);
    assert!(late <= early + 4, "{early} blocks, then {late}");
    // AND everything that was captured was published once, and nothing of it updated or deleted
    let published = app.count("select count(*) from rowcall.event");
    assert_eq!(published, 5 * PART as i64);
    run(&mut app.connect(), "select pg_stat_force_next_flush()");
    let mut flushed = app.connect();
    run(&mut flushed, "analyze rowcall.change_1");
    drop(flushed);
    let stats =
        "from pg_stat_user_tables where schemaname = 'rowcall' and relname like 'change\\_%'";
    assert_eq!(
        app.count(&format!(
            "select sum(n_tup_upd + n_tup_del + n_dead_tup) {stats}"
        )),
        0
    );
    assert!(app.count(&format!("select sum(n_live_tup) {stats}")) >= published);
    run(&mut reads, "commit");
    run(&mut writes, "rollback");
}

#[tokio::test]
async fn an_orphaned_prepared_transaction_delays_only_itself() {
    // GIVEN a prepared transaction that nobody ends
    let options = Options {
        kind: crate::support::postgres::Kind::TwoPhase,
        ..Options::default()
    };
    let mut app = rows_app(
        "insert into rows select i, '0' from generate_series(0, 4) i",
        options,
    )
    .await;
    app.sql("begin; update rows set v = 'orphan' where id = 0; prepare transaction 'orphan'");
    write_and_publish(&mut app).await;
    let early = blocks(&app);
    // WHEN others go on
    for _ in 0..2 {
        write_and_publish(&mut app).await;
    }
    // THEN what they do is read at the same cost, and the orphan's when it is committed
    let late = blocks(&app);
    assert!(late <= early + 4, "{early} blocks, then {late}");
    assert_eq!(
        app.count("select count(*) from rowcall.event"),
        3 * PART as i64
    );
    app.sql("commit prepared 'orphan'");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    assert_eq!(
        app.texts("select object_key from rowcall.event order by position desc limit 1"),
        ["0"]
    );
}

#[tokio::test]
async fn what_an_orphan_keeps_from_being_dropped_is_emptied_and_the_doctor_names_it() {
    // GIVEN a prepared transaction of a new session, which holds the change table as well as a leaf
    let options = Options {
        kind: crate::support::postgres::Kind::TwoPhase,
        ..Options::default()
    };
    let mut app = rows_app("insert into rows values (0, '0'), (1, '0')", options).await;
    app.sql("begin; update rows set v = 'orphan' where id = 0; prepare transaction 'orphan 8'");
    let held = "select count(*) from pg_locks where relation = 'rowcall.change'::regclass \
        and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(app.count(held), 1);
    // AND leaves that were written and read since, and are old by now
    for hours in [25, 25, 24 * 9] {
        app.sql("update rows set v = v || 'x' where id = 1");
        let now = app.clock.now();
        app.instance.publish.run_once(now).await.unwrap();
        app.clock.advance(chrono::TimeDelta::hours(hours));
        // WHEN upkeep runs THEN it does what it can, and fails at nothing. A leaf is counted first
        let now = app.clock.now();
        for _ in 0..4 {
            app.instance.upkeep.run_once(now).await.unwrap();
        }
    }
    let leaves = "select string_agg(number || case when pg_relation_size('rowcall.change_' || number) = 0 \
         then ' empty' else '' end, ', ' order by number) from rowcall.rotation";
    // Of the third nobody knows yet that it is old.
    assert_eq!(app.texts(leaves), ["1, 2 empty, 3, 4 empty"]);
    // AND reading goes on, and the doctor says who it is
    app.sql("update rows set v = 'after' where id = 1");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    assert_eq!(app.count("select count(*) from rowcall.event"), 4);
    let question = rowcall::doctor::Question {
        limits: rowcall::config::Limits::for_testing(),
        long_transaction: std::time::Duration::ZERO,
        now,
    };
    let url = app.database.url.clone();
    let report = tokio::task::spawn_blocking(move || rowcall::doctor::examine(&url, &question));
    let report = report.await.unwrap().unwrap();
    let mut orphans = report
        .findings
        .iter()
        .filter(|finding| finding.code == "prepared-transaction");
    let orphan = orphans.next().unwrap();
    assert!(orphans.next().is_none());
    assert_eq!(
        orphan.remedy,
        "COMMIT PREPARED 'orphan 8'; or ROLLBACK PREPARED 'orphan 8';"
    );
    // WHEN it ends THEN its change is told, and then the leaves go
    app.sql("commit prepared 'orphan 8'");
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.instance.publish.run_once(now).await.unwrap();
    assert_eq!(
        app.texts("select object_key from rowcall.event order by position desc limit 1"),
        ["0"]
    );
    for _ in 0..4 {
        app.instance.upkeep.run_once(now).await.unwrap();
    }
    assert_eq!(app.texts(leaves), ["3, 4"]);
}
