//! Commits at times that were fixed beforehand.
//!
//! Each has its moment, whatever became of the ones before it. Latencies count from that moment: if
//! the server, or what runs beside it, makes the writers late, that is in the figures and not left
//! out, as it would be if the next commit waited for the last.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::clock::Clock;

use crate::{bed::execute, settings::Settings};

/// Time until the first commit, by when all writers wait for it.
const LEAD: Duration = Duration::from_millis(50);

/// One commit, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commit {
    /// When it was to be.
    pub(crate) due_us: i64,
    /// When its writer knew of it.
    pub(crate) done_us: i64,
}

/// What is written, and how fast.
pub(crate) struct Schedule {
    pub(crate) rate: u32,
    /// How many commits are not measured.
    pub(crate) warm: usize,
    /// All of them.
    pub(crate) count: usize,
    writers: usize,
}

impl Schedule {
    pub(crate) fn of(settings: &Settings, rate: u32) -> Self {
        let commits = |seconds: u32| (rate * seconds) as usize;
        let warm = commits(settings.warm_seconds);
        Self {
            rate,
            warm,
            count: warm + commits(settings.seconds),
            writers: settings.writers,
        }
    }

    /// Inserts rows with the ids from 0 into `public.captured`, each in a transaction of its own.
    pub(crate) fn write(&self, url: &str) -> Vec<Commit> {
        let commits = Mutex::new(vec![Commit::default(); self.count]);
        let next = AtomicUsize::new(0);
        let connections: Vec<_> = (0..self.writers).map(|_| connect(url)).collect();
        let start = Instant::now() + LEAD;
        let start_us = Clock::System.now().timestamp_micros() + LEAD.as_micros() as i64;
        std::thread::scope(|scope| {
            for mut connection in connections {
                let (commits, next) = (&commits, &next);
                scope.spawn(move || {
                    loop {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if id >= self.count {
                            return;
                        }
                        let offset = Duration::from_secs_f64(id as f64 / f64::from(self.rate));
                        let wait = (start + offset).saturating_duration_since(Instant::now());
                        std::thread::sleep(wait);
                        connection
                            .batch_execute(&format!("execute write ({id})"))
                            .unwrap();
                        let commit = Commit {
                            due_us: start_us + offset.as_micros() as i64,
                            done_us: Clock::System.now().timestamp_micros(),
                        };
                        commits.lock().unwrap()[id] = commit;
                    }
                });
            }
        });
        commits.into_inner().unwrap()
    }
}

/// The table that is written, for a site.
pub(crate) const TABLE: &str = "create table public.captured (id bigint primary key, status text, \
     customer integer, total numeric(12, 2), note text, placed_at timestamptz, region text)";

fn connect(url: &str) -> PgConnection {
    let mut connection = PgConnection::establish(url).unwrap();
    execute(
        &mut connection,
        "prepare write (bigint) as insert into public.captured \
         values ($1, 'new', $1 % 1000, $1, repeat('n', 100), now(), 'EU')",
    );
    connection
}
