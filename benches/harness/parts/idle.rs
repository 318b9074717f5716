//! What Rowcall uses while there is nothing to do, and how soon it is ready.

use std::time::Duration;

use diesel::{Connection as _, PgConnection};

use super::synchronous;
use crate::{
    Run,
    bed::{Bed, execute, number},
    figures::median,
    instance::PROGRAM,
    schedule::TABLE,
    site::Site,
};

/// How often it is started on a database that it knows.
const STARTS: usize = 5;
/// By then what goes with starting is over.
const SETTLE: Duration = Duration::from_secs(5);
/// So many rows are written while nobody reads.
const UNREAD: usize = 100;

/// Measures an instance without work, and then its start.
pub(crate) fn measure(run: &mut Run<'_>) {
    let bed = Bed::make_counting();
    let site = bed.site(TABLE, &synchronous(&bed, 1));
    if bed.counts_statements {
        site.execute("create extension pg_stat_statements");
    }
    let instance = site.serve();
    // One delivery, so that it is at rest after work and not before any.
    site.execute("insert into public.captured (id) values (0)");
    bed.inbox.wait_for(1, || instance.log_end());
    let (starts, settle) = if run.settings.is_smoke {
        (1, Duration::ZERO)
    } else {
        (STARTS, SETTLE)
    };
    std::thread::sleep(settle);
    let mut listener = listen(&site);
    let seconds = f64::from(run.settings.idle_seconds);
    let before = (instance.usage(), statements(&bed, &site));
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = (instance.usage(), statements(&bed, &site));
    let cpu_seconds = after.0.cpu_seconds - before.0.cpu_seconds;
    let notified = notifications(&mut listener);
    instance.stop();
    for id in 1..=UNREAD {
        site.execute(&format!("insert into public.captured (id) values ({id})"));
    }
    let unread = notifications(&mut listener);
    drop(listener);
    let mut figures = vec![
        ("CPU %", cpu_seconds / seconds * 100.0),
        ("memory MB", after.0.memory_mb),
        ("transactions per s", (after.1.1 - before.1.1) as f64 / seconds),
        ("NOTIFYs", notified as f64),
        ("NOTIFYs unread", unread as f64),
    ];
    if bed.counts_statements {
        figures.push(("queries per s", (after.1.0 - before.1.0) as f64 / seconds));
    }
    run.report.add("idle", &figures);
    // What was written meanwhile is delivered first.
    let again = site.serve();
    bed.inbox.wait_for(1 + UNREAD, || again.log_end());
    again.stop();
    let starts: Vec<f64> = (0..starts)
        .map(|_| {
            let instance = site.serve();
            let ready_after = instance.ready_after.as_secs_f64() * 1e3;
            instance.stop();
            ready_after
        })
        .collect();
    let bytes = std::fs::metadata(PROGRAM).unwrap().len();
    run.report.add(
        "starting",
        &[
            ("ready after ms", median(&starts)),
            ("binary MB", bytes as f64 / 1e6),
        ],
    );
}

/// A session that hears what writers ring.
fn listen(site: &Site) -> PgConnection {
    let mut connection = PgConnection::establish(&site.url).unwrap();
    execute(&mut connection, "listen rowcall");
    connection
}

/// How often they rang since it was asked last.
fn notifications(listener: &mut PgConnection) -> usize {
    // What was sent before this statement was answered has arrived with it.
    execute(listener, "select 1");
    listener.notifications_iter().map(Result::unwrap).count()
}

/// Statements and transactions of this database so far, the question itself left out as far as
/// the server can tell.
fn statements(bed: &Bed, site: &Site) -> (i64, i64) {
    let mut connection = site.connection();
    let calls = if bed.counts_statements {
        number(
            &mut connection,
            "select coalesce(sum(s.calls), 0)::bigint as value from pg_stat_statements s, pg_database d \
             where d.oid = s.dbid and d.datname = current_database() \
                 and s.query not like '%pg_stat_%'",
        )
    } else {
        0
    };
    let transactions = number(
        &mut connection,
        "select xact_commit + xact_rollback as value from pg_stat_database \
         where datname = current_database()",
    );
    (calls, transactions)
}
