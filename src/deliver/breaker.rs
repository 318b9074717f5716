//! A circuit breaker: a receiver that fails again and again is left alone for a time. Pure.
//!
//! Closed, everything passes. After so many failures in a row it opens: nothing passes until a
//! time, then one request, the *probe*. Its success closes the breaker; its failure opens it again,
//! for twice as long, up to a longest time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{config::Limits, sink::Outcome};

/// When breakers open, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Failures in a row that open one.
    pub failures: u32,
    /// How long it is open the first time.
    pub open: TimeDelta,
    /// The longest that it is open.
    pub open_max: TimeDelta,
}

impl Patience {
    /// As the operator has it.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        let time = |ms: u64| i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds);
        Self {
            failures: limits.breaker_failures,
            open: time(limits.breaker_open_ms).unwrap_or(TimeDelta::MAX),
            open_max: time(limits.breaker_open_max_ms).unwrap_or(TimeDelta::MAX),
        }
    }
}

/// What an attempt says of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answered, and not that it is in trouble.
    Answered,
    /// It answered that it wants no more.
    Gone,
    /// It answered that it is in trouble: 408, 429 or 5xx. Its host is there.
    Troubled,
    /// No answer came.
    Silent,
    /// Nothing: it was not asked.
    Unasked,
}

impl Sign {
    /// Whether the receiver is well: it answered, whatever it thinks of the request.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered | Self::Gone)
    }

    /// Whether its host is there.
    #[must_use]
    pub fn is_there(self) -> bool {
        self.is_good() || self == Self::Troubled
    }

    /// Reads an attempt's outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Retry { status: None, .. } => Self::Silent,
            Outcome::Retry {
                status: Some(408 | 429 | 500..),
                ..
            } => Self::Troubled,
            // The address guard or the URL forbids it, whatever the receiver would say.
            Outcome::Final { status: None, .. } => Self::Unasked,
            Outcome::Gone { .. } => Self::Gone,
            _ => Self::Answered,
        }
    }
}

/// Whether a request may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It may.
    Free,
    /// It may, and is the probe.
    Probe,
    /// Not before the probe that is under way has ended.
    Probing,
    /// Not before this time.
    Open(DateTime<Utc>),
}

impl Passage {
    /// Until when nothing may pass.
    #[must_use]
    pub fn until(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Open(until) => Some(until),
            Self::Free | Self::Probe | Self::Probing => None,
        }
    }
}

/// One receiver's breaker. It begins closed.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// In a row.
    failures: u32,
    /// How often it opened since it was closed.
    openings: u32,
    open_until: Option<DateTime<Utc>>,
    is_probing: bool,
}

impl Breaker {
    /// Learns how a request ended. Returns until when the breaker is open, if this opened it, and
    /// whether this closed it. What counts as a success is for the owner to say.
    pub fn judge(
        &mut self,
        sign: Sign,
        is_success: bool,
        was_probe: bool,
        patience: &Patience,
        now: DateTime<Utc>,
    ) -> (Option<DateTime<Utc>>, bool) {
        if sign == Sign::Unasked {
            if was_probe {
                self.probe_unsent();
            }
            (None, false)
        } else if is_success {
            (None, self.succeeded())
        } else {
            (self.failed(was_probe, patience, now), false)
        }
    }

    /// Whether a request may go at `now`.
    #[must_use]
    pub fn passage(&self, now: DateTime<Utc>) -> Passage {
        match self.open_until {
            None => Passage::Free,
            Some(_) if self.is_probing => Passage::Probing,
            Some(until) if now < until => Passage::Open(until),
            Some(_) => Passage::Probe,
        }
    }

    /// How many requests may be under way before another is begun. A receiver that has begun to
    /// fail is asked by no more at once than it takes to open the breaker.
    #[must_use]
    pub fn requests_max(&self, patience: &Patience) -> usize {
        if self.failures == 0 || self.open_until.is_some() {
            return usize::MAX;
        }
        let left = patience.failures.saturating_sub(self.failures);
        usize::try_from(left.max(1)).unwrap_or(usize::MAX)
    }

    /// Whether a probe is under way.
    #[must_use]
    pub fn is_probing(&self) -> bool {
        self.is_probing
    }

