//! Compares the events that were received with what was committed. Pure.
//!
//! pgbench_history is the writers' ledger: each row of it is one committed transaction, which
//! updated one account, one teller and one branch by the row's amount. Every balance began at 0.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::{bank::Transfer, ledger::Receipt, wire::Object};

/// Faults that are told at most; one fault often brings many.
const FAULTS_SHOWN_MAX: usize = 20;

/// What a subscription must have received.
pub(crate) struct Expected<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) objects: &'a [Object],
    /// Whether the first receipts of an object come in the order of its changes.
    pub(crate) is_ordered: bool,
    pub(crate) committed: &'a [Transfer],
    pub(crate) balances: &'a HashMap<(Object, i64), i64>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The ids of the events received.
    pub(crate) ids: HashSet<Uuid>,
    /// Receipts of events that had been received before.
    pub(crate) duplicates: usize,
    pub(crate) faults: Faults,
}

/// What must not be, in words; the first ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub(crate) fn add(&mut self, text: String) {
        if self.0.len() < FAULTS_SHOWN_MAX {
            self.0.push(text);
        }
    }

    /// Fails the test if there is one.
    pub(crate) fn none(&self, of: &str) {
        assert!(self.0.is_empty(), "{of}: {:#?}", self.0);
    }

    /// Fails the test if none says `text`.
    pub(crate) fn say(&self, text: &str) {
        assert!(self.0.iter().any(|fault| fault.contains(text)), "{self:?}");
    }
}

/// Judges the receipts of one subscription.
pub(crate) fn judge(receipts: &[Receipt], expected: &Expected<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let own: Vec<&Receipt> = receipts
        .iter()
        .filter(|receipt| receipt.subscription == expected.subscription)
        .collect();
    let mut first = first_receipts(&own, &mut verdict);
    sequence_is_gapless(&first, &mut verdict);
    if !expected.is_ordered {
        // Sent in any order, but numbered in the order of the changes.
        first.sort_unstable_by_key(|receipt| receipt.sequence);
    }
    amounts_are_those_committed(&first, expected, &mut verdict);
    chains_are_unbroken(&first, expected, &mut verdict);
    verdict
}

/// The receipts without duplicates, in the order of arrival. A duplicate has the same body.
fn first_receipts<'a>(own: &[&'a Receipt], verdict: &mut Verdict) -> Vec<&'a Receipt> {
    let mut bodies: HashMap<Uuid, [u8; 32]> = HashMap::new();
    let mut first = Vec::new();
    for receipt in own {
        match bodies.insert(receipt.update.id, receipt.body_hash) {
            None => first.push(*receipt),
            Some(body) => {
                verdict.duplicates += 1;
                if body != receipt.body_hash {
                    verdict
                        .faults
                        .add(format!("a duplicate has another body: {receipt}"));
                }
            }
        }
    }
    verdict.ids = bodies.into_keys().collect();
    first
}

/// The numbers are 1 to the number of events, each once.
fn sequence_is_gapless(first: &[&Receipt], verdict: &mut Verdict) {
    let mut numbers: Vec<i64> = first.iter().map(|receipt| receipt.sequence).collect();
    numbers.sort_unstable();
    if let Some((wanted, found)) = (1..).zip(numbers).find(|(wanted, found)| wanted != found) {
        verdict.faults.add(format!(
            "the sequence has {found} where {wanted} should follow"
        ));
    }
}

/// Per object, the amounts received are exactly those committed: nothing lost, nothing else.
fn amounts_are_those_committed(first: &[&Receipt], expected: &Expected<'_>, verdict: &mut Verdict) {
    // How often each amount was committed, less how often it was received.
    let mut missing: BTreeMap<(Object, i64, i64), i64> = BTreeMap::new();
    for object in expected.objects {
        for transfer in expected.committed {
            let amount = (*object, transfer.key(*object), transfer.delta);
            *missing.entry(amount).or_default() += 1;
        }
    }
    for receipt in first {
        let update = &receipt.update;
        let amount = (update.object, update.key, update.after - update.before);
        *missing.entry(amount).or_default() -= 1;
    }
    for ((object, key, amount), times) in missing {
        if times > 0 {
            verdict
                .faults
                .add(format!("lost: {object:?} {key} by {amount}, {times} times"));
        } else if times < 0 {
            let times = -times;
            verdict.faults.add(format!(
                "not committed: {object:?} {key} by {amount}, {times} times"
            ));
        }
    }
}

