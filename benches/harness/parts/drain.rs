//! Rows are changed while Rowcall is down; then it starts and delivers what it finds.
//!
//! The deliveries are as many whatever the number of receivers: each change goes to all of them, so
//! fewer rows are changed.

use rowcall::clock::Clock;

use super::synchronous;
use crate::{Run, bed::Bed, inbox::Received, process::Usage};

/// Rows whose changes become events of about 450 bytes, and of 4 KB.
const SMALL: usize = 0;
const LARGE: usize = 1_800;

/// Measures small events to each number of receivers, and large ones to one.
pub(crate) fn measure(run: &mut Run<'_>) {
    for receivers in run.settings.receivers.clone() {
        measure_one(run, receivers, SMALL, "small");
    }
    measure_one(run, 1, LARGE, "large");
}

fn measure_one(run: &mut Run<'_>, receivers: usize, note_bytes: usize, size: &str) {
    let rows = run.settings.deliveries / receivers;
    let site = run
        .bed
        .site(&table(rows, note_bytes), &synchronous(run.bed, receivers));
    site.prepare();
    site.execute(CHANGE);
    let drain = Drain::begin(run.bed);
    let instance = site.serve();
    let log = || instance.log_end();
    let received = run.bed.inbox.wait_for(rows * receivers, log);
    site.wait_for_settled();
    let usage = instance.stop();
    let name = format!("{size} events, receivers: {receivers}");
    let figures = drain.figures(run.bed, &received, usage);
    run.report.add(&name, &figures);
}

/// Rows that can be changed, as large as is wanted.
pub(crate) fn table(rows: usize, note_bytes: usize) -> String {
    format!(
        "create table public.captured (id bigint primary key, total integer, note text); \
         insert into public.captured \
             select i, 0, repeat('n', {note_bytes}) from generate_series(1, {rows}) i"
    )
}

/// Changes all of them, in one transaction.
pub(crate) const CHANGE: &str = "update public.captured set total = total + 1";

/// A drain that goes on.
pub(crate) struct Drain {
    started_us: i64,
    postgres_cpu_seconds: f64,
}

impl Drain {
    /// What is delivered from here on is a part of it.
    pub(crate) fn begin(bed: &Bed) -> Self {
        Self {
            started_us: Clock::System.now().timestamp_micros(),
            postgres_cpu_seconds: bed.postgres_cpu_seconds(),
        }
    }

    /// What it tells when all is settled. The rate counts from the first receipt; until then the
    /// program starts.
    pub(crate) fn figures(
        &self,
        bed: &Bed,
        received: &Received,
        usage: Usage,
    ) -> [(&'static str, f64); 8] {
        let (first_us, last_us) = received.span_us();
        let each_us = 1e6 / received.first_at_us.len() as f64;
        let postgres = bed.postgres_cpu_seconds() - self.postgres_cpu_seconds;
        [
            ("deliveries/s", received.rate()),
            ("first after s", (first_us - self.started_us) as f64 / 1e6),
            ("last after s", (last_us - self.started_us) as f64 / 1e6),
            ("peak MB", usage.memory_peak_mb),
            ("CPU us each", usage.cpu_seconds * each_us),
            ("Postgres us each", postgres * each_us),
            ("body bytes", received.body_bytes),
            ("repeated", received.duplicates as f64),
        ]
    }
}
