//! How fast work comes to a stage, and how long the stage lets it gather.
//!
//! A transaction that publishes three changes costs about as much as one that publishes thirty. At
//! a low rate each change is worth its own; at a high one that would take from the writers what it
//! gives to nobody, so a stage begins its runs no closer together than a moment, which is longer at
//! a very high rate.

use std::time::{Duration, Instant};

/// From this rate on, in pieces a second, work is let gather.
const HIGH_PER_S: f64 = 500.0;
/// From this rate on, in pieces a second, more of it.
const VERY_HIGH_PER_S: f64 = 1_250.0;
/// Over how long the rate is taken.
const WINDOW_S: f64 = 0.2;
/// From the beginning of one run to that of the next, at a high rate.
const GATHERING: Duration = Duration::from_millis(2);
/// The same at a very high rate.
const GATHERING_LONG: Duration = Duration::from_millis(5);

/// The rate of what a stage works on, over the last moments.
#[derive(Debug, Default)]
pub struct Pace {
    weight: f64,
    at: Option<Instant>,
}

impl Pace {
    /// To be told of each run that began at `now` how much work it found.
    pub fn count(&mut self, pieces: usize, now: Instant) {
        if let Some(at) = self.at {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            self.weight *= (-passed / WINDOW_S).exp();
        }
        self.weight += pieces as f64;
        self.at = Some(now);
    }

    /// Whether work comes faster than a run of its own pays for each piece.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.per_second() >= HIGH_PER_S
    }

    /// Whether it comes so fast that whoever makes it needs the machine.
    #[must_use]
    pub fn is_very_high(&self) -> bool {
        self.per_second() >= VERY_HIGH_PER_S
    }

    fn per_second(&self) -> f64 {
        self.weight / WINDOW_S
    }

    /// Lets work gather before the next run.
    pub async fn gather(&self) {
        let gathering = self.gathering(Instant::now());
        // Even the shortest sleep takes a millisecond.
        if gathering > Duration::ZERO {
            tokio::time::sleep(gathering).await;
        }
    }

    /// How long to let work gather at `now`, before the next run.
    #[must_use]
    pub fn gathering(&self, now: Instant) -> Duration {
        let began = self.at.filter(|_| self.is_high());
        let gathering = if self.is_very_high() {
            GATHERING_LONG
        } else {
            GATHERING
        };
        began.map_or(Duration::ZERO, |began| {
            gathering.saturating_sub(now.saturating_duration_since(began))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pieces at each of so many instants that are `apart`; and the last instant.
    fn paced(pieces: usize, runs: u32, apart: Duration) -> (Pace, Instant) {
        let (mut pace, began) = (Pace::default(), Instant::now());
        for run in 0..runs {
            pace.count(pieces, began + apart * run);
        }
        (pace, began + apart * (runs - 1))
    }

    #[test]
    fn what_comes_slowly_is_not_kept_waiting() {
        // Two hundred a second, one by one
        let (pace, last) = paced(1, 200, Duration::from_millis(5));
        assert!(!pace.is_high());
        assert_eq!(pace.gathering(last), Duration::ZERO);
        assert_eq!(Pace::default().gathering(last), Duration::ZERO);
    }

    #[test]
    fn what_comes_fast_gathers_from_one_beginning_to_the_next() {
        for (pieces, is_very_high, gathering) in [
            // A thousand a second, and two thousand
            (1, false, GATHERING),
            (2, true, GATHERING_LONG),
        ] {
            let (pace, last) = paced(pieces, 1_000, Duration::from_millis(1));
            assert!(pace.is_high());
            assert_eq!(pace.is_very_high(), is_very_high);
            assert_eq!(pace.gathering(last), gathering);
            let ran = Duration::from_millis(1);
            assert_eq!(pace.gathering(last + ran), gathering - ran);
            assert_eq!(pace.gathering(last + gathering * 2), Duration::ZERO);
        }
    }

    #[test]
    fn a_rate_is_forgotten_when_nothing_comes() {
        let (mut pace, last) = paced(1_000, 10, Duration::from_millis(10));
        assert!(pace.is_high());
        pace.count(0, last + Duration::from_secs(2));
        assert!(!pace.is_high());
    }
}
