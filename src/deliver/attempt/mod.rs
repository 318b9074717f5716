//! Attempts, as they are written: of deliveries, and of what is sent again.

pub mod store;

use uuid::Uuid;

use self::store::NewAttempt;
use super::send::Done;

/// How much of an attempt's detail is kept, in characters. Some of it comes from the receiver.
const DETAIL_CHARS_MAX: usize = 1_000;

impl Done {
    /// The attempt that it was, if there was one, as one of `of`.
    pub(crate) fn attempt_of(&self, of: Uuid) -> Option<NewAttempt> {
        let Self::Tried(tried) = self else {
            return None;
        };
        Some(NewAttempt {
            of,
            number: i32::try_from(tried.delivery.attempts + 1).unwrap_or(i32::MAX),
            started_at: tried.started_at,
            duration_ms: i32::try_from(tried.duration.as_millis()).unwrap_or(i32::MAX),
            outcome: tried.outcome(),
            status: tried.status.map(i32::from),
            detail: tried.detail.as_deref().map(kept),
            answer: tried.answer.clone(),
        })
    }
}

/// What of a detail Postgres can hold, bounded: a result that can't be written would hold up all
/// others.
fn kept(detail: &str) -> String {
    detail
        .chars()
        .filter(|letter| *letter != '\0')
        .take(DETAIL_CHARS_MAX)
        .collect()
}
