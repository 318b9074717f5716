//! What the writers committed, held against what the receivers got.
//!
//! A change is known by its transaction, its object and its operation, which every event carries.
//! Each committed change of a subscribed object is owed to each of its receivers; a receipt pays
//! one. What is owed in the end is lost; what was paid and never owed was rolled back by its
//! writer, or came twice under different ids. So the account is exact, and what has been settled is
//! forgotten.
//!
//! Order is checked by the rows themselves: what an object was `before` an event must be, to the
//! byte, what it was `after` the event accepted before it. A receiver that refused an event has not
//! had it; latency, however, is taken at the first request.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    findings::{Fault, Findings, Verdict},
    latency::{Latency, Percentiles},
    receipt::{Name, Print, Receipt},
};

/// The demo's receivers, by the name of their subscription, and what they are told of.
pub(super) const RECEIVERS: [(&str, &[&str]); 3] = [
    ("erp", &["shop.order", "shop.item"]),
    ("warehouse", &["shop.stock", "shop.item"]),
    ("crm", &["shop.customer"]),
];

/// A row that a writer changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    pub(super) object_type: &'static str,
    /// The object key as text.
    pub(super) key: String,
    pub(super) op: &'static str,
}

/// Whether a receiver sees an event for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    First,
    Again,
}

/// Running totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) transactions: u64,
    pub(super) changes: u64,
    pub(super) rolled_back: u64,
    pub(super) savepoints_rolled_back: u64,
    pub(super) conflicts: u64,
    pub(super) requests: u64,
    pub(super) accepted: u64,
    pub(super) repeats: u64,
    pub(super) refused: u64,
    pub(super) answers_lost: u64,
    /// Received events of rows that were changed by hand.
    pub(super) by_hand: u64,
    /// Owed to receivers and not yet accepted.
    pub(super) owed: i64,
}

/// The ledger of all writers and receivers.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    pages: [Page; RECEIVERS.len()],
    tally: Tally,
    latency: Latency,
    findings: Findings,
}

/// One receiver's part.
#[derive(Default)]
struct Page {
    /// Gone when it is settled.
    owed: HashMap<Name, Debt>,
    events: HashMap<Uuid, Seen>,
    /// What each object was after the last accepted event.
    objects: HashMap<String, Print>,
}

#[derive(Default)]
struct Debt {
    /// Negative if the receipt was quicker than the news of the commit.
    count: i64,
    committed_at: Option<Instant>,
}

struct Seen {
    body: Print,
    requests: u32,
    is_accepted: bool,
    is_answer_lost: bool,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a transaction whose COMMIT returned at `at`.
    pub(super) fn committed(&self, xid: i64, changes: &[Change], at: Instant) {
        let mut book = self.book();
        let mut owed = 0;
        book.tally.transactions += 1;
        book.tally.changes += changes.len() as u64;
        for change in changes {
            let object = format!("{}/{}", change.object_type, change.key);
            for (page, (_, object_types)) in book.pages.iter_mut().zip(RECEIVERS) {
                if object_types.contains(&change.object_type) {
                    let name = (xid, object.clone(), change.op.to_owned());
                    owed += page.settle(&name, 1, Some(at));
                }
            }
        }
        book.tally.owed += owed;
    }

