//! What the writers committed, held against what the receivers got.
//!
//! An event is known by its transaction, its object and its type, which every event carries. Each
//! committed change owes its events to each of their receivers; a receipt pays one. What is owed in
//! the end is lost; what was paid and never owed was rolled back by its writer, or came twice under
//! different ids. So the account is exact, and what has been settled is forgotten. Digests name no
//! transactions: they pay by counts (`digest_page`).
//!
//! Order is checked by the rows themselves: what an object was `before` an event must be, to the
//! byte, what it was `after` the event accepted before it. A receiver that refused an event has not
//! had it; latency, however, is taken at the first request.

mod digest_page;
mod early;
mod judge;
mod page;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use self::{
    digest_page::DigestPage,
    early::EarlyOnes,
    page::{Page, Seen},
};
pub(super) use self::{early::Early, judge::Evidence};
use super::{
    digest::DigestPart,
    findings::{Fault, Findings},
    latency::{Latency, Percentiles},
    receipt::{Name, Receipt},
    subscribers::{RELEASED, SUBSCRIBERS, Way},
};

/// A row that a writer changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// The standard event type of the change, such as `shop.order.created`.
    pub(super) event_type: &'static str,
    /// The object key as text.
    pub(super) key: String,
    /// If it released an order: its total in cents.
    pub(super) released: Option<i64>,
}

impl Change {
    /// Object type and object key, parted by a slash.
    fn object(&self) -> String {
        let object_type = self.event_type.rsplit_once('.').map(|(name, _)| name);
        format!("{}/{}", object_type.unwrap_or_default(), self.key)
    }

    /// The types of its events, and of a released order the total in cents.
    fn events(&self) -> impl Iterator<Item = (&'static str, Option<i64>)> {
        let released = self.released.map(|cents| (RELEASED, Some(cents)));
        std::iter::once((self.event_type, None)).chain(released)
    }
}

/// Whether a receiver sees something for the first time.
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
    /// Changes that met the condition of the event type [`RELEASED`].
    pub(super) released: u64,
    /// Deliveries that the constraint must suppress.
    pub(super) spared: u64,
    pub(super) requests: u64,
    pub(super) accepted: u64,
    /// Of these, those of delayed receivers.
    pub(super) delayed: u64,
    pub(super) repeats: u64,
    pub(super) refused: u64,
    pub(super) answers_lost: u64,
    /// Answers given late on purpose.
    pub(super) late: u64,
    /// Events of rows that were changed by hand, as the delayed receiver got them.
    pub(super) by_hand: u64,
    /// Events owed to receivers and not yet accepted.
    pub(super) owed: i64,
    /// Events that belong into digests and are in none that was received.
    pub(super) owed_in_digests: i64,
    /// Digests that were received whole.
    pub(super) digests: u64,
    pub(super) digest_parts: u64,
    /// Of the parts, mails.
    pub(super) mails: u64,
    /// Events of the digests that were received whole.
    pub(super) digest_events: u64,
}

/// How long it took: from commit to receipt, and of digests from the close of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) synchronous: Percentiles,
    pub(super) delayed: Percentiles,
    pub(super) digests: Percentiles,
}