    /// Whether it has nothing to remember.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures == 0 && self.open_until.is_none()
    }

    /// The probe is sent.
    pub fn probe(&mut self) {
        self.is_probing = self.open_until.is_some();
    }

    /// The probe came back without having been sent: another may go.
    pub fn probe_unsent(&mut self) {
        self.is_probing = false;
    }

    /// A request succeeded. Returns whether this closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        *self = Self::default();
        was_open
    }

    /// A request failed. Returns until when the breaker is open, if this opened it. While it is
    /// open only the probe counts: the others were sent before.
    pub fn failed(
        &mut self,
        was_probe: bool,
        patience: &Patience,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.open_until {
            None => self.failures >= patience.failures,
            Some(_) => was_probe,
        };
        if !opens {
            return None;
        }
        // 2^20 times the shortest time is longer than any longest one that makes sense.
        let doubled = patience.open.checked_mul(1 << self.openings.min(20));
        let open = doubled.map_or(patience.open_max, |open| open.min(patience.open_max));
        self.openings = self.openings.saturating_add(1);
        self.is_probing = false;
        let until = now
            .checked_add_signed(open)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.open_until = Some(until);
        self.open_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        failures: 3,
        open: TimeDelta::seconds(5),
        open_max: TimeDelta::seconds(30),
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// Opened by failures at the second 0.
    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            assert_eq!(breaker.failed(false, &PATIENCE, at(0)), None);
        }
        assert_eq!(breaker.failed(false, &PATIENCE, at(0)), Some(at(5)));
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(false, &PATIENCE, at(0));
            breaker.failed(false, &PATIENCE, at(0));
            assert_eq!(breaker.passage(at(0)), Passage::Free);
            assert!(!breaker.succeeded());
        }
        assert!(breaker.is_clean());
    }

    #[test]
    fn one_probe_goes_and_its_success_closes() {
        let mut breaker = opened();
        assert_eq!(breaker.passage(at(4)), Passage::Open(at(5)));
        assert_eq!(breaker.passage(at(5)), Passage::Probe);
        breaker.probe();
        assert_eq!(breaker.passage(at(99)), Passage::Probing);
        assert!(breaker.succeeded());
        assert_eq!(breaker.passage(at(5)), Passage::Free);
    }

    #[test]
    fn a_failed_probe_opens_it_for_longer_each_time_up_to_the_longest() {
        let mut breaker = opened();
        let mut now = 5;
        for open in [10, 20, 30, 30, 30] {
            assert_eq!(breaker.passage(at(now)), Passage::Probe);
            breaker.probe();
            assert_eq!(
                breaker.failed(true, &PATIENCE, at(now)),
                Some(at(now + open))
            );
            now += open;
        }
        assert!(breaker.succeeded());
        assert_eq!(opened().passage(at(4)), Passage::Open(at(5)));
    }

    #[test]
    fn what_was_sent_before_it_opened_neither_prolongs_it_nor_ends_the_probe() {
        let mut breaker = opened();
        assert_eq!(breaker.failed(false, &PATIENCE, at(4)), None);
        assert_eq!(breaker.passage(at(5)), Passage::Probe);
        breaker.probe();
        assert_eq!(breaker.failed(false, &PATIENCE, at(6)), None);
        assert_eq!(breaker.passage(at(6)), Passage::Probing);
        breaker.probe_unsent();
        assert_eq!(breaker.passage(at(6)), Passage::Probe);
    }

    #[test]
    fn an_outcome_tells_of_the_receiver() {
        let retry = |status| Outcome::Retry {
            status,
            detail: String::new(),
            retry_after: None,
        };
        for (outcome, sign) in [
            (Outcome::Delivered { status: 204 }, Sign::Answered),
            (retry(None), Sign::Silent),
            (retry(Some(500)), Sign::Troubled),
            (retry(Some(503)), Sign::Troubled),
            (retry(Some(429)), Sign::Troubled),
            (retry(Some(404)), Sign::Answered),
            (retry(Some(302)), Sign::Answered),
            (
                Outcome::Gone {
                    status: 410,
                    detail: String::new(),
                },
                Sign::Gone,
            ),
        ] {
            assert_eq!(Sign::of(&outcome), sign, "{outcome:?}");
        }
        let refused = Outcome::Final {
            status: None,
            detail: String::new(),
        };
        assert_eq!(Sign::of(&refused), Sign::Unasked);
    }
}
