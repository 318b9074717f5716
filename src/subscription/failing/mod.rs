//! Subscriptions whose attempts all fail: since when, how often, and why the last one did.
//!
//! Kept only while it is so: an attempt that fails writes a row, the first that is acknowledged
//! removes it, and where nothing fails nothing is written.

pub mod store;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How much is kept of why an attempt failed, in characters.
pub const DETAIL_CHARS_MAX: usize = 1_000;

/// Attempts to one subscription that failed, without one that did not in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The subscription.
    pub subscription_id: Uuid,
    /// When the first of them began.
    pub since: DateTime<Utc>,
    /// When the last of them ended.
    pub last_at: DateTime<Utc>,
    /// How many they are.
    pub failures: i64,
    /// Why the last one failed, in our words.
    pub last_detail: String,
}

impl Failing {
    /// One attempt that failed.
    #[must_use]
    pub fn attempt(
        subscription_id: Uuid,
        began: DateTime<Utc>,
        ended: DateTime<Utc>,
        detail: &str,
    ) -> Self {
        Self {
            subscription_id,
            since: began,
            last_at: ended.max(began),
            failures: 1,
            last_detail: bounded(detail),
        }
    }

    /// Adds another attempt, or several.
    pub fn add(&mut self, other: Self) {
        self.since = self.since.min(other.since);
        self.failures += other.failures;
        if other.last_at >= self.last_at {
            self.last_at = other.last_at;
            self.last_detail = other.last_detail;
        }
    }
}

/// What of a detail is kept and told.
pub(super) fn bounded(detail: &str) -> String {
    let letters = detail.chars().filter(|letter| *letter != '\0');
    letters.take(DETAIL_CHARS_MAX).collect()
}
