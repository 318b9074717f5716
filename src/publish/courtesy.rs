//! Courtesy: publishing makes way for the writers while the server is busy.
//!
//! To publish and deliver a change costs the machine more than to write it. On a machine of their
//! own that is nobody's loss; on the writers' machine it is theirs. So while changes are written
//! fast and the server answers slowly, publishing pauses for several times as long as it worked:
//! what is written gathers, larger batches cost less a change, and the rest is caught up with when
//! the writers pause. But never by more than a stated time: who writes so for ever has subscribers,
//! too.

use std::time::Duration;

/// So many times its quickest answer is a slow one: those who are ready to run wait for each other.
const SLOW_TIMES: f64 = 4.0;
/// An answer that comes faster than this is as good as any.
const QUICKEST_MIN_S: f64 = 50e-6;
/// By how much the quickest answer is forgotten with each run, so that it becomes that of the
/// present server.
const FORGOTTEN: f64 = 1.000_02;
/// The weight of the last answer among those before it.
const LAST_WEIGHT: f64 = 0.2;
/// The pause, in times of the run before it.
const PAUSE_TIMES: u32 = 3;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// What a publishing run saw.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How long the server took for a statement that finds one row by its key.
    pub answered_in: Duration,
    /// How long the run took.
    pub ran_for: Duration,
    /// How long ago the first change of the batch was made.
    pub behind: Duration,
    /// Whether changes are written fast, now: what waits since longer is nobody's hurry.
    pub is_fast: bool,
}

/// How slow the server's answers are.
#[derive(Debug)]
pub struct Courtesy {
    behind_max: Duration,
    /// Seconds; none before the first answer.
    quickest: Option<f64>,
    /// Times the quickest.
    slowness: f64,
}

impl Courtesy {
    /// Makes way as long as publishing is behind by less than `behind_max`; never, if that is zero.
    #[must_use]
    pub fn new(behind_max: Duration) -> Self {
        Self {
            behind_max,
            quickest: None,
            slowness: 1.0,
        }
    }

    /// How long to pause after a run that published something.
    pub fn pause(&mut self, seen: Seen) -> Duration {
        let answered = seen.answered_in.as_secs_f64().max(QUICKEST_MIN_S);
        let quickest = self
            .quickest
            .map_or(answered, |quickest| answered.min(quickest * FORGOTTEN));
        self.quickest = Some(quickest);
        self.slowness += LAST_WEIGHT * (answered / quickest - self.slowness);
        let makes_way =
            seen.is_fast && self.slowness >= SLOW_TIMES && seen.behind < self.behind_max;
        if !makes_way {
            return Duration::ZERO;
        }
        // Not beyond what it may be behind.
        let left = self.behind_max.saturating_sub(seen.behind);
        (seen.ran_for * PAUSE_TIMES).min(PAUSE_MAX).min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn seen(answered_us: u64) -> Seen {
        Seen {
            answered_in: Duration::from_micros(answered_us),
            ran_for: 10 * MS,
            behind: 20 * MS,
            is_fast: true,
        }
    }

    /// A server that answered in 60 us until it became busy.
    fn busy() -> Courtesy {
        let mut courtesy = Courtesy::new(1_000 * MS);
        for _ in 0..10 {
            assert_eq!(courtesy.pause(seen(60)), Duration::ZERO);
        }
        for _ in 0..20 {
            courtesy.pause(seen(900));
        }
        courtesy
    }

    #[test]
    fn a_busy_server_is_left_to_fast_writers() {
        assert_eq!(busy().pause(seen(900)), 30 * MS);
        let long = Seen {
            ran_for: 400 * MS,
            ..seen(900)
        };
        assert_eq!(busy().pause(long), PAUSE_MAX);
    }

    #[test]
    fn nobody_waits_for_slow_writers_or_at_a_quick_server() {
        let slow = Seen {
            is_fast: false,
            ..seen(900)
        };
        assert_eq!(busy().pause(slow), Duration::ZERO);
        let mut far_away = Courtesy::new(1_000 * MS);
        for _ in 0..100 {
            // Each answer takes long, because the network does
            assert_eq!(far_away.pause(seen(1_500)), Duration::ZERO);
        }
        let mut one_slow_answer = Courtesy::new(1_000 * MS);
        one_slow_answer.pause(seen(100));
        assert_eq!(one_slow_answer.pause(seen(1_000)), Duration::ZERO);
    }

    #[test]
    fn subscribers_are_not_made_to_wait_for_longer_than_was_said() {
        let behind = |behind| Seen {
            behind,
            ..seen(900)
        };
        assert_eq!(busy().pause(behind(990 * MS)), 10 * MS);
        assert_eq!(busy().pause(behind(1_000 * MS)), Duration::ZERO);
        let mut never = Courtesy {
            behind_max: Duration::ZERO,
            ..busy()
        };
        assert_eq!(never.pause(behind(Duration::ZERO)), Duration::ZERO);
    }

    #[test]
    fn what_was_quick_on_another_day_is_forgotten() {
        let mut courtesy = busy();
        for _ in 0..200_000 {
            courtesy.pause(seen(900));
        }
        assert_eq!(courtesy.pause(seen(900)), Duration::ZERO);
    }
}
