//! Stored changes are published by an instance that does not deliver; then what is pending is
//! delivered. Both should take their time and memory whatever their number.

use super::{
    drain::{self, Drain},
    synchronous,
};
use crate::{Run, instance::Instance, site::Site};

/// Measures each size.
pub(crate) fn measure(run: &mut Run<'_>) {
    for backlog in run.settings.backlogs.clone() {
        measure_one(run, backlog);
    }
}

fn measure_one(run: &mut Run<'_>, backlog: usize) {
    let site = run
        .bed
        .site(&drain::table(backlog, 0), &synchronous(run.bed, 1));
    site.prepare();
    site.execute(drain::CHANGE);
    // Statistics as they will be on a server that has had the changes for a while.
    site.execute("analyze");
    let publishing = Instance::start(&site, "api,publish");
    publishing.wait_for_published(backlog);
    let usage = publishing.stop();
    let name = |what: &str| format!("{backlog} {what}");
    run.report.add(
        &name("stored changes"),
        &[
            ("published/s", published_per_second(&site)),
            ("peak MB", usage.memory_peak_mb),
        ],
    );
    let begun = Drain::begin(run.bed);
    let delivering = site.serve();
    let log = || delivering.log_end();
    let received = run.bed.inbox.wait_for(backlog, log);
    site.wait_for_settled();
    let usage = delivering.stop();
    let figures = begun.figures(run.bed, &received, usage);
    run.report.add(&name("pending deliveries"), &figures);
}

/// Events carry the time at which the run began that published them; so from the first run to the
/// last, all are published but those of the last. Starting and stopping are not in it.
fn published_per_second(site: &Site) -> f64 {
    let events = site.number(
        "select count(*) as value from rowcall.event \
         where published_at < (select max(published_at) from rowcall.event)",
    );
    let span_us = site.number(
        "select (extract(epoch from max(published_at) - min(published_at)) * 1000000)::bigint \
             as value from rowcall.event",
    );
    events as f64 / (span_us as f64 / 1e6)
}
