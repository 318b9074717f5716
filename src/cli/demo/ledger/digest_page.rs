//! One receiver's part of the ledger, if it is sent digests.
//!
//! Of `keys` each count pays what is owed of that event type and object. Of `net_effect` the counts
//! pay in sum, for what came to nothing is not named; and what an object was `before` must be what
//! it was `after` when it was told of last. Of a mail the counts pay in sum.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{
    digest::{DigestPart, Entry},
    findings::Fault,
    receipt::Print,
    subscribers::Form,
};

#[derive(Default)]
pub(super) struct DigestPage {
    /// Events that a digest must hold, and none has yet; negative if the digest was quicker than
    /// the news of the commit.
    pub(super) owed: i64,
    /// Events that were owed in all.
    pub(super) expected: i64,
    /// The same as `owed` by event type and object, for digests that tell so.
    pub(super) owed_by_object: HashMap<(String, String), i64>,
    /// What each object was when it was told of last.
    pub(super) objects: HashMap<String, Print>,
    /// By the part's id.
    pub(super) parts: HashMap<String, Seen>,
    /// Digests of which parts are missing.
    pub(super) incomplete: HashMap<Uuid, Incomplete>,
    /// Where the last window ended.
    until: Option<DateTime<Utc>>,
}

/// A part that was requested at least once.
pub(super) struct Seen {
    pub(super) body: Print,
    pub(super) requests: u32,
    is_accepted: bool,
}

/// A digest of which parts are missing.
#[derive(Default)]
pub(super) struct Incomplete {
    accepted: BTreeSet<u32>,
    /// Events that its parts tell of.
    told: i64,
}

/// What accepting a part made of its digest.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// All parts are there.
    pub(super) is_complete: bool,
    pub(super) faults: Vec<(Fault, String)>,
}

impl DigestPage {
    /// Enters that an event must be in a digest.
    pub(super) fn owe(&mut self, form: Form, event_type: &str, object: &str) {
        self.owed += 1;
        self.expected += 1;
        if form == Form::Keys {
            self.settle_object(event_type, object, 1);
        }
    }

    /// Enters a request. Returns whether it is the part's first, and what is wrong with it.
    pub(super) fn request(&mut self, part: &DigestPart) -> (bool, Option<Fault>) {
        let seen = self.parts.entry(part.id()).or_insert(Seen {
            body: part.body,
            requests: 0,
            is_accepted: false,
        });
        seen.requests += 1;
        let fault = (seen.body != part.body).then_some(Fault::Altered);
        (seen.requests == 1, fault)
    }

    /// Enters a part that is going to be acknowledged.
    pub(super) fn accept(&mut self, form: Form, part: &DigestPart) -> Accepted {
        let mut accepted = Accepted::default();
        let Some(seen) = self.parts.get_mut(&part.id()) else {
            return accepted;
        };
        if std::mem::replace(&mut seen.is_accepted, true) {
            return accepted;
        }
        let mut found = |fault, example: String| accepted.faults.push((fault, example));
        let digest = self.incomplete.entry(part.digest).or_default();
        // Parts come in their order, too.
        if digest
            .accepted
            .last()
            .is_some_and(|last| part.part <= *last)
        {
            found(Fault::OutOfOrder, format!("part {}", part.id()));
        }
        if digest.accepted.is_empty()
            && let Some((from, to)) = part.window
        {
            if self.until.is_some_and(|until| from < until) {
                found(Fault::OutOfOrder, format!("digest {}", part.digest));
            }
            self.until = Some(to);
        }
        digest.accepted.insert(part.part);
        digest.told += part.entries.iter().map(|entry| entry.count).sum::<i64>();
        if digest.accepted.len() as u64 == u64::from(part.parts) {
            accepted.is_complete = true;
            let told = digest.told;
            // What came to nothing is counted and not told.
            let is_right = match form {
                Form::Keys => told == part.count,
                Form::NetEffect => told <= part.count,
                Form::Mail => true,
            };
            if !is_right {
                let example = format!("{} tells of {told} of {}", part.digest, part.count);
                found(Fault::Miscounted, example);
            }
            self.incomplete.remove(&part.digest);
            self.owed -= part.count;
        }
        for entry in &part.entries {
            match form {
                Form::Keys => {
                    let event_type = entry.event_type.as_deref().unwrap_or_default();
                    self.settle_object(event_type, &entry.object, -entry.count);
                }
                Form::NetEffect if !self.continues(entry) => {
                    found(Fault::OutOfOrder, format!("net effect on {}", entry.object));
                }
                Form::NetEffect | Form::Mail => {}
            }
        }
        accepted
    }