    /// Enters what else became of a transaction.
    pub(super) fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.book().tally);
    }

    /// Enters a verified request, before it is answered.
    pub(super) fn request(&self, receiver: usize, receipt: &Receipt, at: Instant) -> Request {
        let mut book = self.book();
        book.tally.requests += 1;
        let page = &mut book.pages[receiver];
        if let Some(seen) = page.events.get_mut(&receipt.id) {
            seen.requests += 1;
            if seen.body != receipt.body {
                let example = format!("{} came again with another body", receipt.id);
                book.findings.add(Fault::Altered, receiver, &example);
            }
            book.tally.repeats += 1;
            return Request::Again;
        }
        let seen = Seen {
            body: receipt.body,
            requests: 1,
            is_accepted: false,
            is_answer_lost: false,
        };
        page.events.insert(receipt.id, seen);
        if receipt.is_ours {
            let debt = page.owed.get(&receipt.name());
            let committed_at = debt.and_then(|debt| debt.committed_at);
            // None: the receipt was quicker than the answer to COMMIT.
            let took = committed_at.map_or(Duration::ZERO, |start| at.duration_since(start));
            book.latency.add(took);
        }
        Request::First
    }

    /// Enters that the request is going to be acknowledged.
    pub(super) fn accept(&self, receiver: usize, receipt: &Receipt) {
        let mut book = self.book();
        let page = &mut book.pages[receiver];
        let Some(seen) = page.events.get_mut(&receipt.id) else {
            return;
        };
        if std::mem::replace(&mut seen.is_accepted, true) {
            return;
        }
        let known = page.objects.insert(receipt.object.clone(), receipt.after);
        let owed = if receipt.is_ours {
            page.settle(&receipt.name(), -1, None)
        } else {
            0
        };
        book.tally.owed += owed;
        book.tally.accepted += 1;
        book.tally.by_hand += u64::from(!receipt.is_ours);
        // Rows that were there before the demo are first met in the middle of their lives.
        if known.is_some_and(|after| after != receipt.before) {
            let example = format!("{} of {} ({})", receipt.op, receipt.object, receipt.id);
            book.findings.add(Fault::OutOfOrder, receiver, &example);
        }
    }

    /// Enters that an accepted request is not going to be answered. If that ends a connection that
    /// was used before, Rowcall takes it for one that went stale and sends once more within the
    /// same attempt.
    pub(super) fn lose_answer(&self, receiver: usize, receipt: &Receipt) {
        let mut book = self.book();
        book.tally.answers_lost += 1;
        if let Some(seen) = book.pages[receiver].events.get_mut(&receipt.id) {
            seen.is_answer_lost = true;
        }
    }

    /// Enters that something must not have happened.
    pub(super) fn fault(&self, fault: Fault, receiver: usize, example: &str) {
        self.book().findings.add(fault, receiver, example);
    }

    pub(super) fn tally(&self) -> Tally {
        self.book().tally
    }

    /// From commit to receipt: of the last turns, and in all.
    pub(super) fn latency(&self) -> (Percentiles, Percentiles) {
        let book = self.book();
        (book.latency.recent(), book.latency.total())
    }

    /// Begins another turn of the last seconds.
    pub(super) fn latency_turn(&self) {
        self.book().latency.turn();
    }

    /// Judges. `attempts` tells, by receiver and event, of deliveries that took more than one.
    pub(super) fn verdict(&self, attempts: &HashMap<(usize, Uuid), u32>) -> Verdict {
        let book = self.book();
        let mut findings = book.findings.clone();
        let mut lost = 0;
        for (receiver, page) in book.pages.iter().enumerate() {
            for ((xid, object, op), debt) in &page.owed {
                let example = format!("{op} of {object} in transaction {xid}");
                if debt.count < 0 {
                    findings.add(Fault::Unexpected, receiver, &example);
                } else {
                    lost += debt.count;
                    findings.example(receiver, &format!("lost: {example}"));
                }
            }
            for (id, seen) in page.events.iter().filter(|(_, seen)| seen.requests > 1) {
                let (times, attempts) = (seen.requests, attempts.get(&(receiver, *id)));
                let attempts = attempts.copied().unwrap_or(1);
                if times > attempts + u32::from(seen.is_answer_lost) {
                    let example = format!("{id} came {times} times in {attempts} attempts");
                    findings.add(Fault::UnexplainedRepeat, receiver, &example);
                }
            }
        }
        findings.verdict(lost)
    }
}

