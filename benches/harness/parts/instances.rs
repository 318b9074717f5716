//! The same drain by one instance and by several.

use super::{
    drain::{self, Drain},
    synchronous,
};
use crate::{
    Run,
    instance::{Instance, ROLES},
    process::Usage,
};

/// So many receivers give each instance enough that it may send at the same time.
const RECEIVERS: usize = 10;

/// Measures each number of instances.
pub(crate) fn measure(run: &mut Run<'_>) {
    for instances in run.settings.instances.clone() {
        measure_one(run, instances);
    }
}

fn measure_one(run: &mut Run<'_>, count: usize) {
    let rows = run.settings.deliveries / RECEIVERS;
    let site = run
        .bed
        .site(&drain::table(rows, 0), &synchronous(run.bed, RECEIVERS));
    site.prepare();
    site.execute(drain::CHANGE);
    let begun = Drain::begin(run.bed);
    // All at the same time, so that none has what there is to do to itself.
    let spawned = (0..count).map(|_| Instance::spawn(&site, ROLES));
    let mut instances: Vec<Instance> = spawned.collect();
    instances.iter_mut().for_each(Instance::wait_until_ready);
    let log = || instances[0].log_end();
    let received = run.bed.inbox.wait_for(rows * RECEIVERS, log);
    site.wait_for_settled();
    let mut whole = Usage::default();
    for usage in instances.drain(..).map(Instance::stop) {
        whole.memory_peak_mb = whole.memory_peak_mb.max(usage.memory_peak_mb);
        whole.cpu_seconds += usage.cpu_seconds;
    }
    let figures = begun.figures(run.bed, &received, whole);
    run.report.add(&format!("instances: {count}"), &figures);
}
