//! Of each event, the synchronous subscriptions are tried before the delayed one. Pure.
//!
//! The receiver enters all requests in one order, each before it is answered. So a synchronous
//! delivery that was tried before the delayed one started was received before it. It may come later
//! if it could not start, because an earlier event of its object was unsettled; if an attempt
//! failed that the receiver did not see; if two leases were lost, which counts as tried; or if it
//! was put off, its receiver having more than its share in memory, until the barrier's end.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;

use crate::{books::Settled, ledger::Receipt, oracle::Faults, wire::Object};

/// So many lost leases count as tried.
const LOST_LEASES_TRIED: i64 = 2;

/// A synchronous subscription.
pub(crate) struct Synchronous<'a> {
    pub(crate) subscription: &'a str,
    /// Whether an event waits for the earlier ones of its object.
    pub(crate) is_ordered: bool,
    /// For how long a delayed delivery waits for one that is put off.
    pub(crate) barrier: TimeDelta,
    pub(crate) settled: &'a HashMap<Uuid, Settled>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Events that the synchronous subscription received first.
    pub(crate) in_order: usize,
    /// Events that could not start there.
    pub(crate) behind: usize,
    /// Events of which an attempt or two leases were lost.
    pub(crate) excused: usize,
    /// Events for which the barrier was over.
    pub(crate) overdue: usize,
    pub(crate) faults: Faults,
}

/// Judges the receipts of the delayed subscription against those of a synchronous one. `held_most`
/// is how long a claimed delivery may wait for its sending, and its result for its writing.
pub(crate) fn judge(
    receipts: &[Receipt],
    delayed: &str,
    synchronous: &Synchronous<'_>,
    held_most: TimeDelta,
) -> Verdict {
    let mut verdict = Verdict::default();
    // Of each event that the synchronous one received: when, and which event was before it.
    let mut tried: HashMap<Uuid, (usize, Option<Uuid>)> = HashMap::new();
    let mut late: HashMap<Uuid, (usize, &Receipt)> = HashMap::new();
    let mut last: HashMap<(Object, i64), Uuid> = HashMap::new();
    for (place, receipt) in receipts.iter().enumerate() {
        let update = &receipt.update;
        if receipt.subscription == delayed {
            late.entry(update.id).or_insert((place, receipt));
        } else if receipt.subscription == synchronous.subscription {
            tried.entry(update.id).or_insert_with(|| {
                let before = last.insert((update.object, update.key), update.id);
                (place, before)
            });
        }
    }
    for (id, (tried_at, before)) in tried {
        let Some((place, receipt)) = late.get(&id) else {
            continue;
        };
        let settled = |id: &Uuid| synchronous.settled.get(id);
        // Settled so late that it may not have been when the delayed one was claimed.
        let is_unsettled = |before: Uuid| {
            settled(&before).is_none_or(|settled| settled.at + held_most >= receipt.at)
        };
        let is_excused = settled(&id)
            .is_none_or(|settled| settled.has_failed || settled.lost_leases >= LOST_LEASES_TRIED);
        // The clocks of the receiver and of Rowcall are one.
        let is_overdue = settled(&id)
            .is_some_and(|settled| settled.created_at + synchronous.barrier <= receipt.at);
        if tried_at < *place {
            verdict.in_order += 1;
        } else if is_excused {
            verdict.excused += 1;
        } else if synchronous.is_ordered && before.is_some_and(is_unsettled) {
            verdict.behind += 1;
        } else if is_overdue {
            verdict.overdue += 1;
        } else {
            verdict.faults.add(format!(
                "delayed before {} was tried: {receipt}; there: {:?}",
                synchronous.subscription,
                settled(&id)
            ));
        }
    }
    verdict
}

/// The oracle must notice what it is for.
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::wire::Update;

    const SETTLED: Settled = Settled {
        created_at: DateTime::<chrono::Utc>::from_timestamp(100, 0).unwrap(),
        at: DateTime::UNIX_EPOCH,
        lost_leases: 0,
        has_failed: false,
    };

    /// Receipts of events of one teller, `s` synchronous and `d` delayed, one a second from the
    /// hundredth on.
    fn receipts(order: &[(&str, u128)]) -> Vec<Receipt> {
        let receipt = |(place, (subscription, id)): (usize, &(&str, u128))| Receipt {
            subscription: (*subscription).to_owned(),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(100 + place as i64),
            body_hash: [0; 32],
            update: Update {
                id: Uuid::from_u128(*id),
                object: Object::Teller,
                key: 1,
                before: 0,
                after: 0,
            },
            sequence: 1,
        };
        order.iter().enumerate().map(receipt).collect()
    }

    fn verdict(order: &[(&str, u128)], is_ordered: bool, settled: [Settled; 2]) -> Verdict {
        let settled = HashMap::from([1, 2].map(|id: u8| {
            let settled = settled[usize::from(id) - 1];
            (Uuid::from_u128(u128::from(id)), settled)
        }));
        let synchronous = Synchronous {
            subscription: "s",
            is_ordered,
            barrier: TimeDelta::seconds(4),
            settled: &settled,
        };
        judge(&receipts(order), "d", &synchronous, TimeDelta::seconds(2))
    }

    const RIGHT: &[(&str, u128)] = &[("s", 1), ("d", 1), ("s", 2), ("d", 2), ("s", 1)];
    const EARLY: &[(&str, u128)] = &[("s", 1), ("d", 1), ("d", 2), ("s", 2)];

    #[test]
    fn the_oracle_accepts_what_is_right_and_notices_what_is_early() {
        let found = verdict(RIGHT, true, [SETTLED; 2]);
        assert_eq!(found.in_order, 2);
        found.faults.none("right");
        verdict(EARLY, true, [SETTLED; 2])
            .faults
            .say("delayed before s was tried");
        let first = &[("d", 1), ("s", 1)];
        verdict(first, true, [SETTLED; 2])
            .faults
            .say("delayed before s was tried");
    }

    #[test]
    fn the_oracle_excuses_what_could_not_start_and_what_was_lost() {
        // Event 2 came at 102; event 1 was settled at 101.
        let unsettled = Settled {
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(101),
            ..SETTLED
        };
        assert_eq!(verdict(EARLY, true, [unsettled, SETTLED]).behind, 1);
        let loose = verdict(EARLY, false, [unsettled, SETTLED]);
        loose.faults.say("delayed before s was tried");
        let lost = |lost_leases| Settled {
            lost_leases,
            ..SETTLED
        };
        assert_eq!(verdict(EARLY, true, [SETTLED, lost(2)]).excused, 1);
        let once = verdict(EARLY, true, [SETTLED, lost(1)]);
        once.faults.say("delayed before s was tried");
        let failed = Settled {
            has_failed: true,
            ..SETTLED
        };
        assert_eq!(verdict(EARLY, true, [SETTLED, failed]).excused, 1);
        // Event 2 came at 102, four seconds after it was published.
        let old = Settled {
            created_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(98),
            ..SETTLED
        };
        assert_eq!(verdict(EARLY, false, [SETTLED, old]).overdue, 1);
    }
}
