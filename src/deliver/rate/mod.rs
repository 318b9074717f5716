//! A subscription's own rate: how many requests its receiver wants in a time.
//!
//! Each subscription with a rate has a bucket of tokens that refills evenly; a request costs one.
//! The bucket is a row of the repository, which a claim locks, so that all instances spend from the
//! same one. What finds no token is due when it may find one: each that waits is told another time,
//! which the bucket remembers, or a large backlog would be claimed again and again in vain.
//!
//! The bucket holds a tenth of the rate's number, and one token at least: no period of the rate
//! sees more requests than the number and that tenth.

pub mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::constraint::rate::Rate;

/// The bucket holds such a part of the rate's number.
const BURST_PART: i64 = 10;
/// What has to wait is due at multiples of this, so that it is claimed a few at a time and not one
/// by one.
const STEP_US: i64 = 50_000;
/// What would have to wait for longer is looked at again between half of this and this, for the
/// rate may be another by then.
const WAIT_MAX_US: i64 = 10 * 60 * 1_000_000;
/// How far apart those come, modulo the time in which they come. A prime, so that they come evenly.
const SCATTER_US: i64 = 7_919_993;

/// A bucket as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it is full again.
    pub full_at: DateTime<Utc>,
    /// The latest time that one was told that waits; `None`: none was.
    pub told_upto: Option<DateTime<Utc>>,
}

/// The bucket of one subscription, while a claim holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    now: DateTime<Utc>,
    /// When it is full again, in nanoseconds from now.
    full_ns: i128,
    /// How long a token takes to come.
    token_ns: i128,
    /// How many it holds.
    holds: i128,
    /// The latest time that one was told that waits, in nanoseconds from now.
    told_ns: Option<i128>,
    /// How many were told a time that is not that of their token, which is too far away.
    scattered: i64,
}

impl Bucket {
    /// A bucket of this rate, as of `now`.
    #[must_use]
    pub fn new(rate: Rate, stored: Stored, now: DateTime<Utc>) -> Self {
        let token_ns = i128::from(rate.period_s()) * 1_000_000_000 / i128::from(rate.limit());
        let holds = i128::from((rate.limit() / BURST_PART).max(1));
        let from_now_us = |at: DateTime<Utc>| (at - now).num_microseconds().unwrap_or(i64::MAX);
        let full_ns = i128::from(from_now_us(stored.full_at)) * 1_000;
        let told_us = stored.told_upto.map(from_now_us);
        Self {
            now,
            // An empty one takes so long to fill: nobody waits for what an earlier rate has spent.
            full_ns: full_ns.clamp(0, token_ns * holds),
            token_ns,
            holds,
            // Nobody is told a later one, unless by a clock that was set back.
            told_ns: told_us
                .filter(|us| *us <= WAIT_MAX_US)
                .map(|us| i128::from(us) * 1_000),
            scattered: 0,
        }
    }

    /// Whether a request may go now.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.missing_ns() <= 0
    }

    /// How long it takes until there is a token.
    fn missing_ns(&self) -> i128 {
        self.full_ns - self.token_ns * (self.holds - 1)
    }

    /// When a request may go; `None`: now. Of those that have to wait each is told a later time, so
    /// it is asked for those only that are told.
    pub fn wait(&mut self) -> Option<DateTime<Utc>> {
        let missing_ns = self.missing_ns();
        if self.has_token() {
            return None;
        }
        let next_ns = self.told_ns.map(|told| told + self.token_ns);
        let wait_ns = next_ns.map_or(missing_ns, |next| next.max(missing_ns));
        let wait_us = i64::try_from(wait_ns / 1_000).unwrap_or(i64::MAX);
        let near_us = if wait_us > WAIT_MAX_US {
            let scatter_us = SCATTER_US.saturating_mul(self.scattered);
            self.scattered += 1;
            let scatter_us = scatter_us.wrapping_add(self.now.timestamp_micros());
            WAIT_MAX_US / 2 + scatter_us.rem_euclid(WAIT_MAX_US / 2)
        } else {
            self.told_ns = Some(wait_ns);
            wait_us
        };
        let stepped_us = (near_us / STEP_US + 1) * STEP_US;
        Some(self.now + TimeDelta::microseconds(stepped_us))
    }

    /// How many requests may go now, of up to `most`.
    #[must_use]
    pub fn tokens(&self, most: i64) -> i64 {
        let tokens = (self.token_ns * self.holds - self.full_ns) / self.token_ns.max(1);
        i64::try_from(tokens).unwrap_or(most).min(most)
    }

    /// Takes a token, for a request that goes.
    pub fn spend(&mut self) {
        self.full_ns += self.token_ns;
    }

    /// As it is to be stored.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            full_at: self.at(self.full_ns),
            told_upto: self.told_ns.map(|told| self.at(told)),
        }
    }

    /// The time so many nanoseconds from now, rounded up: what is stored must not be more than
    /// there is.
    fn at(&self, from_now_ns: i128) -> DateTime<Utc> {
        let us = i64::try_from((from_now_ns + 999).div_euclid(1_000)).unwrap_or(i64::MAX / 2);
        let at = self.now.checked_add_signed(TimeDelta::microseconds(us));
        at.unwrap_or(self.now)
    }
}