/// The ledger of all writers and receivers.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// By the place of the subscriber; one that gets digests has none of these.
    pages: [Page; SUBSCRIBERS.len()],
    /// By the place of the subscriber; only one that gets digests has one of these.
    digest_pages: [DigestPage; SUBSCRIBERS.len()],
    early: EarlyOnes,
    tally: Tally,
    synchronous: Latency,
    delayed: Latency,
    digests: Latency,
    findings: Findings,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a transaction whose COMMIT returned at `at`.
    pub(super) fn committed(&self, xid: i64, changes: &[Change], at: Instant) {
        let mut book = self.book();
        book.tally.transactions += 1;
        book.tally.changes += changes.len() as u64;
        for change in changes {
            let object = change.object();
            for (event_type, cents) in change.events() {
                book.owe_in_digests(event_type, cents, &object);
                let name = (xid, object.clone(), event_type.to_owned());
                book.owe(&name, cents, at);
            }
        }
    }

    /// Enters what else became of a transaction.
    pub(super) fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.book().tally);
    }

    /// Enters a verified request for an event, before it is answered.
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
            is_tried: false,
            is_accepted: false,
            is_answer_lost: false,
        };
        page.events.insert(receipt.id, seen);
        let way = SUBSCRIBERS[receiver].way;
        if receipt.is_ours {
            let debt = book.pages[receiver].owed.get(&receipt.name());
            let committed_at = debt.and_then(|debt| debt.committed_at);
            // None: the receipt was quicker than the answer to COMMIT.
            let took = committed_at.map_or(Duration::ZERO, |start| at.duration_since(start));
            match way {
                Way::Delayed => book.delayed.add(took),
                _ => book.synchronous.add(took),
            }
        }
        if way == Way::Delayed {
            book.look_for_early(receipt);
        }
        Request::First
    }

    /// Enters that the request is going to be refused.
    pub(super) fn refuse(&self, receiver: usize, receipt: &Receipt) {
        let mut book = self.book();
        book.tally.refused += 1;
        if let Some(seen) = book.pages[receiver].events.get_mut(&receipt.id) {
            seen.is_tried = true;
        }
    }

    /// Enters that the request is going to be acknowledged.
    pub(super) fn accept(&self, receiver: usize, receipt: &Receipt) {
        let mut book = self.book();
        let page = &mut book.pages[receiver];
        let Some(seen) = page.events.get_mut(&receipt.id) else {
            return;
        };
        seen.is_tried = true;
        if std::mem::replace(&mut seen.is_accepted, true) {
            return;
        }
        let is_next = page.is_next(receipt);
        let owed = if receipt.is_ours {
            page.settle(&receipt.name(), -1, None)
        } else {
            0
        };
        let is_delayed = SUBSCRIBERS[receiver].way == Way::Delayed;
        book.tally.owed += owed;
        book.tally.accepted += 1;
        book.tally.delayed += u64::from(is_delayed);
        book.tally.by_hand += u64::from(is_delayed && !receipt.is_ours);
        if !is_next {
            let example = format!(
                "{} of {} ({})",
                receipt.event_type, receipt.object, receipt.id
            );
            book.findings.add(Fault::OutOfOrder, receiver, &example);
        }
        // No writer told of it. The delayed receiver is told of everything, so from its receipt the
        // ledger learns what digests must hold.
        if is_delayed && !receipt.is_ours {
            book.owe_in_digests(&receipt.event_type, receipt.cents, &receipt.object);
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

    /// Enters a verified request for a part of a digest, before it is answered.
    pub(super) fn digest_request(
        &self,
        receiver: usize,
        part: &DigestPart,
        now: DateTime<Utc>,
    ) -> Request {
        let mut book = self.book();
        book.tally.requests += 1;
        let (is_first, fault) = book.digest_pages[receiver].request(part);
        if let Some(fault) = fault {
            let example = format!("{} came again with another body", part.id());
            book.findings.add(fault, receiver, &example);
        }
        if !is_first {
            book.tally.repeats += 1;
            return Request::Again;
        }
        if let Some((_, to)) = part.window {
            book.digests.add((now - to).to_std().unwrap_or_default());
        }
        Request::First
    }

    /// Enters a part of a digest that is going to be acknowledged, or was found as a mail. Returns
    /// whether it is the last one of its digest.
    pub(super) fn digest_accept(&self, receiver: usize, part: &DigestPart) -> bool {
        let Way::Digest(form) = SUBSCRIBERS[receiver].way else {
            return false;
        };
        let mut book = self.book();
        let page = &mut book.digest_pages[receiver];
        let owed_before = page.owed;
        let accepted = page.accept(form, part);
        book.tally.owed_in_digests += book.digest_pages[receiver].owed - owed_before;
        book.tally.digest_parts += 1;
        if accepted.is_complete {
            book.tally.digests += 1;
            book.tally.digest_events += part.count.unsigned_abs();
        }
        for (fault, example) in accepted.faults {
            book.findings.add(fault, receiver, &example);
        }
        accepted.is_complete
    }

    /// Enters a mail that was found. Returns whether it is the last one of its digest.
    pub(super) fn mail(&self, receiver: usize, part: &DigestPart) -> bool {
        self.book().digest_pages[receiver].request(part);
        self.note(|tally| tally.mails += 1);
        self.digest_accept(receiver, part)
    }

    /// Enters that something must not have happened.
    pub(super) fn fault(&self, fault: Fault, receiver: usize, example: &str) {
        self.book().findings.add(fault, receiver, example);
    }

    pub(super) fn tally(&self) -> Tally {
        self.book().tally
    }

    /// How long it took in the last turns, and in all.
    pub(super) fn times(&self) -> (Times, Times) {
        let book = self.book();
        let of = |percentiles: fn(&Latency) -> Percentiles| Times {
            synchronous: percentiles(&book.synchronous),
            delayed: percentiles(&book.delayed),
            digests: percentiles(&book.digests),
        };
        (of(Latency::recent), of(Latency::total))
    }

    /// Begins another turn of the last seconds.
    pub(super) fn turn(&self) {
        let mut book = self.book();
        book.synchronous.turn();
        book.delayed.turn();
        book.digests.turn();
    }

    /// Events that a delayed receiver got before a synchronous one was tried.
    pub(super) fn early(&self) -> Vec<Early> {
        self.book().early.noted().to_vec()
    }
}

impl Book {
    /// Enters what is owed of an event to those that are sent events.
    fn owe(&mut self, name: &Name, cents: Option<i64>, at: Instant) {
        for (page, subscriber) in self.pages.iter_mut().zip(&SUBSCRIBERS) {
            let is_digest = matches!(subscriber.way, Way::Digest(_));
            if !is_digest && subscriber.is_owed(&name.2, cents) {
                self.tally.owed += page.settle(name, 1, Some(at));
            }
        }
    }

    /// Enters what is owed of an event to those that are sent digests, and what its condition and
    /// the constraint must come to.
    fn owe_in_digests(&mut self, event_type: &str, cents: Option<i64>, object: &str) {
        for (page, subscriber) in self.digest_pages.iter_mut().zip(&SUBSCRIBERS) {
            if let Way::Digest(form) = subscriber.way
                && subscriber.is_owed(event_type, cents)
            {
                page.owe(form, event_type, object);
                self.tally.owed_in_digests += 1;
            }
            self.tally.spared += u64::from(subscriber.is_spared(event_type, cents));
        }
        self.tally.released += u64::from(event_type == RELEASED);
    }

    /// Notes the synchronous receivers that were not tried before the delayed one is.
    fn look_for_early(&mut self, receipt: &Receipt) {
        for (place, subscriber) in SUBSCRIBERS.iter().enumerate() {
            if subscriber.way == Way::Synchronous
                && subscriber.is_owed(&receipt.event_type, receipt.cents)
                && !self.pages[place].has_tried(receipt.id)
            {
                self.early.note((receipt.id, place));
            }
        }
    }
}
