//! How a start fares with its table: how many rows it asks for, and when it rests.

use std::time::{Duration, Instant};

/// How often a chunk is tried that can't be read, not even row by row, before its start fails.
const FAILURES_MAX: u32 = 8;
/// The wait after the first of these failures; it doubles.
const FAILURE_WAIT: Duration = Duration::from_millis(250);

/// What is bounded of one chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
    pub(super) value_bytes_max: u32,
}

/// What was learned of a start's table while reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// How many rows to ask for.
    rows: usize,
    failures: u32,
    rests_until: Option<Instant>,
}

impl Trial {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            rows: bounds.rows_max,
            failures: 0,
            rests_until: None,
        }
    }

    /// How many rows to ask for.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Nothing is wrong with the rows; it is tried again soon.
    pub(super) fn rest(&mut self) {
        let wait = FAILURE_WAIT * 2_u32.saturating_pow(self.failures.min(FAILURES_MAX));
        self.rests_until = Some(Instant::now() + wait);
    }

    /// The rows could not be read; fewer are tried next, and one again later. False: it was tried
    /// often enough.
    pub(super) fn failed(&mut self) -> bool {
        if self.rows > 1 {
            self.rows /= 2;
        } else {
            self.failures += 1;
            self.rest();
        }
        self.failures < FAILURES_MAX
    }

    /// The next chunk may be twice as large as this one, which was cut at so many rows.
    pub(super) fn succeeded(&mut self, rows: usize, bounds: Bounds) {
        *self = Self {
            rows: (rows * 2).clamp(1, bounds.rows_max),
            ..Self::new(bounds)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        rows_max: 10,
        bytes_max: 1,
        value_bytes_max: 1,
    };

    #[test]
    fn what_can_not_be_read_is_asked_for_in_halves_and_given_up_at_last() {
        let mut trial = Trial::new(BOUNDS);
        let mut asked = Vec::new();
        while trial.rows() > 1 {
            assert!(trial.failed() && !trial.is_resting());
            asked.push(trial.rows());
        }
        assert_eq!(asked, [5, 2, 1]);
        for _ in 1..FAILURES_MAX {
            assert!(trial.failed() && trial.is_resting());
        }
        assert!(!trial.failed());

        trial.succeeded(1, BOUNDS);
        assert_eq!((trial.rows(), trial.is_resting()), (2, false));
        trial.succeeded(9, BOUNDS);
        assert_eq!(trial.rows(), 10);
    }
}
