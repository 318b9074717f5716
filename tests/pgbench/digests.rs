//! Compares the digests that were received with the events that were committed. Pure.
//!
//! Which event belongs to which digest is Rowcall's to decide, and it keeps it: `members`. What a
//! digest tells must be what its members come to, and each event must be a member of one.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::{
    ledger::PartReceipt,
    oracle::Faults,
    wire::{Content, Effect, Object, Part, Update},
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
            if !open.takes(part) {
                let (whole, parts) = (&open.whole, open.parts);
                let (digest, of) = (whole.digest, whole.parts);
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
            digests.push(Digest {
                whole: part.clone(),
                parts: 1,
            });
        }
    }
}

impl Digest {
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
        let updates = updates(members);
        let difference = match &whole.content {
            Content::Items(told) => items_differ(told, &updates),
            Content::Counts(told) => counts_differ(told, &updates),
            Content::Effects(told) => effects_differ(told, &updates),
        };
        if let Some(difference) = difference {
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

fn items_differ(told: &[Update], updates: &[Update]) -> Option<String> {
    let (are, should) = (told.len(), updates.len());
    let mut pairs = told.iter().zip(updates);
    let first = pairs.find(|(told, update)| told != update);
    (are != should || first.is_some())
        .then(|| format!("{are} items instead of {should}; first other one: {first:?}"))
}

fn counts_differ(told: &[(Object, i64, usize)], updates: &[Update]) -> Option<String> {
    let mut counts: BTreeMap<(Object, i64), usize> = BTreeMap::new();
    for update in updates {
        *counts.entry((update.object, update.key)).or_default() += 1;
    }
    let told = told
        .iter()
        .map(|(object, key, count)| ((*object, *key), *count));
    maps_differ(told, counts)
}

fn effects_differ(told: &[Effect], updates: &[Update]) -> Option<String> {
    let told = told.iter().map(|effect| {
        let came_to = (effect.before, effect.after, effect.count);
        ((effect.object, effect.key), came_to)
    });
    maps_differ(told, effects(updates))
}

/// Before, after and count of each object that is another than before.
fn effects(updates: &[Update]) -> BTreeMap<(Object, i64), (i64, i64, usize)> {
    let mut effects = BTreeMap::new();
    for update in updates {
        let key = (update.object, update.key);
        let (_, after, count) = effects.entry(key).or_insert((update.before, 0, 0));
        *after = update.after;
        *count += 1;
    }
    effects.retain(|_, (before, after, _)| before != after);
    effects
}

fn maps_differ<V: Copy + Eq + std::fmt::Debug>(
    told: impl Iterator<Item = ((Object, i64), V)>,
    mut should: BTreeMap<(Object, i64), V>,
) -> Option<String> {
    for (key, value) in told {
        let right = should.remove(&key);
        if right != Some(value) {
            return Some(format!("{key:?} is told as {value:?} instead of {right:?}"));
        }
    }
    let (key, value) = should.first_key_value()?;
    Some(format!("{key:?} is not told, which came to {value:?}"))
}
