//! Compares the digests that were received with the events that were committed. Pure.
//!
//! Which event belongs to which digest is Rowcall's to decide, and it keeps it: `members`. What a
//! digest tells must be what its members come to, and each event must be a member of one.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{
    contents::{content_differs, effects},
    ledger::PartReceipt,
    oracle::Faults,
    wire::{Content, Part, Update},
};

/// What a subscription must have received.
pub(crate) struct Expected<'a> {
    pub(crate) subscription: &'a str,
    /// All events that were committed.
    pub(crate) events: &'a HashMap<Uuid, Update>,
    /// By digest, in their order.
    pub(crate) members: &'a HashMap<Uuid, Vec<Uuid>>,
    pub(crate) items_max: Option<usize>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The digests in the order of their arrival, each with all that its parts tell.
    pub(crate) digests: Vec<Digest>,
    /// Different parts.
    pub(crate) parts: usize,
    /// Receipts of parts that had been received before.
    pub(crate) duplicates: usize,
    pub(crate) faults: Faults,
}

/// A digest, put together.
#[derive(Debug)]
pub(crate) struct Digest {
    /// Its first part, with what the others tell added.
    pub(crate) whole: Part,
    parts: u32,
}

/// Judges the parts that one subscription received.
pub(crate) fn judge(receipts: &[PartReceipt], expected: &Expected<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for receipt in first_receipts(receipts, expected.subscription, &mut verdict) {
        verdict.parts += 1;
        if usize::try_from(receipt.sequence) != Ok(verdict.parts) {
            let (id, sequence, place) = (&receipt.id, receipt.sequence, verdict.parts);
            verdict.faults.add(format!(
                "{id} has the sequence {sequence}, and came as part {place}"
            ));
        }
        put_together(&receipt.part, &mut verdict);
    }
    if let Some(last) = verdict.digests.last().filter(|last| !last.is_complete()) {
        let fault = format!("{} ends after {} parts", last.whole.digest, last.parts);
        verdict.faults.add(fault);
    }
    members_are_those_committed(expected, &mut verdict.faults);
    let Verdict {
        digests, faults, ..
    } = &mut verdict;
    contents_are_those_of_members(digests, expected, faults);
    verdict
}

/// The receipts without duplicates, in the order of arrival. A duplicate is the same to the byte.
fn first_receipts<'a>(
    receipts: &'a [PartReceipt],
    subscription: &str,
    verdict: &mut Verdict,
) -> Vec<&'a PartReceipt> {
    let mut bodies: HashMap<&str, [u8; 32]> = HashMap::new();
    let mut first = Vec::new();
    for receipt in receipts {
        if receipt.subscription != subscription {
            continue;
        }
        match bodies.insert(&receipt.id, receipt.body_hash) {
            None => first.push(receipt),
            Some(body) => {
                verdict.duplicates += 1;
                if body != receipt.body_hash {
                    let fault = format!("{} came again with another body", receipt.id);
                    verdict.faults.add(fault);
                }
            }
        }
    }
    first
}

/// Adds a part to the digest that is being received, or begins the next.
fn put_together(part: &Part, verdict: &mut Verdict) {
    let Verdict {
        digests, faults, ..
    } = verdict;
    let (id, number) = (part.digest, part.part);
    match digests.last_mut() {
        Some(open) if !open.is_complete() => {
            let (parts, digest, of) = (open.parts, open.whole.digest, open.whole.parts);
            if !open.takes(part) {
                faults.add(format!(
                    "{id}.{number} came after part {parts} of {of} of {digest}"
                ));
            }
        }
        last => {
            if number != 1 {
                faults.add(format!("{id} begins with part {number}"));
            }
            // What was wholly undone is not told, and then its window is missing.
            if let Some(last) = last
                && part.from < last.whole.to
            {
                let (from, to) = (part.from, last.whole.to);
                faults.add(format!(
                    "{id} begins at {from}, the one before ended at {to}"
                ));
            }
            digests.push(Digest::begin(part));
        }
    }
}

impl Digest {
    /// The digest that this is the first part of.
    pub(crate) fn begin(part: &Part) -> Self {
        Self {
            whole: part.clone(),
            parts: 1,
        }
    }