/// Per object, each event begins where the one before it ended, from 0 to the balance of the row.
fn chains_are_unbroken(first: &[&Receipt], expected: &Expected<'_>, verdict: &mut Verdict) {
    let mut last: HashMap<(Object, i64), (i64, i64)> = HashMap::new();
    for receipt in first {
        let update = &receipt.update;
        let (balance, sequence) = last.entry((update.object, update.key)).or_default();
        if update.before != *balance || receipt.sequence <= *sequence {
            verdict.faults.add(format!(
                "out of order: sequence {sequence} left a balance of {balance}, then came {receipt}"
            ));
        }
        (*balance, *sequence) = (update.after, receipt.sequence);
    }
    for ((object, key), (balance, _)) in last {
        let is = expected.balances.get(&(object, key));
        if is != Some(&balance) {
            verdict.faults.add(format!(
                "{object:?} {key} ends at {balance}, and its row at {is:?}"
            ));
        }
    }
}

/// The oracle must notice what it is for.
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::wire::Update;

    /// Two transfers at teller 1 and one at teller 2, as they should be received.
    fn right() -> Vec<Receipt> {
        let receipt = |sequence: u8, key, before, after| Receipt {
            subscription: "s".to_owned(),
            at: DateTime::UNIX_EPOCH,
            body_hash: [sequence; 32],
            update: Update {
                id: Uuid::from_u128(u128::from(sequence)),
                object: Object::Teller,
                key,
                before,
                after,
            },
            sequence: i64::from(sequence),
        };
        vec![
            receipt(1, 1, 0, 5),
            receipt(2, 2, 0, -3),
            receipt(3, 1, 5, 9),
        ]
    }

    fn faults(receipts: &[Receipt], is_ordered: bool) -> Faults {
        let committed =
            [(1, 5), (2, -3), (1, 4)].map(|(tid, delta)| Transfer::new(7, tid, 1, delta));
        let balances = HashMap::from([((Object::Teller, 1), 9), ((Object::Teller, 2), -3)]);
        let expected = Expected {
            subscription: "s",
            objects: &[Object::Teller],
            is_ordered,
            committed: &committed,
            balances: &balances,
        };
        judge(receipts, &expected).faults
    }

    fn assert_fault(receipts: &[Receipt], text: &str) {
        faults(receipts, true).say(text);
    }

    #[test]
    fn the_oracle_accepts_what_is_right_and_what_is_repeated() {
        let mut receipts = right();
        receipts.push(receipts[0].clone());
        faults(&receipts, true).none("repeated");
    }

    #[test]
    fn the_oracle_notices_what_is_lost_invented_changed_or_out_of_order() {
        let mut receipts = right();
        receipts.pop();
        assert_fault(&receipts, "lost: Teller 1 by 4, 1 times");
        assert_fault(&receipts, "Teller 1 ends at 5, and its row at Some(9)");

        let mut receipts = right();
        receipts[1].update.after = 999_997;
        assert_fault(&receipts, "not committed: Teller 2 by 999997, 1 times");

        let mut receipts = right();
        let changed = Receipt {
            body_hash: [9; 32],
            ..receipts[0].clone()
        };
        receipts.push(changed);
        assert_fault(&receipts, "a duplicate has another body");

        let mut receipts = right();
        receipts[2].sequence = 4;
        assert_fault(&receipts, "the sequence has 4 where 3 should follow");

        let mut receipts = right();
        receipts.swap(0, 2);
        assert_fault(&receipts, "out of order");
        faults(&receipts, false).none("in any order");
    }
}
