//! The judgement at the end: what the ledger knows, held against what the repository says.

use std::collections::{HashMap, HashSet};

use super::{
    super::{
        findings::{Fault, Findings, Verdict},
        subscribers::{Form, SUBSCRIBERS, Way, place},
    },
    Book, Early, Ledger,
};

/// What the repository says.
#[derive(Debug, Default)]
pub(in super::super) struct Evidence {
    /// Attempts at what took more than one, by the receiver and the id on the wire.
    pub(in super::super) attempts: HashMap<(usize, String), u32>,
    /// Of the early ones those whose synchronous delivery could not start.
    pub(in super::super) blocked: HashSet<Early>,
    /// Events in closed digests, by receiver.
    pub(in super::super) digest_events: HashMap<usize, i64>,
    /// Of these, events of digests that came to nothing and were not sent.
    pub(in super::super) untold: HashMap<usize, i64>,
    /// Events that the condition made.
    pub(in super::super) released: i64,
    /// Deliveries that the constraint suppressed.
    pub(in super::super) suppressed: i64,
}

impl Ledger {
    /// Judges.
    pub(in super::super) fn verdict(&self, evidence: &Evidence) -> Verdict {
        let book = self.book();
        let mut findings = book.findings.clone();
        let mut lost = 0;
        for (receiver, subscriber) in SUBSCRIBERS.iter().enumerate() {
            lost += match subscriber.way {
                Way::Digest(form) => book.judge_digests(receiver, form, evidence, &mut findings),
                _ => book.judge_events(receiver, &mut findings),
            };
        }
        book.judge_repeats(evidence, &mut findings);
        book.judge_counts(evidence, &mut findings);
        let early = book.early.judge(&evidence.blocked, |(event, receiver)| {
            let example = format!("{event} was not tried before it was sent to a delayed one");
            findings.add(Fault::BeforeItsTurn, receiver, &example);
        });
        findings.add_many(Fault::BeforeItsTurn, early.not_noted);
        Verdict {
            blocked: early.excused,
            ..findings.verdict(lost)
        }
    }
}

impl Book {
    /// Returns how many events the receiver lost.
    fn judge_events(&self, receiver: usize, findings: &mut Findings) -> i64 {
        let mut lost = 0;
        for ((xid, object, event_type), debt) in &self.pages[receiver].owed {
            let example = format!("{event_type} of {object} in transaction {xid}");
            lost += judged(debt.count, receiver, &example, findings);
        }
        lost
    }

    /// Returns how many events are in no digest that the receiver got.
    fn judge_digests(
        &self,
        receiver: usize,
        form: Form,
        evidence: &Evidence,
        findings: &mut Findings,
    ) -> i64 {
        let page = &self.digest_pages[receiver];
        let of = |map: &HashMap<usize, i64>| map.get(&receiver).copied().unwrap_or(0);
        let counted = of(&evidence.digest_events);
        if counted != page.expected {
            let example = format!("{counted} events in digests, and {} owed", page.expected);
            findings.add(Fault::Miscounted, receiver, &example);
        }
        for digest in page.incomplete.keys() {
            findings.example(receiver, &format!("digest {digest} came in part"));
        }
        if form == Form::NetEffect {
            self.judge_effects(receiver, findings);
        }
        if form != Form::Keys {
            let owed = page.owed - of(&evidence.untold);
            return judged(owed, receiver, "events in digests", findings);
        }
        let mut lost = 0;
        for ((event_type, object), count) in &page.owed_by_object {
            let example = format!("{event_type} of {object} in a digest");
            lost += judged(*count, receiver, &example, findings);
        }
        lost
    }

    /// What an object came to by net effects must be what it came to by its events.
    fn judge_effects(&self, receiver: usize, findings: &mut Findings) {
        let Some(warehouse) = place("warehouse") else {
            return;
        };
        for (object, after) in &self.digest_pages[receiver].objects {
            let known = self.pages[warehouse].objects.get(object);
            if known.is_some_and(|known| known != after) {
                let example = format!("net effects on {object} end elsewhere than its events");
                findings.add(Fault::OutOfOrder, receiver, &example);
            }
        }
    }

    fn judge_repeats(&self, evidence: &Evidence, findings: &mut Findings) {
        let mut judge = |receiver: usize, id: String, requests: u32, is_answer_lost: bool| {
            let attempts = evidence.attempts.get(&(receiver, id.clone()));
            let attempts = attempts.copied().unwrap_or(1);
            if requests > attempts + u32::from(is_answer_lost) {
                let example = format!("{id} came {requests} times in {attempts} attempts");
                findings.add(Fault::UnexplainedRepeat, receiver, &example);
            }
        };
        for (receiver, page) in self.pages.iter().enumerate() {
            for (id, seen) in page.events.iter().filter(|(_, seen)| seen.requests > 1) {
                judge(receiver, id.to_string(), seen.requests, seen.is_answer_lost);
            }
        }
        for (receiver, page) in self.digest_pages.iter().enumerate() {
            for (id, seen) in page.parts.iter().filter(|(_, seen)| seen.requests > 1) {
                judge(receiver, id.clone(), seen.requests, false);
            }
        }
    }

    /// The condition and the constraint must have come to what the writers know.
    fn judge_counts(&self, evidence: &Evidence, findings: &mut Findings) {
        for (name, counted, known) in [
            ("the condition made", evidence.released, self.tally.released),
            (
                "the constraint suppressed",
                evidence.suppressed,
                self.tally.spared,
            ),
        ] {
            if u64::try_from(counted).ok() != Some(known)
                && let Some(billing) = place("billing")
            {
                let example = format!("{name} {counted}, and the writers know of {known}");
                findings.add(Fault::Miscounted, billing, &example);
            }
        }
    }
}

/// Returns how many of what is owed are lost; of less than nothing, something came that was not
/// owed.
fn judged(owed: i64, receiver: usize, example: &str, findings: &mut Findings) -> i64 {
    if owed < 0 {
        findings.add(Fault::Unexpected, receiver, example);
    } else if owed > 0 {
        findings.example(receiver, &format!("lost: {example}"));
    }
    owed.max(0)
}