    fn is_complete(&self) -> bool {
        self.parts >= self.whole.parts
    }

    /// Adds the next part; false if it is not that.
    fn takes(&mut self, next: &Part) -> bool {
        let whole = &mut self.whole;
        self.parts += 1;
        let is_next = next.digest == whole.digest
            && next.part == self.parts
            && (next.parts, next.count) == (whole.parts, whole.count)
            && (next.from, next.to) == (whole.from, whole.to);
        match (&mut whole.content, &next.content) {
            (Content::Items(all), Content::Items(more)) => all.extend_from_slice(more),
            (Content::Counts(all), Content::Counts(more)) => all.extend_from_slice(more),
            (Content::Effects(all), Content::Effects(more)) => all.extend_from_slice(more),
            _ => return false,
        }
        is_next
    }
}

/// Each event that was committed is a member of one digest, and nothing else is of any.
fn members_are_those_committed(expected: &Expected<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (digest, members) in expected.members {
        if expected.items_max.is_some_and(|max| members.len() > max) {
            faults.add(format!("{digest} has {} events", members.len()));
        }
        for id in members {
            if !seen.insert(id) {
                faults.add(format!("event {id} is in two digests, one is {digest}"));
            }
            if !expected.events.contains_key(id) {
                faults.add(format!("event {id} of {digest} was not committed"));
            }
        }
    }
    for (id, update) in expected.events {
        if !seen.contains(id) {
            faults.add(format!("event {id} is in no digest: {update:?}"));
        }
    }
}

/// Every digest tells what its members come to.
fn contents_are_those_of_members(digests: &[Digest], expected: &Expected<'_>, faults: &mut Faults) {
    let mut untold: HashMap<Uuid, &Vec<Uuid>> = expected
        .members
        .iter()
        .map(|(digest, members)| (*digest, members))
        .collect();
    let updates = |members: &[Uuid]| -> Vec<Update> {
        let found = members.iter().filter_map(|id| expected.events.get(id));
        found.cloned().collect()
    };
    for Digest { whole, .. } in digests {
        let id = whole.digest;
        let Some(members) = untold.remove(&id) else {
            faults.add(format!("{id} is not known, or came twice"));
            continue;
        };
        if whole.count != members.len() {
            let (count, are) = (whole.count, members.len());
            faults.add(format!("{id} counts {count} events, and has {are}"));
        }
        if let Some(difference) = content_differs(&whole.content, &updates(members)) {
            faults.add(format!("{id}: {difference}"));
        }
    }
    for (id, members) in untold {
        // A digest whose events undid each other is not sent.
        let is_undone = digests
            .iter()
            .any(|digest| matches!(digest.whole.content, Content::Effects(_)))
            && effects(&updates(members)).is_empty();
        if !is_undone {
            faults.add(format!("lost: {id} with {} events", members.len()));
        }
    }
}

