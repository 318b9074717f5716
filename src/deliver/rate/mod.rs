//! A subscription's own rate: how many requests its receiver wants in a time.
//!
//! Each subscription with a rate has a bucket of tokens that refills evenly; a request costs one.
//! The bucket is a row of the repository, which a claim locks, so that all instances spend from the
//! same one. What finds no token is due when it may find one.
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
    /// How many were told to wait.
    waiting: i128,
}

impl Bucket {
    /// A bucket of this rate, as of `now`.
    #[must_use]
    pub fn new(rate: Rate, full_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let token_ns = i128::from(rate.period_s()) * 1_000_000_000 / i128::from(rate.limit());
        let holds = i128::from((rate.limit() / BURST_PART).max(1));
        let full_ns = i128::from((full_at - now).num_microseconds().unwrap_or(i64::MAX)) * 1_000;
        Self {
            now,
            // An empty one takes so long to fill: nobody waits for what an earlier rate has spent.
            full_ns: full_ns.clamp(0, token_ns * holds),
            token_ns,
            holds,
            waiting: 0,
        }
    }

    /// When a request may go; `None`: now. Of those that have to wait each is told a later time.
    pub fn wait(&mut self) -> Option<DateTime<Utc>> {
        let missing_ns = self.full_ns - self.token_ns * (self.holds - 1);
        if missing_ns <= 0 {
            return None;
        }
        let wait_ns = missing_ns + self.token_ns * self.waiting;
        self.waiting += 1;
        let wait_us = i64::try_from(wait_ns / 1_000).unwrap_or(i64::MAX);
        let near_us = if wait_us > WAIT_MAX_US {
            WAIT_MAX_US / 2 + wait_us % (WAIT_MAX_US / 2)
        } else {
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

    /// When it is full again.
    #[must_use]
    pub fn full_at(&self) -> DateTime<Utc> {
        // Rounded up: what is stored must not be more than there is.
        let full_us = i64::try_from((self.full_ns + 999) / 1_000).unwrap_or(i64::MAX / 2);
        let full_at = self
            .now
            .checked_add_signed(TimeDelta::microseconds(full_us));
        full_at.unwrap_or(self.now)
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
    pub fn full_at(&self) -> Vec<(Uuid, DateTime<Utc>)> {
        let full_at = |(id, bucket): (&Uuid, &Bucket)| (*id, bucket.full_at());
        self.0.iter().map(full_at).collect()
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
        Bucket::new(Rate::parse(rate).unwrap(), full_at, now)
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
            let again = full.full_at();
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
            let mut later = bucket(rate, spent.full_at(), at_us(after_us));
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
                full_at = bucket.full_at();
            }
            for from in &sent {
                let within = sent.iter().filter(|at| (*from..from + 1_000_000).contains(*at));
                prop_assert!(within.count() as i64 <= count + (count / 10).max(1));
            }
        }
    }
}
