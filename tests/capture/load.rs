//! Writers under load: only a commit that wakes a sleeping reader takes the lock of NOTIFY.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use diesel::{PgConnection, RunQueryDsl as _, sql_types::BigInt};

use crate::{
    doorbell::Running,
    reading::{rows_app, run},
    support::{app::Options, postgres::connect},
};

/// How many looks at pg_locks a test takes.
const SAMPLES: usize = 1_000;

/// Eight writers that update rows of their own until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(url: &str) -> Self {
        let (stop, commits) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let writers = (0..8)
            .map(|writer| {
                let (url, stop, commits) = (url.to_owned(), stop.clone(), commits.clone());
                std::thread::spawn(move || {
                    let mut connection = connect(&url);
                    while !stop.load(Ordering::Relaxed) {
                        let id = 10 + writer * 100 + commits.fetch_add(1, Ordering::Relaxed) % 100;
                        run(
                            &mut connection,
                            &format!("update rows set v = v || '.' where id = {id}"),
                        );
                    }
                })
            })
            .collect();
        Self {
            stop,
            commits,
            writers,
        }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().unwrap();
        }
        self.commits.load(Ordering::Relaxed)
    }
}

/// A session that hears every notification of the database.
fn listener(url: &str) -> PgConnection {
    let mut connection = connect(url);
    run(&mut connection, "listen rowcall");
    connection
}

fn heard(listener: &mut PgConnection) -> usize {
    run(listener, "select 1");
    let notifications: Result<Vec<_>, _> = listener.notifications_iter().collect();
    notifications.unwrap().len()
}

/// Takes the doorbell's lock for share and keeps it, if the reader does not hold it.
fn try_share(connection: &mut PgConnection) -> bool {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        locked: bool,
    }
    let row: Row = diesel::sql_query(
        "select pg_try_advisory_lock_shared('rowcall.change'::regclass::oid::integer, 1) as locked",
    )
    .get_result(connection)
    .unwrap();
    row.locked
}

/// How many sessions wait for the lock that a notifying commit takes: the object lock of database
/// 0.
fn waiting_for_notify(connection: &mut PgConnection) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        waiting: i64,
    }
    let row: Row = diesel::sql_query(
        "select count(*) as waiting from pg_locks l join pg_stat_activity a on a.pid = l.pid \
         where a.datname = current_database() and l.locktype = 'object' and l.database = 0 \
         and l.classid = 'pg_database'::regclass and l.objid = 0 and not l.granted",
    )
    .get_result(connection)
    .unwrap();
    row.waiting
}

fn sample(url: &str) -> i64 {
    let mut looker = connect(url);
    (0..SAMPLES).map(|_| waiting_for_notify(&mut looker)).sum()
}

const TABLE: &str = "insert into rows select i, '0' from generate_series(1, 1000) i";

#[tokio::test]
async fn without_rowcall_no_commit_notifies() {
    // GIVEN triggers, and nobody who reads
    let app = rows_app(TABLE, Options::default()).await;
    let mut listener = listener(&app.database.url);
    // WHEN
    let load = Load::start(&app.database.url);
    let waits = sample(&app.database.url);
    let commits = load.stop();
    // THEN
    assert!(commits > 1_000, "{commits} commits are no load");
    assert_eq!(
        (heard(&mut listener), waits),
        (0, 0),
        "of {commits} commits"
    );
    app.sql("update rowcall.source set snapshot = pg_current_snapshot()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_reader_is_awake_no_commit_notifies() {
    // GIVEN a reader that is kept from falling asleep by a lock that somebody leaked
    let table = format!("create table public.rows (id integer primary key, v text); {TABLE}");
    let running = Running::start(&table).await;
    let mut leak = running.database.connect();
    let (mut before, begun) = (0, Instant::now());
    loop {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the lock was never free"
        );
        // Only tried: to wait for the lock would be to wait for a reader that nobody wakes.
        run(&mut leak, "update rows set v = 'wake' where id = 1");
        before += 1;
        if try_share(&mut leak) {
            break;
        }
    }
    running.received(before).await;
    let mut listener = listener(&running.database.url);
    // WHEN
    let load = Load::start(&running.database.url);
    let waits = sample(&running.database.url);
    let commits = load.stop();
    // THEN nothing was notified, and everything arrives
    assert_eq!(
        (heard(&mut listener), waits),
        (0, 0),
        "of {commits} commits"
    );
    running
        .receiver
        .wait_for(commits + 1, Duration::from_secs(60))
        .await;
    drop(leak);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_hardly_a_commit_notifies() {
    let table = format!("create table public.rows (id integer primary key, v text); {TABLE}");
    let running = Running::start(&table).await;
    let mut listener = listener(&running.database.url);
    let load = Load::start(&running.database.url);
    let waits = sample(&running.database.url);
    let commits = load.stop();
    let notified = heard(&mut listener);
    assert!(
        notified * 20 <= commits,
        "{notified} notifications of {commits} commits"
    );
    // Writers that a starved machine keeps from writing let the reader sleep now and then, and the
    // next commits ring. Were all to ring, every sample would see a wait.
    assert!(
        waits * 4 <= SAMPLES as i64,
        "{waits} of {SAMPLES} samples saw a wait"
    );
    let started = Instant::now();
    running
        .receiver
        .wait_for(commits, Duration::from_secs(60))
        .await;
    let (database, _) = running.stop().await;
    let left = database_count(
        &database.url,
        "select count(*) from rowcall.delivery where state <> 'delivered'",
    );
    assert_eq!(left, 0, "after {:?}", started.elapsed());
}

fn database_count(url: &str, sql: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Row = diesel::sql_query(sql)
        .get_result(&mut connect(url))
        .unwrap();
    row.count
}

#[tokio::test]
async fn a_commit_that_finds_the_reader_asleep_notifies_once() {
    // GIVEN a session that holds the doorbell's lock as a sleeping reader does
    let app = rows_app(TABLE, Options::default()).await;
    let url = &app.database.url;
    let mut asleep = connect(url);
    run(
        &mut asleep,
        "select pg_advisory_lock('rowcall.change'::regclass::oid::integer, 1)",
    );
    let mut listener = listener(url);
    // WHEN writers commit, roll back, write many rows, and turn the bell off for themselves
    for (sql, expected) in [
        ("update rows set v = 'a' where id = 1", 1),
        ("update rows set v = 'b'", 1),
        ("begin; update rows set v = 'c' where id = 1; rollback", 0),
        ("update rows set v = 'd' where id = -1", 0),
        (
            "set rowcall.doorbell = off; update rows set v = 'e' where id = 1",
            0,
        ),
    ] {
        app.sql(sql);
        // THEN
        let (mut count, begun) = (heard(&mut listener), Instant::now());
        // A notification is told to the other session by a signal, a moment after the commit.
        while count < expected && begun.elapsed() < Duration::from_secs(10) {
            count += heard(&mut listener);
        }
        assert_eq!(count, expected, "{sql}");
    }
    // AND a reader that is gone is no sleeping reader
    let begun = Instant::now();
    drop(asleep);
    while app.count(
        "select count(*) from pg_locks where locktype = 'advisory' \
        and classid = 'rowcall.change'::regclass::oid and objid = 1 \
        and database = (select oid from pg_database where datname = current_database())",
    ) > 0
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "the lock stayed");
        std::thread::yield_now();
    }
    app.sql("update rows set v = 'f' where id = 1");
    assert_eq!(heard(&mut listener), 0);
    app.sql("update rowcall.source set snapshot = pg_current_snapshot()");
}
