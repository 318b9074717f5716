//! The verdict on a run: what the oracles say of each subscription.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    bank::{Bank, LEASE, REQUEST_TIMEOUT, Transfer},
    barrier,
    digests::{self, Digest},
    ledger::{PartReceipt, Receipt},
    oracle::{self, Faults},
    subscriptions::{COUNTED, DELAYED, ITEMS_MAX, LISTED, NETTED, ORDERED, UNORDERED},
    totals,
    wire::{Object, Update},
};

/// How long a result may wait to be written.
const RESULT_LIMIT: TimeDelta = TimeDelta::seconds(1);

/// What was received, and what should have been.
pub(crate) struct Case<'a> {
    pub(crate) bank: &'a Bank,
    pub(crate) receipts: &'a [Receipt],
    pub(crate) parts: &'a [PartReceipt],
    pub(crate) committed: &'a [Transfer],
    pub(crate) balances: HashMap<(Object, i64), i64>,
}

/// What the digests had.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    pub(crate) digests: usize,
    pub(crate) parts: usize,
    pub(crate) duplicates: usize,
    /// Events whose net effect was nothing.
    pub(crate) vanished: usize,
}

impl Case<'_> {
    /// The first receipts of each event by `ORDERED`.
    pub(crate) fn events(&self) -> HashMap<Uuid, Update> {
        let own = self
            .receipts
            .iter()
            .filter(|one| one.subscription == ORDERED);
        own.map(|one| (one.update.id, one.update.clone())).collect()
    }

    fn judge(&self, receipts: &[Receipt], subscription: &str, is_ordered: bool) -> oracle::Verdict {
        let objects: &[Object] = if subscription == UNORDERED {
            &[Object::Teller]
        } else {
            &Object::ALL
        };
        let verdict = oracle::judge(
            receipts,
            &oracle::Expected {
                subscription,
                objects,
                is_ordered,
                committed: self.committed,
                balances: &self.balances,
            },
        );
        verdict.faults.none(subscription);
        assert_eq!(verdict.ids.len(), objects.len() * self.committed.len());
        verdict
    }

    /// Each event was received at least once, in the order of its object, and nothing else was.
    /// Returns how many came again.
    pub(crate) fn single_events(&self) -> usize {
        let ordered = self.judge(self.receipts, ORDERED, true);
        let unordered = self.judge(self.receipts, UNORDERED, false);
        let delayed = self.judge(self.receipts, DELAYED, true);
        assert!(unordered.ids.is_subset(&ordered.ids));
        assert_eq!(delayed.ids, ordered.ids);
        ordered.duplicates + unordered.duplicates + delayed.duplicates
    }

    /// No delayed delivery started before the synchronous ones were tried. In words.
    pub(crate) fn barrier(&self) -> String {
        let mut told = Vec::new();
        for (subscription, is_ordered) in [(ORDERED, true), (UNORDERED, false)] {
            let settled = self.bank.settled(subscription);
            let synchronous = barrier::Synchronous {
                subscription,
                is_ordered,
                barrier: REQUEST_TIMEOUT + LEASE,
                settled: &settled,
            };
            let verdict =
                barrier::judge(self.receipts, DELAYED, &synchronous, LEASE + RESULT_LIMIT);
            verdict.faults.none("the barrier");
            let barrier::Verdict {
                in_order,
                behind,
                excused,
                overdue,
                ..
            } = verdict;
            // Most could start, or the comparison would say nothing.
            assert!(
                in_order > settled.len() / 2,
                "{in_order}, {behind}, {excused}, {overdue}"
            );
            told.push(format!(
                "delayed after {subscription}: {in_order}, {behind} behind others, {excused} \
                 excused, {overdue} overdue"
            ));
        }
        told.join("; ")
    }

    /// Each event is in one digest of each batch subscription, and counts are exact.
    pub(crate) fn digests(&self, events: &HashMap<Uuid, Update>) -> Digests {
        let mut sum = Digests::default();
        for subscription in [LISTED, COUNTED, NETTED] {
            let members = self.bank.members(subscription);
            let verdict = digests::judge(
                self.parts,
                &digests::Expected {
                    subscription,
                    events,
                    members: &members,
                    items_max: (subscription == LISTED).then_some(ITEMS_MAX),
                },
            );
            verdict.faults.none(subscription);
            let told = self.told(subscription, &verdict.digests);
            sum.digests += members.len();
            sum.parts += verdict.parts;
            sum.duplicates += verdict.duplicates;
            sum.vanished += events.len() - told;
        }
        sum
    }

    /// All digests of a subscription together tell of what was committed. Returns of how many
    /// events.
    fn told(&self, subscription: &str, digests: &[Digest]) -> usize {
        if subscription == LISTED {
            let receipts = totals::as_receipts(LISTED, digests);
            return self.judge(&receipts, LISTED, true).ids.len();
        }
        let mut faults = Faults::default();
        let told = if subscription == COUNTED {
            totals::counts_are_those_committed(digests, self.committed, &mut faults)
        } else {
            totals::effects_are_chains(digests, &self.balances, &mut faults)
        };
        faults.none(subscription);
        told
    }
}
