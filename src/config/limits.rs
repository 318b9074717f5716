//! The bounds of everything that could grow or wait, and the relations between them.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, invalid};

/// The bounds of everything that could grow or wait. Names end in their unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in the repository's pool; two more are opened for capture.
    pub connections_max: u32,
    /// Changes that one publishing transaction takes.
    pub changes_per_batch_max: usize,
    /// The largest before and after image together, in bytes; a larger change is published as a
    /// gap.
    pub value_bytes_max: u32,
    /// How long a sleeping reader trusts the doorbell before it asks by itself.
    pub safety_poll_ms: u64,
    /// How far publishing may fall behind fast writers on a busy server, for their sake.
    pub writers_first_ms: u64,
    /// Deliveries that wait for a sender in memory, at most.
    pub deliveries_in_memory_max: usize,
    /// Requests under way at once.
    pub senders_max: usize,
    /// Requests under way at once to one host.
    pub senders_per_host_max: usize,
    /// Requests under way at once to one subscription.
    pub senders_per_subscription_max: usize,
    /// Further requests under way at once, to receivers that take long.
    pub senders_slow_max: usize,
    /// Requests under way at once to one subscription whose receiver takes long.
    pub senders_per_slow_subscription_max: usize,
    /// From when on a request takes long.
    pub slow_after_ms: u64,
    /// Failures in a row from which on a receiver is left alone.
    pub breaker_failures: u32,
    /// For how long, the first time.
    pub breaker_open_ms: u64,
    /// For how long at most.
    pub breaker_open_max_ms: u64,
    /// The deadline of one request, from resolving the name to the answer's last byte.
    pub request_timeout_ms: u64,
    /// How long a claim holds; longer than a request may take.
    pub lease_ms: u64,
    /// How often one statement asks for all stages what other instances left to be done.
    pub deliver_poll_ms: u64,
    /// The largest body of one part of a digest, in bytes, unless a single item is larger.
    pub digest_part_bytes_max: usize,
    /// Items in one part of a digest.
    pub digest_part_items_max: usize,
    /// How long every attempt to a subscription must have failed until it is disabled, unless it
    /// says another time or its retry schedule takes longer.
    pub disable_after_hours: u64,
    /// How many attempts must have failed until then, at least.
    pub disable_failures_min: u32,
    /// How long what is owed to a disabled subscription is kept.
    pub backlog_age_max_hours: u64,
    /// How many deliveries are kept for a subscription that is disabled or paused.
    pub backlog_deliveries_max: u64,
    /// Groups of one digest that have parts of their own; the others share theirs.
    pub digest_groups_max: usize,
    /// Rows that one transaction reads for a subscription that starts with what exists. Of past
    /// events, as many or `changes_per_batch_max`, whichever is more.
    pub start_rows_per_chunk_max: usize,
    /// The same in bytes of JSON; one row may be larger.
    pub start_bytes_per_chunk_max: usize,
    /// Undelivered deliveries of a subscription from which on its start waits.
    pub start_undelivered_max: usize,
    /// Deliveries that one replay sends again, at most.
    pub replay_deliveries_max: usize,
    /// The fastest that one replay sends; its rate, if it is asked for without one.
    pub replay_sends_per_second_max: u32,
    /// How long changes are kept.
    pub change_retention_hours: u64,
    /// How long one leaf of the change table is written.
    pub rotation_hours: u64,
    /// The largest request body of the API, in bytes.
    pub body_bytes_max: usize,
    /// The largest event that is submitted to the API, in bytes.
    pub event_bytes_max: usize,
    /// Events that one request submits, at most.
    pub events_per_request_max: usize,
    /// Submitted events that wait to be stored, in bytes of request bodies and 1 KiB for each.
    pub events_waiting_bytes_max: usize,
    /// How long the ids of submitted events are remembered, so that one that is sent again is
    /// published once.
    pub event_accepted_days: u32,
    /// How often the conservation account is drawn up, which reads whole tables.
    pub account_interval_minutes: u32,
    /// How long stopping may take before requests under way are left to be sent again.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10,
            changes_per_batch_max: 2_000,
            value_bytes_max: 4 * 1024 * 1024,
            safety_poll_ms: 5_000,
            writers_first_ms: 10_000,
            deliveries_in_memory_max: 8_000,
            senders_max: 256,
            senders_per_host_max: 64,
            senders_per_subscription_max: 32,
            senders_slow_max: 128,
            senders_per_slow_subscription_max: 4,
            slow_after_ms: 1_000,
            breaker_failures: 10,
            breaker_open_ms: 5_000,
            breaker_open_max_ms: 5 * 60 * 1_000,
            request_timeout_ms: 15_000,
            lease_ms: 60_000,
            deliver_poll_ms: 2_000,
            digest_part_bytes_max: 1024 * 1024,
            digest_part_items_max: 10_000,
            disable_after_hours: 5 * 24,
            disable_failures_min: 10,
            backlog_age_max_hours: 14 * 24,
            backlog_deliveries_max: 1_000_000,
            digest_groups_max: 200,
            start_rows_per_chunk_max: 500,
            start_bytes_per_chunk_max: 4 * 1024 * 1024,
            start_undelivered_max: 2_000,
            replay_deliveries_max: 100_000,
            replay_sends_per_second_max: 50,
            change_retention_hours: 7 * 24,
            rotation_hours: 24,
            body_bytes_max: 1024 * 1024,
            event_bytes_max: 256 * 1024,
            events_per_request_max: 1_000,
            events_waiting_bytes_max: 64 * 1024 * 1024,
            event_accepted_days: 7,
            account_interval_minutes: 60,
            drain_ms: 10_000,
        }
    }
}

