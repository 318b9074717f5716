//! What Rowcall uses while there is nothing to do, and how soon it is ready.

use std::time::Duration;

use diesel::{Connection as _, PgConnection};

use super::synchronous;
use crate::{
    Run,
    bed::{Bed, execute},
    figures::median,
    instance::{Instance, PROGRAM},
    process::Usage,
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
    let before = Reading::take(&bed, &site, &instance);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = Reading::take(&bed, &site, &instance);
    let per_second = |of: fn(&Reading) -> f64| (of(&after) - of(&before)) / seconds;
    let idle = notifications(&mut listener);
    // That the listener hears anything at all: this wakes the reader.
    site.execute("insert into public.captured (id) values (-1)");
    bed.inbox.wait_for(2, || instance.log_end());
    let waking = notifications(&mut listener);
    instance.stop();
    for id in 1..=UNREAD {
        site.execute(&format!("insert into public.captured (id) values ({id})"));
    }
    let unread = notifications(&mut listener);
    drop(listener);
    let mut figures = vec![
        ("CPU %", per_second(|one| one.usage.cpu_seconds) * 100.0),
        ("memory MB", after.usage.memory_mb),
        ("transactions per s", per_second(|one| one.transactions)),
        ("NOTIFYs idle", idle as f64),
        ("NOTIFYs waking", waking as f64),
        ("NOTIFYs unread", unread as f64),
    ];
    if bed.counts_statements {
        figures.push(("queries per s", per_second(|one| one.statements)));
    }
    run.report.add("idle", &figures);
    // What was written meanwhile is delivered first.
    let again = site.serve();
    bed.inbox.wait_for(2 + UNREAD, || again.log_end());
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

/// What was used until a moment.
struct Reading {
    usage: Usage,
    /// Of this database, without those that read this.
    statements: f64,
    /// Of this database.
    transactions: f64,
}

impl Reading {
    fn take(bed: &Bed, site: &Site, instance: &Instance) -> Self {
        let statements = if bed.counts_statements {
            site.number(
                "select coalesce(sum(s.calls), 0)::bigint as value \
                 from pg_stat_statements s, pg_database d \
                 where d.oid = s.dbid and d.datname = current_database() \
                     and s.query not like '%pg_stat_%'",
            )
        } else {
            0
        };
        let transactions = site.number(
            "select xact_commit + xact_rollback as value from pg_stat_database \
             where datname = current_database()",
        );
        Self {
            usage: instance.usage(),
            statements: statements as f64,
            transactions: transactions as f64,
        }
    }
}
