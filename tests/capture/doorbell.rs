//! The doorbell with the safety poll off: a reader that misses a ring sleeps for ever, and the test
//! fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::PgConnection;
use rowcall::{app::Role, clock::Clock, config::Limits};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    reading::{rows_metadata, run},
    support::{
        app::{Options, TestApp, build},
        postgres::{Kind, TestDatabase},
        receiver::Receiver,
    },
};

/// An instance that runs by itself, woken by nothing but the doorbell.
pub(crate) struct Running {
    pub(crate) database: Arc<TestDatabase>,
    pub(crate) receiver: Receiver,
    stop: watch::Sender<bool>,
    run: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(sql: &str) -> Self {
        Self::start_in(Kind::Standard, sql).await
    }

    pub(crate) async fn start_in(kind: Kind, sql: &str) -> Self {
        let limits = Limits {
            deliver_poll_ms: 100,
            ..Limits::default()
        };
        Self::start_with(kind, sql, limits, false).await
    }

    pub(crate) async fn start_with(
        kind: Kind,
        sql: &str,
        limits: Limits,
        safety_poll: bool,
    ) -> Self {
        let receiver = Receiver::start().await;
        let app = TestApp::start_with(
            sql,
            Options {
                kind,
                ..Options::default()
            },
        )
        .await;
        app.apply(&format!(
            "{}\n[subscription.all]\nobject_types = [\"t.row\"]\nmode = \"synchronous\"\n\
             sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
            rows_metadata(""),
            receiver.url()
        ))
        .await;
        let (stop, stopped) = watch::channel(false);
        let database = Arc::clone(&app.database);
        let options = Options {
            kind,
            limits,
            safety_poll,
            ..Options::default()
        };
        let instance = build(&database, Clock::System, options).await;
        let run = tokio::spawn(instance.run(None, &[Role::Publish, Role::Deliver], stopped));
        Self {
            database,
            receiver,
            stop,
            run,
        }
    }

    /// Stops the instance; what was under way is finished.
    pub(crate) async fn stop(self) -> (Arc<TestDatabase>, Receiver) {
        self.stop.send_replace(true);
        self.run.await.unwrap();
        (self.database, self.receiver)
    }

    /// Waits for the `count`th receipt.
    pub(crate) async fn received(&self, count: usize) {
        self.receiver.wait_for(count, Duration::from_secs(10)).await;
    }
}

pub(crate) const ROWS: &str = "create table public.rows (id integer primary key, v text); \
    insert into rows values (1, '0'), (2, '0')";

/// Whether the reader's session holds the doorbell's lock, so that writers ring.
fn reader_wants_bell(connection: &mut PgConnection) -> bool {
    use diesel::{RunQueryDsl as _, sql_types::BigInt};
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        held: i64,
    }
    let row: Row = diesel::sql_query(
        "select count(*) as held from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' \
         and granted and classid = 'rowcall.change'::regclass::oid and objid = 1 and objsubid = 2 \
         and database = (select oid from pg_database where datname = current_database())",
    )
    .get_result(connection)
    .unwrap();
    row.held == 1
}

pub(crate) async fn until_reader_wants_bell(connection: &mut PgConnection) {
    let begun = Instant::now();
    while !reader_wants_bell(connection) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the reader does not fall asleep"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lone_writer_wakes_a_sleeping_reader() {
    let running = Running::start(ROWS).await;
    let mut writer = running.database.connect();
    for round in 1..=200 {
        run(
            &mut writer,
            &format!("update rows set v = '{round}' where id = 1"),
        );
        running.received(round).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_left_open_over_the_falling_asleep_is_not_lost() {
    // GIVEN one writer on a quiet cluster: its open transaction is in no snapshot
    let running = Running::start(ROWS).await;
    let (mut waker, mut writer) = (running.database.connect(), running.database.connect());
    let mut looker = running.database.connect();
    for round in 0..60 {
        // WHEN it captures while the reader is awake, at another moment each time, so it does not
        // ring
        run(
            &mut waker,
            &format!("update rows set v = '{round}' where id = 2"),
        );
        for _ in 0..round % 20 {
            run(&mut writer, "select 1");
        }
        run(
            &mut writer,
            &format!("begin; update rows set v = '{round}' where id = 1"),
        );
        // AND the reader goes to sleep, as far as it can
        running.received(2 * round + 1).await;
        until_reader_wants_bell(&mut looker).await;
        for _ in 0..round % 50 {
            run(&mut looker, "select 1");
        }
        // THEN its commit is noticed all the same
        run(&mut writer, "commit");
        running.received(2 * round + 2).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_commits_at_the_edge_of_sleep_are_all_noticed() {
    // GIVEN F7: each commit falls at another moment of the reader's falling asleep. A campaign sets
    // ROWCALL_TEST_COMMITS to a million.
    let commits: usize = std::env::var_os("ROWCALL_TEST_COMMITS")
        .map_or(2_000, |text| text.to_str().unwrap().parse().unwrap());
    let running = Running::start(ROWS).await;
    let mut writer = running.database.connect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 1..=commits {
        run(
            &mut writer,
            &format!("update rows set v = '{round}' where id = 1"),
        );
        running.received(round).await;
        // The next one comes 0 to 15 round trips later.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        for _ in 0..seed % 16 {
            run(&mut writer, "select 1");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn savepoints_functions_and_old_snapshots_ring_too() {
    let running = Running::start(ROWS).await;
    let mut looker = running.database.connect();
    let statements = [
        "begin isolation level repeatable read; select 1 from rows; update rows set v = 'a' where id = 1; commit",
        "begin isolation level serializable; select 1 from rows; update rows set v = 'b' where id = 1; commit",
        "begin; savepoint a; update rows set v = 'x' where id = 1; rollback to a; \
         update rows set v = 'c' where id = 1; commit",
        "begin; update rows set v = 'd' where id = 1; savepoint a; delete from rows where id = 2; \
         rollback to a; commit",
        "do $$ begin update rows set v = 'e' where id = 1; \
         begin delete from rows; raise 'no'; exception when others then null; end; end $$",
    ];
    for (count, statement) in (1..).zip(statements) {
        until_reader_wants_bell(&mut looker).await;
        run(&mut running.database.connect(), statement);
        running.received(count).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_listen_session_costs_latency_only() {
    // GIVEN F3: the session is terminated while the reader sleeps, again and again
    let running = Running::start(ROWS).await;
    let mut writer = running.database.connect();
    for round in 1..=5 {
        run(
            &mut writer,
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where application_name = 'rowcall listen' and datname = current_database()",
        );
        run(
            &mut writer,
            &format!("update rows set v = '{round}' where id = 1"),
        );
        running.received(round).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_transactions_are_prepared_the_reader_polls() {
    let running = Running::start_in(Kind::TwoPhase, ROWS).await;
    let mut writer = running.database.connect();
    for round in 1..=20 {
        run(
            &mut writer,
            &format!(
                "begin; update rows set v = '{round}' where id = 1; prepare transaction 'p{round}'"
            ),
        );
        run(&mut writer, &format!("commit prepared 'p{round}'"));
        running.received(round).await;
    }
    running.stop().await;
}