/// The oracle must notice what it is for.
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::wire::{Effect, Object};

    /// Two updates of teller 1 and one of teller 2 that changed nothing.
    fn updates() -> Vec<Update> {
        let update = |(id, key, before, after)| Update {
            id: Uuid::from_u128(id),
            object: Object::Teller,
            key,
            before,
            after,
        };
        [(1, 1, 0, 5), (2, 2, 0, 0), (3, 1, 5, 9)]
            .map(update)
            .into()
    }

    /// Digest 10 with the events 1 and 2 in two parts, and digest 11 with event 3.
    fn right(content: impl Fn(&[Update]) -> Content) -> Vec<PartReceipt> {
        let updates = updates();
        let receipt = |(place, (digest, part, parts, count)): (usize, (u128, u32, u32, usize))| {
            let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(digest as i64);
            PartReceipt {
                subscription: "s".to_owned(),
                id: format!("{digest}.{part}"),
                body_hash: [place as u8; 32],
                part: Part {
                    digest: Uuid::from_u128(digest),
                    part,
                    parts,
                    from: at,
                    to: at + TimeDelta::seconds(1),
                    count,
                    content: content(&updates[place..=place]),
                },
                sequence: place as i64 + 1,
            }
        };
        let parts = [(10, 1, 2, 2), (10, 2, 2, 2), (11, 1, 1, 1)];
        parts.into_iter().enumerate().map(receipt).collect()
    }

    fn items() -> Vec<PartReceipt> {
        right(|updates| Content::Items(updates.to_vec()))
    }

    fn counts() -> Vec<PartReceipt> {
        let count = |update: &Update| (update.object, update.key, 1);
        right(|updates| Content::Counts(updates.iter().map(count).collect()))
    }

    /// Of teller 2 nothing is told.
    fn netted() -> Vec<PartReceipt> {
        let effect = |update: &Update| Effect {
            object: update.object,
            key: update.key,
            before: update.before,
            after: update.after,
            count: 1,
        };
        right(|updates| {
            let told = updates.iter().filter(|update| update.key == 1);
            Content::Effects(told.map(effect).collect())
        })
    }

    fn members() -> HashMap<Uuid, Vec<Uuid>> {
        [(10, vec![1, 2]), (11, vec![3])]
            .map(|(digest, events)| {
                let events = events.into_iter().map(Uuid::from_u128).collect();
                (Uuid::from_u128(digest), events)
            })
            .into()
    }

    fn faults_of(receipts: &[PartReceipt], members: &HashMap<Uuid, Vec<Uuid>>) -> Faults {
        let events = updates().into_iter().map(|one| (one.id, one)).collect();
        let expected = Expected {
            subscription: "s",
            events: &events,
            members,
            items_max: Some(2),
        };
        judge(receipts, &expected).faults
    }

    fn faults(receipts: &[PartReceipt]) -> Faults {
        faults_of(receipts, &members())
    }

    #[test]
    fn the_oracle_accepts_what_is_right_and_what_is_repeated() {
        for mut receipts in [items(), counts(), netted()] {
            receipts.push(receipts[1].clone());
            faults(&receipts).none("right");
        }
    }

    #[test]
    fn the_oracle_notices_members_that_are_lost_or_twice_in_digests() {
        let mut members = members();
        last_of(&mut members).push(Uuid::from_u128(1));
        faults_of(&items(), &members).say("is in two digests");
        last_of(&mut members).clear();
        faults_of(&items(), &members).say("is in no digest");
        last_of(&mut members).extend([4, 5, 6].map(Uuid::from_u128));
        faults_of(&items(), &members).say("was not committed");
        faults_of(&items(), &members).say("has 3 events");
    }

    fn last_of(members: &mut HashMap<Uuid, Vec<Uuid>>) -> &mut Vec<Uuid> {
        members.get_mut(&Uuid::from_u128(11)).unwrap()
    }

    #[test]
    fn the_oracle_notices_parts_that_are_lost_changed_or_out_of_order() {
        let mut receipts = items();
        receipts.remove(1);
        faults(&receipts).say("came after part 1 of 2");
        faults(&receipts).say("has the sequence 3, and came as part 2");
        let mut receipts = items();
        receipts.truncate(1);
        faults(&receipts).say("ends after 1 parts");
        faults(&receipts).say("lost: ");
        let mut receipts = items();
        receipts[2].part.from = DateTime::UNIX_EPOCH;
        faults(&receipts).say("the one before ended at");
        let mut receipts = items();
        receipts.push(PartReceipt {
            body_hash: [9; 32],
            ..receipts[0].clone()
        });
        faults(&receipts).say("10.1 came again with another body");
    }

    #[test]
    fn the_oracle_notices_contents_that_are_not_those_of_the_members() {
        let mut receipts = items();
        receipts[0].part.count = 3;
        receipts[1].part.count = 3;
        faults(&receipts).say("counts 3 events, and has 2");
        let mut receipts = items();
        receipts[2].part.content = Content::Items(updates()[..1].to_vec());
        faults(&receipts).say("1 items instead of 1");
        let mut receipts = counts();
        receipts[2].part.content = Content::Counts(vec![(Object::Teller, 1, 2)]);
        faults(&receipts).say("(Teller, 1) is told as 2 instead of Some(1)");
        receipts[2].part.content = Content::Counts(Vec::new());
        faults(&receipts).say("(Teller, 1) is not told");
        let mut receipts = netted();
        if let Content::Effects(told) = &mut receipts[2].part.content {
            told[0].before = 0;
        }
        faults(&receipts).say("instead of Some((5, 9, 1))");
    }
}
