//! Time as Rowcall sees it: the system's, or one that tests move by hand.
//!
//! This is the only caller of the wall clock. Everything else is passed `now`, so that a test can
//! live through ten hours of retries in a millisecond. Waiting inside an attempt (timeouts, leases
//! seen from the sender) uses tokio's monotonic clock instead: a wall clock that is set back must
//! not lengthen it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A source of the current time; clones share it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Stands still until it is moved; for tests.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A manual clock that shows `start`.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(Mutex::new(start)))
    }

    /// The current time, in whole microseconds: Postgres keeps no more, and a time that was stored
    /// and read again must equal itself.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the wall clock"
            )]
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward by `step`; the system's clock is left alone.
    pub fn advance(&self, step: TimeDelta) {
        if let Self::Manual(time) = self {
            *time.lock().unwrap_or_else(PoisonError::into_inner) += step;
        }
    }
}