    fn settle_object(&mut self, event_type: &str, object: &str, count: i64) {
        let name = (event_type.to_owned(), object.to_owned());
        let owed = self.owed_by_object.entry(name.clone()).or_default();
        *owed += count;
        if *owed == 0 {
            self.owed_by_object.remove(&name);
        }
    }

    fn continues(&mut self, entry: &Entry) -> bool {
        let known = self.objects.insert(entry.object.clone(), entry.after);
        known.is_none_or(|after| after == entry.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "shop.stock.updated";

    fn entry(object: &str, count: i64, before: &[u8], after: &[u8]) -> Entry {
        Entry {
            event_type: Some(TYPE.to_owned()),
            object: object.to_owned(),
            count,
            before: Print::of(before),
            after: Print::of(after),
        }
    }

    fn part(digest: u128, part: u32, parts: u32, count: i64, entries: Vec<Entry>) -> DigestPart {
        DigestPart {
            digest: Uuid::from_u128(digest),
            part,
            parts,
            count,
            window: None,
            entries,
            body: Print::of(b"body"),
        }
    }

    fn receive(page: &mut DigestPage, form: Form, part: &DigestPart) -> Vec<Fault> {
        page.request(part);
        let accepted = page.accept(form, part);
        accepted
            .faults
            .into_iter()
            .map(|(fault, _)| fault)
            .collect()
    }

    #[test]
    fn keys_pay_what_is_owed_of_each_object_and_a_repeat_pays_nothing() {
        let mut page = DigestPage::default();
        for object in ["a", "a", "b"] {
            page.owe(Form::Keys, TYPE, object);
        }
        let first = part(1, 1, 2, 3, vec![entry("a", 2, b"", b"")]);
        assert_eq!(receive(&mut page, Form::Keys, &first), []);
        assert_eq!(page.owed, 3);
        assert_eq!(receive(&mut page, Form::Keys, &first), []);
        let second = part(1, 2, 2, 3, vec![entry("b", 1, b"", b"")]);
        assert_eq!(receive(&mut page, Form::Keys, &second), []);
        assert_eq!((page.owed, page.expected), (0, 3));
        assert!(page.owed_by_object.is_empty() && page.incomplete.is_empty());
    }

    #[test]
    fn a_count_that_is_not_what_is_told_is_miscounted() {
        let mut page = DigestPage::default();
        page.owe(Form::Keys, TYPE, "a");
        let wrong = part(1, 1, 1, 1, vec![entry("a", 2, b"", b"")]);
        assert_eq!(receive(&mut page, Form::Keys, &wrong), [Fault::Miscounted]);
        assert_eq!(page.owed_by_object.values().sum::<i64>(), -1);
    }

    #[test]
    fn net_effects_continue_each_other_and_may_leave_out_what_came_to_nothing() {
        let mut page = DigestPage::default();
        let digests = [
            part(1, 1, 1, 5, vec![entry("a", 3, b"1", b"2")]),
            part(2, 1, 1, 1, vec![entry("a", 1, b"2", b"3")]),
        ];
        for digest in &digests {
            assert_eq!(receive(&mut page, Form::NetEffect, digest), []);
        }
        let gap = part(3, 1, 1, 1, vec![entry("a", 1, b"9", b"4")]);
        let faults = receive(&mut page, Form::NetEffect, &gap);
        assert_eq!(faults, [Fault::OutOfOrder]);
        assert_eq!(page.owed, -7);
    }

    #[test]
    fn another_body_under_the_same_id_is_altered() {
        let mut page = DigestPage::default();
        let mut part = part(1, 1, 1, 0, vec![]);
        assert_eq!(page.request(&part), (true, None));
        assert_eq!(page.request(&part), (false, None));
        part.body = Print::of(b"other");
        assert_eq!(page.request(&part), (false, Some(Fault::Altered)));
    }
}
