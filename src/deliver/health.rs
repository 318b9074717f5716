//! What results say of their subscriptions: which are failing, which are not any more, and which
//! want no more.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    retry::Next,
    send::{Done, Tried},
};
use crate::{
    db::{Connection, DbError},
    subscription::failing::{
        Failing,
        store::{failing_lock, failing_note},
    },
};

/// What is to be noted of subscriptions after some attempts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// An attempt was acknowledged. What failed beside it does not count.
    pub(super) recovered: Vec<Uuid>,
    /// Every attempt failed.
    failing: Vec<Failing>,
}

impl Health {
    pub(super) fn of(results: &[&Done]) -> Self {
        let (mut recovered, mut failing) = (BTreeSet::new(), BTreeMap::new());
        for tried in tried(results) {
            match tried.next {
                Next::Delivered => _ = recovered.insert(tried.subscription_id),
                Next::Retry { .. } | Next::Dead | Next::TooOld if tried.has_sink => {
                    add(&mut failing, failed(tried));
                }
                // What only an operator can mend is no failure of the receiver's; and whoever is
                // disabled is told of with the attempt that did it.
                Next::Retry { .. } | Next::Dead | Next::TooOld | Next::Disabled => {}
            }
        }
        failing.retain(|id, _| !recovered.contains(id));
        Self {
            recovered: recovered.into_iter().collect(),
            failing: failing.into_values().collect(),
        }
    }

    /// To be called before anything of it is written. Does nothing if all is well.
    pub(super) fn lock(&self, connection: &mut Connection) -> Result<(), DbError> {
        if self.failing.is_empty() {
            return Ok(());
        }
        let failing = self.failing.iter().map(|failing| failing.subscription_id);
        let ids: Vec<Uuid> = self.recovered.iter().copied().chain(failing).collect();
        Ok(failing_lock(connection, &ids)?)
    }

    /// Writes what fails; that the others do not is written with their deliveries.
    pub(super) fn note(&self, connection: &mut Connection) -> Result<(), DbError> {
        Ok(failing_note(connection, &self.failing)?)
    }
}

/// The subscriptions whose receivers want no more, each with why, and the attempts that told so.
pub(crate) fn disabled<'a>(results: &[&'a Done]) -> BTreeMap<Uuid, (&'a str, Failing)> {
    let mut disabled: BTreeMap<Uuid, (&str, Failing)> = BTreeMap::new();
    for tried in tried(results).filter(|tried| tried.next == Next::Disabled) {
        let reason = tried.detail.as_deref().unwrap_or_default();
        let last = failed(tried);
        match disabled.get_mut(&tried.subscription_id) {
            Some((_, failing)) => failing.add(last),
            None => _ = disabled.insert(tried.subscription_id, (reason, last)),
        }
    }
    disabled
}

fn tried<'a>(results: &[&'a Done]) -> impl Iterator<Item = &'a Tried> {
    results.iter().filter_map(|done| match done {
        Done::Tried(tried) => Some(tried),
        Done::Returned { .. } | Done::Decided { .. } => None,
    })
}

fn failed(tried: &Tried) -> Failing {
    let took = TimeDelta::from_std(tried.duration).unwrap_or_default();
    let detail = tried.detail.as_deref().unwrap_or_default();
    let began = tried.started_at;
    Failing::attempt(tried.subscription_id, began, began + took, detail)
}

fn add(failing: &mut BTreeMap<Uuid, Failing>, one: Failing) {
    match failing.get_mut(&one.subscription_id) {
        Some(known) => known.add(one),
        None => _ = failing.insert(one.subscription_id, one),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};

    use super::*;
    use crate::deliver::{
        breaker::Sign,
        chain::{Claimed, Owed},
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn done(subscription: u128, second: i64, next: Next, has_sink: bool) -> Done {
        Done::Tried(Tried {
            subscription_id: Uuid::from_u128(subscription),
            delivery: Claimed {
                id: Uuid::nil(),
                owed: Owed::Event(Uuid::nil()),
                lease: Uuid::nil(),
                lane: None,
                lane_previous: None,
                sequence: 1,
                attempts: 0,
                first_tried_at: None,
                body: "".into(),
                places: 1,
                hold_until: None,
                is_awaited: false,
                barrier: None,
                again: None,
            },
            has_sink,
            started_at: at(second),
            duration: Duration::from_secs(2),
            status: None,
            detail: Some(format!("at {second}")),
            answer: None,
            blocks: false,
            sign: Sign::Unasked,
            next,
        })
    }

    #[test]
    fn a_subscription_recovers_by_one_success_and_fails_only_by_failures_alone() {
        let retry = Next::Retry { at: at(100) };
        let results = [
            done(1, 10, retry.clone(), true),
            done(1, 11, Next::Delivered, true),
            done(1, 12, retry.clone(), true),
            done(2, 30, Next::Dead, true),
            done(2, 20, retry.clone(), true),
            done(2, 25, Next::TooOld, true),
            // The operator's to mend.
            done(3, 10, retry, false),
            done(4, 10, Next::Disabled, true),
        ];
        let results: Vec<&Done> = results.iter().collect();
        let health = Health::of(&results);
        assert_eq!(health.recovered, [Uuid::from_u128(1)]);
        assert_eq!(
            health.failing,
            [Failing {
                subscription_id: Uuid::from_u128(2),
                since: at(20),
                last_at: at(32),
                failures: 3,
                last_detail: "at 30".to_owned(),
            }]
        );
        let disabled = disabled(&results);
        assert_eq!(disabled.len(), 1);
        let (reason, last) = &disabled[&Uuid::from_u128(4)];
        assert_eq!((*reason, last.failures), ("at 10", 1));
    }
}