impl Page {
    /// Returns by how much more, or less, is owed.
    fn settle(&mut self, name: &Name, count: i64, committed_at: Option<Instant>) -> i64 {
        let debt = self.owed.entry(name.clone()).or_default();
        let before = debt.count.max(0);
        debt.count += count;
        debt.committed_at = debt.committed_at.or(committed_at);
        let after = debt.count;
        if after == 0 {
            self.owed.remove(name);
        }
        after.max(0) - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRM: usize = 2;

    fn changed(op: &'static str) -> Change {
        Change {
            object_type: "shop.customer",
            key: "7".to_owned(),
            op,
        }
    }

    fn event(id: u128, op: &str, before: &[u8], after: &[u8]) -> Receipt {
        Receipt {
            id: Uuid::from_u128(id),
            object: "shop.customer/7".to_owned(),
            op: op.to_owned(),
            xid: 100 + id as i64,
            is_ours: true,
            before: Print::of(before),
            after: Print::of(after),
            body: Print::of(after),
        }
    }

    fn receive(ledger: &Ledger, receipt: &Receipt) {
        ledger.request(CRM, receipt, Instant::now());
        ledger.accept(CRM, receipt);
    }

    /// What is lost, and the faults that are not zero.
    fn judge(ledger: &Ledger) -> (i64, Vec<(Fault, u64)>) {
        let verdict = ledger.verdict(&HashMap::new());
        let faults = verdict.faults.into_iter();
        (
            verdict.lost,
            faults.filter(|(_, count)| *count > 0).collect(),
        )
    }

    #[test]
    fn what_was_committed_and_received_in_order_is_in_order() {
        let ledger = Ledger::default();
        let (first, second) = (
            event(1, "create", b"null", b"a"),
            event(2, "update", b"a", b"b"),
        );
        ledger.committed(101, &[changed("create")], Instant::now());
        assert_eq!(ledger.tally().owed, 1);
        receive(&ledger, &first);
        // The second receipt is quicker than the news of its commit.
        receive(&ledger, &second);
        ledger.committed(102, &[changed("update")], Instant::now());
        assert_eq!(ledger.tally().owed, 0);
        assert_eq!(judge(&ledger), (0, vec![]));
    }

    #[test]
    fn what_never_came_is_lost() {
        let ledger = Ledger::default();
        ledger.committed(101, &[changed("create")], Instant::now());
        assert_eq!(judge(&ledger), (1, vec![]));
    }

    #[test]
    fn a_rolled_back_change_that_came_is_unexpected() {
        let ledger = Ledger::default();
        receive(&ledger, &event(1, "create", b"null", b"a"));
        assert_eq!(judge(&ledger), (0, vec![(Fault::Unexpected, 1)]));
    }

    #[test]
    fn two_events_of_one_object_that_changed_places_are_out_of_order() {
        let ledger = Ledger::default();
        ledger.committed(101, &[changed("create")], Instant::now());
        ledger.committed(102, &[changed("update")], Instant::now());
        receive(&ledger, &event(2, "update", b"a", b"b"));
        receive(&ledger, &event(1, "create", b"null", b"a"));
        assert_eq!(judge(&ledger), (0, vec![(Fault::OutOfOrder, 1)]));
    }

    #[test]
    fn a_repeat_is_explained_by_attempts_and_must_have_the_same_body() {
        let ledger = Ledger::default();
        ledger.committed(101, &[changed("create")], Instant::now());
        let receipt = event(1, "create", b"null", b"a");
        receive(&ledger, &receipt);
        assert_eq!(
            ledger.request(CRM, &receipt, Instant::now()),
            Request::Again
        );
        let attempts = HashMap::from([((CRM, receipt.id), 2)]);
        assert!(
            ledger
                .verdict(&attempts)
                .faults
                .iter()
                .all(|(_, count)| *count == 0)
        );
        assert_eq!(judge(&ledger), (0, vec![(Fault::UnexplainedRepeat, 1)]));

        // An attempt that lost its answer with its connection may send once more.
        ledger.lose_answer(CRM, &receipt);
        assert_eq!(judge(&ledger), (0, vec![]));

        let altered = event(1, "create", b"null", b"other");
        ledger.request(CRM, &altered, Instant::now());
        let faults = judge(&ledger).1;
        assert!(faults.contains(&(Fault::Altered, 1)), "{faults:?}");
    }
}