impl Limits {
    /// Limits for tests: small, so that their edges are reached.
    #[must_use]
    pub fn for_testing() -> Self {
        Self {
            connections_max: 6,
            changes_per_batch_max: 100,
            value_bytes_max: 100_000,
            request_timeout_ms: 2_000,
            lease_ms: 10_000,
            deliveries_in_memory_max: 400,
            senders_max: 16,
            senders_per_host_max: 16,
            senders_per_subscription_max: 16,
            deliver_poll_ms: 20,
            drain_ms: 2_000,
            start_rows_per_chunk_max: 7,
            start_undelivered_max: 50,
            ..Self::default()
        }
    }

    /// Checks each limit and the relations between them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("connections_max", u64::from(self.connections_max)),
            ("changes_per_batch_max", self.changes_per_batch_max as u64),
            ("value_bytes_max", u64::from(self.value_bytes_max)),
            ("safety_poll_ms", self.safety_poll_ms),
            ("writers_first_ms", self.writers_first_ms),
            (
                "deliveries_in_memory_max",
                self.deliveries_in_memory_max as u64,
            ),
            ("senders_max", self.senders_max as u64),
            ("senders_per_host_max", self.senders_per_host_max as u64),
            (
                "senders_per_subscription_max",
                self.senders_per_subscription_max as u64,
            ),
            ("senders_slow_max", self.senders_slow_max as u64),
            (
                "senders_per_slow_subscription_max",
                self.senders_per_slow_subscription_max as u64,
            ),
            ("slow_after_ms", self.slow_after_ms),
            ("breaker_failures", u64::from(self.breaker_failures)),
            ("breaker_open_ms", self.breaker_open_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("deliver_poll_ms", self.deliver_poll_ms),
            ("digest_part_items_max", self.digest_part_items_max as u64),
            ("disable_after_hours", self.disable_after_hours),
            ("disable_failures_min", u64::from(self.disable_failures_min)),
            ("backlog_age_max_hours", self.backlog_age_max_hours),
            ("backlog_deliveries_max", self.backlog_deliveries_max),
            ("digest_groups_max", self.digest_groups_max as u64),
            (
                "start_rows_per_chunk_max",
                self.start_rows_per_chunk_max as u64,
            ),
            (
                "start_bytes_per_chunk_max",
                self.start_bytes_per_chunk_max as u64,
            ),
            ("start_undelivered_max", self.start_undelivered_max as u64),
            ("replay_deliveries_max", self.replay_deliveries_max as u64),
            (
                "replay_sends_per_second_max",
                u64::from(self.replay_sends_per_second_max),
            ),
            ("rotation_hours", self.rotation_hours),
            ("body_bytes_max", self.body_bytes_max as u64),
            ("event_bytes_max", self.event_bytes_max as u64),
            ("events_per_request_max", self.events_per_request_max as u64),
            ("event_accepted_days", u64::from(self.event_accepted_days)),
            (
                "account_interval_minutes",
                u64::from(self.account_interval_minutes),
            ),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(invalid(format!(
                    "limits.{name} is 0; it must be at least 1"
                )));
            }
        }
        let relations = [
            (
                self.connections_max >= 5,
                "limits.connections_max must be at least 5: publishing, delivering, digests, upkeep \
                 and the API use connections at the same time",
            ),
            (
                self.digest_part_bytes_max >= 4_096,
                "limits.digest_part_bytes_max must be at least 4096: what is round the items takes \
                 some of it",
            ),
            (
                self.digest_groups_max <= 10_000,
                "limits.digest_groups_max must not be larger than 10000: each has a part of its own",
            ),
            (
                self.lease_ms >= 2 * self.request_timeout_ms,
                "limits.lease_ms must be at least twice limits.request_timeout_ms, or a delivery \
                 would be sent again while its request is still under way",
            ),
            (
                self.senders_per_host_max <= self.senders_max,
                "limits.senders_per_host_max must not be larger than limits.senders_max",
            ),
            (
                self.senders_per_slow_subscription_max <= self.senders_slow_max,
                "limits.senders_per_slow_subscription_max must not be larger than \
                 limits.senders_slow_max",
            ),
            (
                self.breaker_open_ms <= self.breaker_open_max_ms,
                "limits.breaker_open_ms must not be larger than limits.breaker_open_max_ms",
            ),
            (
                self.senders_max <= self.deliveries_in_memory_max,
                "limits.senders_max must not be larger than limits.deliveries_in_memory_max",
            ),
            (
                self.value_bytes_max <= 256 * 1024 * 1024,
                "limits.value_bytes_max must be at most 268435456: both images, and the event that \
                 is made of them, have to stay well under the 1 GB that Postgres allows a value",
            ),
            (
                self.start_rows_per_chunk_max <= 100_000,
                "limits.start_rows_per_chunk_max must not be larger than 100000: a chunk is published \
                 in one transaction",
            ),
            (
                self.disable_after_hours <= 366 * 24 && self.backlog_age_max_hours <= 366 * 24,
                "limits.disable_after_hours and limits.backlog_age_max_hours must not be larger than \
                 8784, a year",
            ),
            (
                self.account_interval_minutes <= 10_080,
                "limits.account_interval_minutes must not be larger than 10080, which is a week",
            ),
            (
                self.event_accepted_days <= 3_650,
                "limits.event_accepted_days must not be larger than 3650",
            ),
            (
                self.event_bytes_max <= self.body_bytes_max,
                "limits.event_bytes_max must not be larger than limits.body_bytes_max: a request \
                 holds at least one event",
            ),
            (
                self.events_waiting_bytes_max >= self.body_bytes_max.saturating_add(1_024)
                    && self.events_waiting_bytes_max <= 4_294_967_295,
                "limits.events_waiting_bytes_max must be larger than limits.body_bytes_max by 1024 \
                 or more, or the largest request would never have room, and below 4294967296",
            ),
            (
                self.change_retention_hours >= self.rotation_hours,
                "limits.change_retention_hours must not be smaller than limits.rotation_hours: \
                 changes are dropped a whole leaf at a time",
            ),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, text)) => Err(invalid(text)),
            None => Ok(()),
        }
    }

    /// The longest that a delayed delivery waits for its event's synchronous ones: an attempt, and
    /// a lease of whoever was to make it and vanished (design section 4).
    #[must_use]
    pub fn barrier(&self) -> Duration {
        self.request_timeout() + self.lease()
    }

    /// `request_timeout_ms` as a duration.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// `slow_after_ms` as a duration.
    #[must_use]
    pub fn slow_after(&self) -> Duration {
        Duration::from_millis(self.slow_after_ms)
    }

    /// `rotation_hours` as a duration.
    #[must_use]
    pub fn rotation_age(&self) -> Duration {
        hours(self.rotation_hours)
    }

    /// `change_retention_hours` as a duration.
    #[must_use]
    pub fn change_retention(&self) -> Duration {
        hours(self.change_retention_hours)
    }

    /// `writers_first_ms` as a duration.
    #[must_use]
    pub fn writers_first(&self) -> Duration {
        Duration::from_millis(self.writers_first_ms)
    }

    /// `disable_after_hours` as a duration.
    #[must_use]
    pub fn disable_after(&self) -> Duration {
        hours(self.disable_after_hours)
    }

    /// `backlog_age_max_hours` as a duration.
    #[must_use]
    pub fn backlog_age_max(&self) -> Duration {
        hours(self.backlog_age_max_hours)
    }

    /// `lease_ms` as a duration.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(3600))
}
