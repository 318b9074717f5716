//! The rate counters of one transaction, in memory. Pure.
//!
//! Many deliveries are judged between one statement that reads the counters (and keeps others from
//! them until the transaction ends) and one that writes them: see [`super::store::rates_load`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::judge::{Rates, Wanted};

/// Names a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateKey {
    /// The constraint's name.
    pub constraint: String,
    /// Whose deliveries are counted.
    pub subscription: Uuid,
    /// The begin of the rate's window in which they are.
    pub window_start: DateTime<Utc>,
}

/// Counters that this transaction holds.
#[derive(Debug, Default)]
pub struct BatchRates {
    /// Per subscription, so that a look costs no copy of a name.
    counters: BTreeMap<Uuid, BTreeMap<String, BTreeMap<DateTime<Utc>, Counter>>>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    read: i64,
    spent: i64,
}

impl BatchRates {
    /// Counters as they were read.
    #[must_use]
    pub fn new(read: impl IntoIterator<Item = (RateKey, i64)>) -> Self {
        let mut rates = Self::default();
        for (key, spent) in read {
            rates
                .counters
                .entry(key.subscription)
                .or_default()
                .entry(key.constraint)
                .or_default()
                .insert(key.window_start, Counter { read: spent, spent });
        }
        rates
    }

    /// The counters of one subscription, for judging its deliveries.
    pub fn of(&mut self, subscription: Uuid) -> SubscriptionRates<'_> {
        SubscriptionRates {
            counters: self.counters.get_mut(&subscription),
        }
    }

    /// The counters that were spent from, in the order of their keys per subscription, with their
    /// new counts.
    #[must_use]
    pub fn changed(&self) -> Vec<(RateKey, i64)> {
        let mut changed = Vec::new();
        for (subscription, constraints) in &self.counters {
            for (constraint, windows) in constraints {
                for (window_start, counter) in windows {
                    if counter.spent != counter.read {
                        let key = RateKey {
                            constraint: constraint.clone(),
                            subscription: *subscription,
                            window_start: *window_start,
                        };
                        changed.push((key, counter.spent));
                    }
                }
            }
        }
        changed
    }
}

/// The counters of one subscription. What was not loaded has nothing left: to spend what others may
/// be spending would exceed the rate.
#[derive(Debug)]
pub struct SubscriptionRates<'a> {
    counters: Option<&'a mut BTreeMap<String, BTreeMap<DateTime<Utc>, Counter>>>,
}

impl SubscriptionRates<'_> {
    fn counter(&mut self, wanted: &Wanted<'_>) -> Option<&mut Counter> {
        self.counters
            .as_mut()?
            .get_mut(wanted.constraint)?
            .get_mut(&wanted.window_start)
    }
}

impl Rates for SubscriptionRates<'_> {
    fn try_spend(&mut self, wanted: &[Wanted<'_>]) -> Result<(), usize> {
        let used_up = wanted.iter().position(|one| {
            self.counter(one)
                .is_none_or(|counter| counter.spent >= one.limit)
        });
        if let Some(index) = used_up {
            return Err(index);
        }
        for one in wanted {
            if let Some(counter) = self.counter(one) {
                counter.spent += 1;
            }
        }
        Ok(())
    }
}

/// For a delivery that the rates have counted before: another attempt at it costs nothing.
#[derive(Debug)]
pub struct Counted;

impl Rates for Counted {
    fn try_spend(&mut self, _: &[Wanted<'_>]) -> Result<(), usize> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(constraint: &str, subscription: u128) -> RateKey {
        RateKey {
            constraint: constraint.to_owned(),
            subscription: Uuid::from_u128(subscription),
            window_start: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    fn wanted(constraint: &str, limit: i64) -> Wanted<'_> {
        Wanted {
            constraint,
            window_start: DateTime::<Utc>::UNIX_EPOCH,
            limit,
        }
    }

    #[test]
    fn all_are_spent_or_none() {
        let mut rates = BatchRates::new([(key("a", 1), 0), (key("b", 1), 4), (key("a", 2), 9)]);
        let both = [wanted("a", 3), wanted("b", 5)];
        let mut first = rates.of(Uuid::from_u128(1));
        assert_eq!(first.try_spend(&both), Ok(()));
        assert_eq!(first.try_spend(&both), Err(1));
        assert_eq!(first.try_spend(&[wanted("a", 3)]), Ok(()));
        // The refused one has cost nothing.
        assert_eq!(rates.changed(), [(key("a", 1), 2), (key("b", 1), 5)]);
    }

    #[test]
    fn what_was_not_loaded_is_used_up() {
        let mut rates = BatchRates::new([(key("a", 1), 0)]);
        let (a, b) = ([wanted("a", 3)], [wanted("b", 3)]);
        assert_eq!(rates.of(Uuid::from_u128(2)).try_spend(&a), Err(0));
        assert_eq!(rates.of(Uuid::from_u128(1)).try_spend(&b), Err(0));
        let later = Wanted {
            window_start: DateTime::<Utc>::MAX_UTC,
            ..a[0]
        };
        assert_eq!(rates.of(Uuid::from_u128(1)).try_spend(&[later]), Err(0));
        assert_eq!(Counted.try_spend(&a), Ok(()));
        assert_eq!(rates.changed(), []);
    }
}
