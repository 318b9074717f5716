//! An instance that has nothing to do: what it asks of the server, and that it finds what nobody
//! rang for.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use diesel::{
    Connection as _, OptionalExtension as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _, sql_query, sql_types::Text,
};
use rowcall::config::Limits;

use crate::{
    doorbell::{ROWS, Running, until_reader_wants_bell},
    reading::{ByHand, rows_app, run},
    support::{
        app::Options,
        postgres::{Kind, cluster},
    },
};

/// How the statement of the lookout begins.
const LOOK: &str = "-- What there may be to do for anybody";
/// Looks in a row with which an instance is at rest, and those that are watched then.
const AT_REST: usize = 20;
const WATCHED: usize = 100;

/// The statements that the server was asked in this test's database, each as it was logged.
struct Log(PathBuf);

impl Log {
    fn statements(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&fs::read(&self.0).unwrap()).into_owned();
        let asked =
            |line: &str| line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
        text.lines()
            .filter(|line| asked(line))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until so many looks were made after the first `from` statements; with `in_a_row`,
    /// and nothing else between them. Gives how many statements there are then.
    async fn looked(&self, from: usize, count: usize, in_a_row: bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let statements = self.statements().split_off(from);
            let is_look = |line: &&String| line.contains(LOOK);
            let looks = match in_a_row {
                true => statements.iter().rev().take_while(is_look).count(),
                false => statements.iter().filter(is_look).count(),
            };
            if looks >= count {
                return statements;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{looks} looks: {statements:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits until a reader that sleeps looks by itself, once more.
async fn until_reader_looks(connection: &mut PgConnection) {
    let looks = "select query_start::text as value from pg_stat_activity \
        where datname = current_database() and application_name = 'rowcall listen' \
            and query like '%pg_snapshot_xip%'";
    let (begun, mut before) = (Instant::now(), None);
    loop {
        let row: Option<Look> = sql_query(looks).get_result(connection).optional().unwrap();
        match (row, &before) {
            (Some(row), None) => before = Some(row.value),
            (Some(row), Some(before)) if row.value != *before => return,
            _ => {}
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the reader does not look"
        );
        tokio::task::yield_now().await;
    }
}

#[derive(QueryableByName)]
struct Look {
    #[diesel(sql_type = Text)]
    value: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_at_rest_asks_little_beside_its_looks() {
    // GIVEN an instance whose server logs what it is asked, and which has delivered something
    let sql = "do $$ begin execute format('alter database %I set log_statement = ''all''', \
               current_database()); end $$";
    let limits = Limits {
        deliver_poll_ms: 50,
        ..Limits::default()
    };
    let running =
        Running::start_with(Kind::Standard, &format!("{ROWS}; {sql}"), limits, true).await;
    let mut writer = running.database.connect();
    run(&mut writer, "update rows set v = '1' where id = 1");
    running.received(1).await;
    // WHEN nothing is left to do
    let log = Log(cluster(Kind::Standard).directory().join("server.log"));
    let before = log.looked(0, AT_REST, true).await.len();
    // THEN its stages rest, and one statement asks for all of them: what is beside it (it lives, is
    // there a change, upkeep) is less than one for every two of them, even if it is slow
    let statements = log.looked(before, WATCHED, false).await;
    let others: Vec<&String> = statements
        .iter()
        .filter(|line| !line.contains(LOOK))
        .collect();
    assert!(
        others.len() < WATCHED / 2,
        "{} others: {others:#?}",
        others.len()
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sleeping_reader_finds_what_silent_writers_wrote() {
    let limits = Limits {
        safety_poll_ms: 200,
        ..Limits::default()
    };
    let running = Running::start_with(Kind::Standard, ROWS, limits, true).await;
    let (mut writer, mut early) = (running.database.connect(), running.database.connect());
    run(&mut writer, "set rowcall.doorbell = off");
    // GIVEN a transaction that began before the cursor, and has captured nothing yet
    run(
        &mut early,
        "set rowcall.doorbell = off; begin; select pg_current_xact_id()",
    );
    until_reader_wants_bell(&mut writer).await;
    // WHEN somebody else commits and does not ring THEN it is found
    run(&mut writer, "update rows set v = '1' where id = 1");
    running.received(1).await;
    // AND so is what the earlier one commits, although the cursor is ahead of its beginning
    for _ in 0..3 {
        until_reader_looks(&mut writer).await;
    }
    run(&mut early, "update rows set v = '2' where id = 2; commit");
    running.received(2).await;
    running.stop().await;
}

#[tokio::test]
async fn a_look_reads_nothing_of_what_was_read_already() {
    // GIVEN twenty thousand changes of one transaction, which were read
    let app = rows_app("", Options::default()).await;
    app.sql("insert into rows select g from generate_series(1, 20000) g; analyze rowcall.change");
    ByHand::new(&app, 100_000).read_all();
    // WHEN the reader asks whether there is more, as its session is set up
    let mut connection = app.connect();
    let look = include_str!("../../src/capture/doorbell/look.sql");
    let read = connection.transaction(|connection| {
        connection.batch_execute("set local enable_seqscan = off")?;
        connection.batch_execute(look)?;
        sql_query(
            "select sum(pg_stat_get_xact_tuples_returned(x.indexrelid))::text as value \
             from pg_index x join pg_inherits i on i.inhrelid = x.indrelid \
             where i.inhparent = 'rowcall.change'::regclass",
        )
        .get_result::<Look>(connection)
    });
    // THEN it finds out by an index, and not from all of them
    assert_eq!(read.unwrap().value, "0");
}
