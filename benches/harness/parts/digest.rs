//! Many changes of many objects, told by one digest.
//!
//! It closes because it is full, so that it closes when the last change was published. What it
//! tells is counted: each change once, each object once.

use std::collections::HashSet;

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::BigInt};
use serde_json::Value;

use super::{CATALOGUE, drain, subscription};
use crate::{Run, bed::texts, site::Site};

/// Measures one digest.
pub(crate) fn measure(run: &mut Run<'_>) {
    let (changes, objects) = (run.settings.digest_changes, run.settings.digest_objects);
    assert_eq!(changes % objects, 0, "each object changes as often");
    let batch = subscription(run.bed, 0, "batch");
    let schedule = format!("schedule = {{ max_items = {changes} }}\n");
    let metadata = CATALOGUE.to_owned() + &batch + &schedule;
    let site = run.bed.site(&drain::table(objects, 0), &metadata);
    site.prepare();
    for _ in 0..changes / objects {
        site.execute(drain::CHANGE);
    }
    let started_us = rowcall::clock::Clock::System.now().timestamp_micros();
    let instance = site.serve();
    instance.wait_for_published(changes);
    let gathering = instance.usage();
    site.wait_for_none("select count(*) as value from rowcall.digest where state = 'closed'");
    let digest: Digest = sql_query(
        "select (extract(epoch from closed_at) * 1000000)::bigint as closed_us, \
             events, parts::bigint as parts \
         from rowcall.digest where state = 'condensed'",
    )
    .get_result(&mut *site.connection())
    .unwrap();
    let log = || instance.log_end();
    let received = run.bed.inbox.wait_for(digest.parts as usize, log);
    site.wait_for_settled();
    let usage = instance.stop();
    assert_eq!(
        told(&site),
        (changes, objects),
        "changes and objects, of {changes} and {objects}"
    );
    assert_eq!(digest.events, changes as i64);
    let (first_us, last_us) = received.span_us();
    let after = |at_us: i64, since_us: i64| (at_us - since_us) as f64 / 1e6;
    let gathered = after(digest.closed_us, started_us);
    run.report.add(
        &format!("{changes} changes of {objects} objects"),
        &[
            ("gathered/s", changes as f64 / gathered),
            ("first after s", after(first_us, digest.closed_us)),
            ("closed in s", after(last_us, digest.closed_us)),
            ("parts", digest.parts as f64),
            ("gathering MB", gathering.memory_peak_mb),
            ("peak MB", usage.memory_peak_mb),
        ],
    );
}

#[derive(QueryableByName)]
struct Digest {
    #[diesel(sql_type = BigInt)]
    closed_us: i64,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    parts: i64,
}

/// How many changes its parts tell of, and of how many objects.
fn told(site: &Site) -> (usize, usize) {
    let query = "select body as value from rowcall.digest_part";
    let (mut changes, mut objects) = (0, HashSet::new());
    for body in texts(&mut site.connection(), query) {
        let body: Value = serde_json::from_str(&body).unwrap();
        for of_type in body["data"]["events"].as_array().unwrap() {
            for key in of_type["keys"].as_array().unwrap() {
                changes += key["count"].as_u64().unwrap() as usize;
                objects.insert(key["key"].to_string());
            }
        }
    }
    (changes, objects.len())
}
