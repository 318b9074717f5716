//! What is kept for subscriptions that are sent nothing is bounded.
//!
//! A disabled subscription keeps what is at most so old and at most so much. A paused one keeps it
//! however old it is, for its owner will come back, but no more of it. What is beyond is cancelled,
//! the oldest first; it has its number, so that the numbers stay without a gap.

mod store;

use chrono::{DateTime, TimeDelta, Utc};

use self::store::{Beyond, backlog_beyond_age, backlog_beyond_count, delivery_cancel};
use super::{Upkeep, UpkeepError};
use crate::{db::Connection, registry::registry_share};

/// Deliveries that one transaction cancels.
const CANCELLED_MAX: i64 = 5_000;

/// Why a delivery of a backlog was cancelled; `None`: for no such reason.
#[must_use]
pub fn cancelled_because(cancelled_by: Option<&str>) -> Option<&'static str> {
    match cancelled_by? {
        "backlog_age" => Some(
            "its subscription was disabled for longer than its backlog is kept \
             (limits.backlog_age_max_hours)",
        ),
        "backlog_count" => Some(
            "its subscription was disabled or paused, and its backlog was larger than is kept \
             (limits.backlog_deliveries_max)",
        ),
        _ => None,
    }
}

impl Upkeep {
    pub(super) async fn backlogs(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let age = TimeDelta::from_std(self.limits.backlog_age_max()).unwrap_or(TimeDelta::MAX);
        let before = now - age;
        let count = i64::try_from(self.limits.backlog_deliveries_max).unwrap_or(i64::MAX);
        let barrier_ends =
            now + TimeDelta::from_std(self.limits.barrier()).unwrap_or(TimeDelta::MAX);
        self.database
            .transaction(move |connection| {
                // A subscription that is resumed at this moment is active before the look below, or
                // its owner finds what is left.
                registry_share(connection)?;
                let old = backlog_beyond_age(connection, before, CANCELLED_MAX)?;
                let aged = cancel(connection, &old, "backlog_age", barrier_ends, now)?;
                let many = backlog_beyond_count(connection, count, CANCELLED_MAX)?;
                let counted = cancel(connection, &many, "backlog_count", barrier_ends, now)?;
                Ok(aged + counted)
            })
            .await
    }
}

fn cancel(
    connection: &mut Connection,
    beyond: &[Beyond],
    why: &'static str,
    barrier_ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<usize, UpkeepError> {
    let cancelled = delivery_cancel(connection, beyond, why, barrier_ends, now)?;
    if cancelled > 0 {
        tracing::warn!(cancelled, why, "a backlog was larger or older than is kept");
    }
    Ok(cancelled)
}
