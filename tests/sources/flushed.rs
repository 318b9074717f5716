//! A commit that is visible need not be durable: what a crash of the source would undo is not told.

use rowcall::stage::{Progress, Stage as _};

use crate::{
    METADATA, ROWS, V, applied, copy_all, count, sources,
    support::{
        app::{Options, TestApp},
        postgres::{execute, start_own},
    },
};

/// Its write-ahead log is flushed by commits that wait for it, and by little else for a while.
const LAZY: [(&str, &str); 3] = [
    ("wal_writer_delay", "10s"),
    ("autovacuum", "off"),
    ("checkpoint_timeout", "1h"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visible_commit_is_copied_when_it_is_durable_and_never_if_it_was_lost() {
    // GIVEN a source whose writer does not wait for its commits to be durable
    let mut cluster = start_own(&LAZY);
    let url = cluster.url("postgres");
    execute(&url, ROWS);
    let options = Options {
        sources: sources(&url),
        ..Options::default()
    };
    let mut app = TestApp::start_with(ROWS, options).await;
    applied(&app, METADATA, sources(&url)).await.unwrap();
    let now = app.clock.now();
    copy_all(&mut app.instance, now).await.unwrap();
    let unflushed = "select pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()";

    // WHEN it commits, and the server crashes a moment after others saw that
    execute(
        &url,
        "set synchronous_commit = off; insert into rows values (1, 'lost')",
    );
    assert_eq!(count(&url, "select count(*) from rows"), 1);
    assert!(
        count(&url, unflushed) > 0,
        "the log is flushed; the test shows nothing"
    );
    let copied = app.instance.sources[0].copy.run_once(now).await;
    assert_eq!(copied.unwrap(), Progress::Idle);
    cluster.crash().unwrap();
    cluster.restart().unwrap();

    // THEN it is gone, and nobody was told of it
    assert_eq!(count(&url, "select count(*) from rows"), 0);
    assert!(
        copy_all(&mut app.instance, now).await.is_err(),
        "the session is gone"
    );
    copy_all(&mut app.instance, now).await.unwrap();
    assert_eq!(app.count("select count(*) from rowcall.change"), 0);

    // WHEN another such commit is looked at once more
    execute(
        &url,
        "set synchronous_commit = off; insert into rows values (2, 'kept')",
    );
    let copied = app.instance.sources[0].copy.run_once(now).await;
    assert_eq!(copied.unwrap(), Progress::Idle);
    assert!(count(&url, unflushed) > 0);
    copy_all(&mut app.instance, now).await.unwrap();
    // THEN the source was made to keep it, and it is told
    assert_eq!(app.count("select count(*) from rowcall.change"), 1);
    cluster.crash().unwrap();
    cluster.restart().unwrap();
    assert_eq!(count(&url, "select count(*) from rows"), 1);
    app.run_until_idle().await;
    assert_eq!(
        app.texts(&format!(
            "select {V} from (select body::json as e from rowcall.event) as q"
        )),
        ["->kept"]
    );
}
