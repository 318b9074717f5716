//! One change, and many who want to know of it.

use rowcall::clock::Clock;

use super::synchronous;
use crate::{Run, figures::median, inbox::Received, schedule::TABLE};

/// How often one change is made alone.
const ALONE: usize = 5;
/// How many changes one transaction then makes.
const TOGETHER: usize = 50;

/// Measures single changes, and many at once.
pub(crate) fn measure(run: &mut Run<'_>) {
    let subscriptions = run.settings.subscriptions;
    let (alone, together) = if run.settings.is_smoke {
        (1, 2)
    } else {
        (ALONE, TOGETHER)
    };
    let site = run.bed.site(TABLE, &synchronous(run.bed, subscriptions));
    let instance = site.serve();
    let change = |first: usize, count: usize| {
        run.bed.inbox.clear();
        site.execute(&format!(
            "insert into public.captured (id) \
             select generate_series({first}, {})",
            first + count - 1
        ));
        let committed_us = Clock::System.now().timestamp_micros();
        let log = || instance.log_end();
        let received = run.bed.inbox.wait_for(count * subscriptions, log);
        site.wait_for_settled();
        (committed_us, received)
    };
    // Receivers that have not answered yet are trusted with less.
    change(0, 1);
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for id in 1..=alone {
        let (committed_us, received) = change(id, 1);
        let (first_us, last_us) = received.span_us();
        firsts.push((first_us - committed_us) as f64 / 1e3);
        lasts.push((last_us - committed_us) as f64 / 1e3);
    }
    let (committed_us, received) = change(alone + 1, together);
    let usage = instance.stop();
    let (first, last) = (median(&firsts), median(&lasts));
    let name = format!("one change, {subscriptions} subscriptions");
    run.report.add(
        &name,
        &[
            ("first after ms", first),
            ("last after ms", last),
            ("deliveries/s", subscriptions as f64 / last * 1e3),
            ("peak MB", usage.memory_peak_mb),
        ],
    );
    let name = format!("{together} changes, {subscriptions} subscriptions");
    run.report
        .add(&name, &many(committed_us, &received, usage.memory_peak_mb));
}

fn many(committed_us: i64, received: &Received, peak_mb: f64) -> [(&'static str, f64); 4] {
    let (first_us, last_us) = received.span_us();
    let seconds = (last_us - committed_us) as f64 / 1e6;
    [
        ("first after ms", (first_us - committed_us) as f64 / 1e3),
        ("last after ms", seconds * 1e3),
        ("deliveries/s", received.first_at_us.len() as f64 / seconds),
        ("peak MB", peak_mb),
    ]
}
