//! What follows an attempt: the one place that maps an outcome to what happens next. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    sink::Outcome,
    subscription::retry::{JITTER_SHARE_MAX, RetrySpec},
};

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
    /// Nothing: the next attempt would have come later than deliveries to this subscription are
    /// tried. It is kept for replay, too.
    TooOld,
    /// Another attempt when the owner has resumed the subscription, which is disabled.
    Disabled,
}

impl Next {
    /// Whether what waits behind the delivery may go on.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        *self == Self::Delivered || self.is_dead()
    }

    /// Whether it was given up, for whichever reason.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self, Self::Dead | Self::TooOld)
    }
}

/// The attempts that a delivery has had.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// How many, the last one included.
    pub count: u32,
    /// When the first of them began.
    pub first_at: DateTime<Utc>,
    /// When the last of them ended.
    pub last_at: DateTime<Utc>,
}

/// Decides what follows the last one of `tries`. `random` is between 0 and 1.
#[must_use]
pub fn next(outcome: &Outcome, tries: Tries, retry: &RetrySpec, random: f64) -> Next {
    match outcome {
        Outcome::Delivered { .. } => Next::Delivered,
        // Neither time nor another attempt changes it.
        Outcome::Final { .. } => Next::Dead,
        Outcome::Gone { .. } => Next::Disabled,
        Outcome::Retry { retry_after, .. } => match retry.schedule.get(tries.count as usize) {
            None => Next::Dead,
            Some(wait) => again(*wait, *retry_after, tries, retry, random),
        },
    }
}

/// When a delivery is tried again after `wait` by the schedule, if it is.
fn again(
    wait: Duration,
    asked: Option<Duration>,
    tries: Tries,
    retry: &RetrySpec,
    random: f64,
) -> Next {
    let wait = wait.mul_f64(1.0 + JITTER_SHARE_MAX * random.clamp(0.0, 1.0));
    let past = (tries.last_at - tries.first_at)
        .to_std()
        .unwrap_or_default();
    // An attempt may have come later than it was to: then nothing is left, however short the wait.
    if past.saturating_add(wait) > retry.given_up_after() {
        return Next::TooOld;
    }
    let left = retry.given_up_after().saturating_sub(past);
    // The receiver may ask for more patience, never for less, and not for more than there is.
    let wait = asked.map_or(wait, |asked| wait.max(asked.min(left)));
    Next::Retry {
        at: tries.last_at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;

    fn retry(waits_s: &[u64], give_up_after_s: Option<u64>) -> RetrySpec {
        RetrySpec {
            schedule: waits_s.iter().copied().map(Duration::from_secs).collect(),
            give_up_after: give_up_after_s.map(Duration::from_secs),
            ..RetrySpec::default()
        }
    }

    fn failed(retry_after: Option<u64>) -> Outcome {
        Outcome::Retry {
            status: Some(503),
            detail: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// After `count` attempts, the first of which began `past_s` seconds before the last one ended.
    fn after(count: u32, past_s: i64) -> Tries {
        Tries {
            count,
            first_at: NOW - TimeDelta::seconds(past_s),
            last_at: NOW,
        }
    }

    fn wait_s(outcome: &Outcome, count: u32, random: f64) -> Option<f64> {
        let retry = retry(&[0, 5, 300], None);
        match next(outcome, after(count, 10), &retry, random) {
            Next::Retry { at } => Some((at - NOW).as_seconds_f64()),
            _ => None,
        }
    }

    #[test]
    fn an_attempt_that_came_later_than_the_last_moment_was_the_last() {
        let retry = retry(&[0, 0, 0, 0], Some(60));
        for (past_s, expected) in [(60, Next::Retry { at: NOW }), (61, Next::TooOld)] {
            assert_eq!(
                next(&failed(Some(5)), after(2, past_s), &retry, 0.0),
                expected
            );
        }
    }

    #[test]
    fn entry_n_is_the_wait_before_attempt_n() {
        assert_eq!(wait_s(&failed(None), 1, 0.0), Some(5.0));
        assert_eq!(wait_s(&failed(None), 2, 0.0), Some(300.0));
        assert_eq!(wait_s(&failed(None), 2, 1.0), Some(330.0));
        let retry = retry(&[0, 5, 300], None);
        assert_eq!(next(&failed(None), after(3, 10), &retry, 0.0), Next::Dead);
    }

    #[test]
    fn jitter_lengthens_by_a_tenth_at_most_and_never_shortens() {
        for random in [-1.0, 0.0, 0.3, 0.999, 1.0, 7.0] {
            let wait = wait_s(&failed(None), 2, random).unwrap();
            assert!((300.0..=330.0).contains(&wait), "{random}: {wait}");
        }
    }

    #[test]
    fn retry_after_only_lengthens_the_wait() {
        assert_eq!(wait_s(&failed(Some(60)), 1, 0.0), Some(60.0));
        assert_eq!(wait_s(&failed(Some(1)), 1, 0.0), Some(5.0));
        assert_eq!(wait_s(&failed(Some(0)), 1, 0.0), Some(5.0));
    }

    #[test]
    fn no_attempt_begins_later_than_it_is_given_up() {
        let hour = 3_600;
        for (give_up_after, past, asked, expected) in [
            // By the schedule it is tried 300 s later.
            (Some(hour), 0, None, Some(300)),
            (Some(hour), 3_300, None, Some(300)),
            (Some(hour), 3_301, None, None),
            (Some(hour), 100 * hour, None, None),
            // What the receiver asks for is cut to what is left, and ends nothing.
            (Some(hour), 0, Some(86_400), Some(3_600)),
            (Some(hour), 3_000, Some(86_400), Some(600)),
            (Some(hour), 3_000, Some(400), Some(400)),
            // A first attempt that began in the future, by a clock that was set back, is no age.
            (Some(hour), -50, None, Some(300)),
            // Five days, if nothing is said, or what the schedule takes.
            (None, 5 * 86_400 - 300, None, Some(300)),
            (None, 5 * 86_400 - 299, None, None),
        ] {
            let retry = retry(&[0, 5, 300], give_up_after.map(|seconds| seconds as u64));
            let found = next(&failed(asked), after(2, past), &retry, 0.0);
            let expected = expected.map_or(Next::TooOld, |wait| Next::Retry {
                at: NOW + TimeDelta::seconds(wait),
            });
            assert_eq!(found, expected, "{give_up_after:?} {past} {asked:?}");
        }
        // A schedule of weeks is followed to its end, with all its jitter.
        let weeks = retry(&[0, 604_800, 604_800], None);
        let past = 605_000 * 11 / 10;
        assert!(matches!(
            next(&failed(None), after(2, past), &weeks, 1.0),
            Next::Retry { .. }
        ));
    }

    #[test]
    fn refusals_and_410_end_it() {
        let refused = Outcome::Final {
            status: None,
            detail: String::new(),
        };
        let gone = Outcome::Gone {
            status: 410,
            detail: String::new(),
        };
        let retry = retry(&[0, 5, 300], None);
        assert_eq!(next(&refused, after(1, 0), &retry, 0.0), Next::Dead);
        assert_eq!(next(&gone, after(1, 0), &retry, 0.0), Next::Disabled);
        // Whatever its age, what was acknowledged is delivered.
        let delivered = Outcome::Delivered { status: 204 };
        let late = after(9, i64::from(i32::MAX));
        assert_eq!(next(&delivered, late, &retry, 0.0), Next::Delivered);
    }
}