/// The buckets of a claim.
#[derive(Debug, Default)]
pub struct Buckets(BTreeMap<Uuid, Bucket>);

impl Buckets {
    /// Those of these subscriptions.
    pub fn new(buckets: impl IntoIterator<Item = (Uuid, Bucket)>) -> Self {
        Self(buckets.into_iter().collect())
    }

    /// That of a subscription, if it has a rate.
    pub fn get(&mut self, subscription: Uuid) -> Option<&mut Bucket> {
        self.0.get_mut(&subscription)
    }

    /// As they are to be stored.
    #[must_use]
    pub fn stored(&self) -> Vec<(Uuid, Stored)> {
        let stored = |(id, bucket): (&Uuid, &Bucket)| (*id, bucket.stored());
        self.0.iter().map(stored).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at_us(us: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::microseconds(us)
    }

    fn bucket(rate: &str, full_at: DateTime<Utc>, now: DateTime<Utc>) -> Bucket {
        let stored = Stored {
            full_at,
            told_upto: None,
        };
        Bucket::new(Rate::parse(rate).unwrap(), stored, now)
    }

    /// How many of `wanted` go at once.
    fn taken(bucket: &mut Bucket, wanted: usize) -> usize {
        let goes = |_: &usize| {
            let goes = bucket.wait().is_none();
            if goes {
                bucket.spend();
            }
            goes
        };
        (0..wanted).filter(goes).count()
    }

    #[test]
    fn a_full_bucket_holds_a_tenth_and_one_at_least() {
        for (rate, holds) in [("50/s", 5), ("100/h", 10), ("5/m", 1), ("1/31d", 1)] {
            let mut full = bucket(rate, at_us(0), at_us(0));
            assert_eq!(taken(&mut full, 100), holds, "{rate}");
            // AND it is full again after a tenth of the time.
            let again = full.stored().full_at;
            assert_eq!(taken(&mut bucket(rate, again, again), 100), holds, "{rate}");
        }
    }

    #[test]
    fn as_many_may_go_as_are_not_told_to_wait() {
        for (rate, after_us) in [
            ("50/s", 0),
            ("50/s", 30_000),
            ("100/h", 1_000),
            ("7/s", 150_000),
        ] {
            let mut spent = bucket(rate, at_us(0), at_us(0));
            taken(&mut spent, 100);
            let mut later = bucket(rate, spent.stored().full_at, at_us(after_us));
            let tokens = later.tokens(100);
            assert_eq!(later.tokens(0), 0);
            assert_eq!(tokens, taken(&mut later, 100) as i64, "{rate} {after_us}");
        }
    }

    #[test]
    fn each_that_waits_is_told_when_its_token_comes() {
        let mut bucket = bucket("10/s", at_us(0), at_us(0));
        bucket.spend();
        let waits: Vec<_> = (0..3).map(|_| bucket.wait().unwrap()).collect();
        assert_eq!(waits, [at_us(150_000), at_us(250_000), at_us(350_000)]);
    }

    #[test]
    fn what_waits_is_told_a_later_time_than_what_waits_already() {
        // GIVEN a bucket of which a claim has told two times
        let rate = Rate::parse("10/s").unwrap();
        let mut earlier = bucket("10/s", at_us(0), at_us(0));
        earlier.spend();
        assert_eq!(earlier.wait(), Some(at_us(150_000)));
        assert_eq!(earlier.wait(), Some(at_us(250_000)));
        // WHEN another claim tells more, a little later THEN they come after those
        let mut later = Bucket::new(rate, earlier.stored(), at_us(40_000));
        assert_eq!(later.wait(), Some(at_us(340_000)));
        // AND when all are over, nobody waits for them.
        let mut later = Bucket::new(rate, later.stored(), at_us(5_000_000));
        assert_eq!(later.wait(), None);
        later.spend();
        assert_eq!(later.wait(), Some(at_us(5_150_000)));
        // AND a clock that was set back makes nobody wait for ever.
        let mut back = Bucket::new(rate, later.stored(), at_us(-3_600_000_000));
        back.spend();
        assert_eq!(back.wait(), Some(at_us(-3_600_000_000 + 250_000)));
    }

    #[test]
    fn a_backlog_is_told_once_or_now_and_then() {
        // GIVEN ten thousand that wait, claimed a hundred at a time
        let rate = Rate::parse("50/s").unwrap();
        let full = bucket("50/s", at_us(0), at_us(0)).stored();
        let (mut stored, mut told) = (full, Vec::new());
        let mut go = 0;
        for _ in 0..400 {
            let mut bucket = Bucket::new(rate, stored, at_us(0));
            for _ in 0..100 {
                match bucket.wait() {
                    None => {
                        bucket.spend();
                        go += 1;
                    }
                    Some(at) => told.push(at.timestamp_micros() / 1_000_000),
                }
            }
            stored = bucket.stored();
        }
        // THEN for each of the next ten minutes' seconds as many are told as may go
        assert_eq!(go, 5);
        let within = |seconds: std::ops::Range<i64>| {
            let told = told.iter().filter(|second| seconds.contains(second));
            told.count()
        };
        for second in (10..290).step_by(10) {
            assert!(within(second..second + 10) <= 501, "{second}");
        }
        // AND the others come evenly after that.
        for minute in 5..10 {
            let count = within(minute * 60..minute * 60 + 60);
            assert!((4_000..=6_000).contains(&count), "{minute}: {count}");
        }
    }

    #[test]
    fn nobody_is_sent_far_away() {
        let mut bucket = bucket("1/h", at_us(0), at_us(0));
        bucket.spend();
        let minutes = |minutes: i64| at_us(minutes * 60_000_000);
        for _ in 0..100 {
            let at = bucket.wait().unwrap();
            assert!(
                at >= minutes(5) && at <= minutes(10) + TimeDelta::seconds(1),
                "{at}"
            );
        }
    }

    #[test]
    fn a_rate_that_was_changed_counts_from_now() {
        // GIVEN a subscription that has spent its hour
        let spent = at_us(3_600_000_000);
        // WHEN it is allowed one a second THEN it waits a second at most
        let mut bucket = bucket("1/s", spent, at_us(0));
        assert_eq!(bucket.wait(), Some(at_us(1_050_000)));
    }

    proptest! {
        /// Claims at any times, of any sizes.
        #[test]
        fn no_period_sees_more_than_was_said(
            count in 1_i64..200,
            claims in proptest::collection::vec((0_i64..400_000, 1_usize..80), 1..60),
        ) {
            let rate = format!("{count}/s");
            let (mut now_us, mut full_at) = (0, at_us(0));
            let mut sent = Vec::new();
            for (gap_us, wanted) in claims {
                now_us += gap_us;
                let mut bucket = bucket(&rate, full_at, at_us(now_us));
                sent.extend(std::iter::repeat_n(now_us, taken(&mut bucket, wanted)));
                full_at = bucket.stored().full_at;
            }
            for from in &sent {
                let within = sent.iter().filter(|at| (*from..from + 1_000_000).contains(*at));
                prop_assert!(within.count() as i64 <= count + (count / 10).max(1));
            }
        }
    }
}
