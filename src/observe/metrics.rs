//! The names of all metrics, and their text for Prometheus.
//!
//! A name is used through its constant, so that this file is the list of them. Labels have few
//! values: never an id, a key, or a name that callers choose.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Counter: answers of the API, by `route`, `method` and `status`.
pub const API_REQUESTS: &str = "rowcall_api_requests_total";
/// Counter: row changes that were read and published.
pub const CHANGES_PUBLISHED: &str = "rowcall_changes_published_total";
/// Counter: row changes that were copied from other databases.
pub const CHANGES_COPIED: &str = "rowcall_changes_copied_total";
/// Counter: events that were published.
pub const EVENTS_PUBLISHED: &str = "rowcall_events_published_total";
/// Counter: deliveries that were written.
pub const DELIVERIES_CREATED: &str = "rowcall_deliveries_created_total";
/// Counter: attempts that ended, by `outcome`: delivered, retry or dead.
pub const ATTEMPTS: &str = "rowcall_attempts_total";
/// Counter: heartbeats that were sent, by `outcome`: acknowledged or failed.
pub const HEARTBEATS: &str = "rowcall_heartbeats_total";
/// Counter: attempts of replays that ended, by `outcome`, as above.
pub const REPLAY_ATTEMPTS: &str = "rowcall_replay_attempts_total";
/// Counter: how often a receiver failed so often that it was left alone for a time.
pub const BREAKERS_OPENED: &str = "rowcall_breakers_opened_total";
/// Counter: conditions that could not be judged, by `kind`: event_type, filter, constraint, or
/// group_by, which then counts as null.
pub const CONDITIONS_FAILED: &str = "rowcall_conditions_failed_total";
/// Histogram, in seconds: how long attempts took.
pub const ATTEMPT_SECONDS: &str = "rowcall_attempt_seconds";
/// Counter: digests whose windows were closed by time or end; those that were full are not counted.
pub const DIGESTS_CLOSED: &str = "rowcall_digests_closed_total";
/// Counter: parts of digests that were written.
pub const DIGEST_PARTS: &str = "rowcall_digest_parts_total";
/// Counter: events of digests that are in no part, because what was done was undone or unwanted.
pub const DIGEST_EVENTS_VANISHED: &str = "rowcall_digest_events_vanished_total";
/// Gauge, in seconds: how long ago the digest was closed that waits longest for its parts; 0 if
/// none does.
pub const DIGEST_OLDEST_CLOSED: &str = "rowcall_digest_oldest_closed_seconds";
/// Counter: how often the reader fell asleep and asked the writers to ring.
pub const READER_SLEEPS: &str = "rowcall_reader_sleeps_total";
/// Gauge: conditions that can't be judged as the tables are now, by `kind`: event_type, filter,
/// group_by or constraint.
pub const SUSPENDED: &str = "rowcall_suspended";
/// Gauge: changes and pairs that are missing in the conservation account, or too many.
pub const ACCOUNT_IMBALANCE: &str = "rowcall_account_imbalance";
/// Gauge, in seconds since 1970: when the account was drawn up.
pub const ACCOUNT_AT: &str = "rowcall_account_at_seconds";
/// Gauge: changes, by `what`: captured, published or unread.
pub const ACCOUNT_CHANGES: &str = "rowcall_account_changes";
/// Gauge: pairs of event and subscription, by `what`: matched, or what became of them.
pub const ACCOUNT_PAIRS: &str = "rowcall_account_pairs";

/// Upper bounds of [`ATTEMPT_SECONDS`]: from a receiver beside us to one that times out.
const SECONDS_BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to record; what was counted before is lost. Does nothing the second time.
pub fn install() {
    recorder();
}

/// All metrics in Prometheus' text format.
#[must_use]
pub fn render() -> String {
    recorder().map(PrometheusHandle::render).unwrap_or_default()
}

/// Frees what histograms gathered; to be called every few seconds while nobody asks for them.
pub fn tidy() {
    if let Some(handle) = recorder() {
        handle.run_upkeep();
    }
}

fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets(&SECONDS_BOUNDS)
                .inspect_err(|error| tracing::error!(%error, "the bounds of histograms are wrong"))
                .ok()?
                .build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
                return None;
            }
            describe();
            Some(handle)
        })
        .as_ref()
}

fn describe() {
    describe_counter!(API_REQUESTS, "Answers of the API");
    describe_counter!(
        CHANGES_PUBLISHED,
        "Row changes that were read and published"
    );
    describe_counter!(
        CHANGES_COPIED,
        "Row changes that were copied from other databases"
    );
    describe_counter!(EVENTS_PUBLISHED, "Events that were published");
    describe_counter!(DELIVERIES_CREATED, "Deliveries that were written");
    describe_counter!(ATTEMPTS, "Attempts that ended");
    describe_counter!(HEARTBEATS, "Heartbeats that were sent");
    describe_counter!(REPLAY_ATTEMPTS, "Attempts of replays that ended");
    describe_counter!(
        BREAKERS_OPENED,
        "How often a receiver was left alone for a time"
    );
    describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, "How long attempts took");
    describe_counter!(DIGESTS_CLOSED, "Digests closed by time or end");
    describe_counter!(DIGEST_PARTS, "Parts of digests that were written");
    describe_counter!(
        DIGEST_EVENTS_VANISHED,
        "Events of digests that are in no part"
    );
    describe_gauge!(
        DIGEST_OLDEST_CLOSED,
        Unit::Seconds,
        "How long a closed digest waits for its parts"
    );
    describe_counter!(READER_SLEEPS, "How often the reader fell asleep");
    describe_gauge!(
        ACCOUNT_IMBALANCE,
        "Changes and pairs that the account misses or has too many"
    );
    describe_gauge!(
        ACCOUNT_AT,
        Unit::Seconds,
        "When the account was drawn up, since 1970"
    );
    describe_gauge!(ACCOUNT_CHANGES, "Changes in the account");
    describe_gauge!(
        ACCOUNT_PAIRS,
        "Pairs of event and subscription in the account"
    );
    describe_gauge!(SUSPENDED, "Conditions that can't be judged now");
}
