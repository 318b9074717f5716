//! What follows an attempt: the one place that maps an outcome to what happens next. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::sink::Outcome;

/// How much a wait is lengthened at most, so that what failed together does not return together.
const JITTER_SHARE_MAX: f64 = 0.1;

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was acknowledged.
    Delivered,
    /// Another attempt.
    Retry {
        /// Not before this time.
        at: DateTime<Utc>,
    },
    /// Nothing: it was given up, and is kept for replay.
    Dead,
    /// Another attempt when the owner has resumed the subscription, which is disabled.
    Disabled,
}

impl Next {
    /// Whether what waits behind the delivery may go on.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Delivered | Self::Dead)
    }
}

/// Decides what follows attempt number `attempts` that ended at `now`. `schedule[n]` is the wait
/// before attempt n + 1; `random` is between 0 and 1.
#[must_use]
pub fn next(
    outcome: &Outcome,
    attempts: u32,
    schedule: &[Duration],
    now: DateTime<Utc>,
    random: f64,
) -> Next {
    match outcome {
        Outcome::Delivered { .. } => Next::Delivered,
        // Neither time nor another attempt changes it.
        Outcome::Final { .. } => Next::Dead,
        Outcome::Gone { .. } => Next::Disabled,
        Outcome::Retry { retry_after, .. } => match schedule.get(attempts as usize) {
            None => Next::Dead,
            Some(wait) => {
                let wait = wait.mul_f64(1.0 + JITTER_SHARE_MAX * random.clamp(0.0, 1.0));
                // The receiver may ask for more patience, never for less.
                let wait = retry_after.map_or(wait, |asked| wait.max(asked));
                Next::Retry {
                    at: now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX),
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: [Duration; 3] = [
        Duration::ZERO,
        Duration::from_secs(5),
        Duration::from_secs(300),
    ];

    fn failed(retry_after: Option<u64>) -> Outcome {
        Outcome::Retry {
            status: Some(503),
            detail: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn wait_s(outcome: &Outcome, attempts: u32, random: f64) -> Option<f64> {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        match next(outcome, attempts, &SCHEDULE, now, random) {
            Next::Retry { at } => Some((at - now).as_seconds_f64()),
            _ => None,
        }
    }

    #[test]
    fn entry_n_is_the_wait_before_attempt_n() {
        assert_eq!(wait_s(&failed(None), 1, 0.0), Some(5.0));
        assert_eq!(wait_s(&failed(None), 2, 0.0), Some(300.0));
        assert_eq!(wait_s(&failed(None), 2, 1.0), Some(330.0));
        let now = DateTime::<Utc>::UNIX_EPOCH;
        assert_eq!(next(&failed(None), 3, &SCHEDULE, now, 0.0), Next::Dead);
    }

    #[test]
    fn retry_after_only_lengthens_the_wait() {
        assert_eq!(wait_s(&failed(Some(60)), 1, 0.0), Some(60.0));
        assert_eq!(wait_s(&failed(Some(1)), 1, 0.0), Some(5.0));
    }

    #[test]
    fn refusals_and_410_end_it() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let refused = Outcome::Final {
            status: None,
            detail: String::new(),
        };
        let gone = Outcome::Gone {
            status: 410,
            detail: String::new(),
        };
        assert_eq!(next(&refused, 1, &SCHEDULE, now, 0.0), Next::Dead);
        assert_eq!(next(&gone, 1, &SCHEDULE, now, 0.0), Next::Disabled);
    }
}
