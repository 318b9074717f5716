//! What became of a delivery, and what it waits for. Pure.

pub(super) mod store;

use chrono::{DateTime, Utc};

use self::store::{AheadRow, AttemptRow, DeliveryRow, JudgementRow};
use super::{About, Step, Told, Values, Verdict, shown};
use crate::upkeep::backlog::cancelled_because;

/// Who asks, about which subscription, and when.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// The subscription's state.
    pub(super) state: String,
    /// Whether the caller may know the names of other subscriptions.
    pub(super) sees_others: bool,
    /// The time of asking.
    pub(super) now: DateTime<Utc>,
}

/// A delivery with what is recorded of it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) row: DeliveryRow,
    /// Oldest first.
    pub(super) judgements: Vec<JudgementRow>,
    /// In their order.
    pub(super) attempts: Vec<AttemptRow>,
    /// What stands before it in its lanes.
    pub(super) ahead: Option<AheadRow>,
    /// Whose synchronous deliveries it waits for.
    pub(super) untried: Vec<String>,
}

impl Delivery {
    /// What became of it.
    pub(super) fn told(&self, party: &Party) -> Told {
        let (verdict, detail) = self.state(party);
        let what = match self.row.part {
            Some(part) => format!("part {part} of the digest"),
            None => "the event".to_owned(),
        };
        let summary = match verdict {
            Verdict::Pending | Verdict::Held => format!("Not sent yet: {detail}."),
            Verdict::Delivered => format!("Sent: {detail}."),
            Verdict::Cancelled => format!("Not sent: {detail}."),
            _ if self.attempts.is_empty() => format!("Never sent: {detail}."),
            _ => format!("Not taken: {detail}."),
        };
        let values = Values::default()
            .with("delivery", self.row.id)
            .with("sequence", self.row.sequence.map(|n| format!("{n:020}")))
            .with("due_at", self.row.due_at)
            .with("settled_at", self.row.settled_at);
        let values = match &self.ahead {
            Some(ahead) => values.with("behind", ahead.id),
            None => values,
        };
        let mut steps: Vec<Step> = self.judgements.iter().map(judgement).collect();
        let detail = format!("{what}: {detail}");
        steps.push(Step::new(About::Delivery, &*self.row.state, detail).with(values));
        steps.extend(self.tries());
        Told {
            verdict,
            summary,
            steps,
        }
    }

    /// The verdict, and why in words.
    fn state(&self, party: &Party) -> (Verdict, String) {
        let row = &self.row;
        let at = row
            .settled_at
            .map_or_else(String::new, |at| format!(" at {}", shown(at)));
        let tries = row.attempts;
        match row.state.as_str() {
            "delivered" => (
                Verdict::Delivered,
                format!("the receiver acknowledged it{at}, {}", attempts(tries)),
            ),
            "dead" => (
                Verdict::Dead,
                format!(
                    "it was given up{at} {}{}; it is kept",
                    attempts(tries),
                    self.last_fault()
                ),
            ),
            "suppressed" => (
                Verdict::Suppressed,
                self.by_constraint("suppress", "forbade it"),
            ),
            "withdrawn" => (
                Verdict::Withdrawn,
                self.by_constraint(
                    "withdraw",
                    "held it for as long as it may, and it was withdrawn",
                ),
            ),
            "cancelled" => (
                Verdict::Cancelled,
                match cancelled_because(row.cancelled_by.as_deref()) {
                    Some(why) => format!("it was cancelled{at}, for {why}"),
                    None => format!("its subscription was deleted{at}, before it was sent"),
                },
            ),
            // What is left of a deleted subscription is never claimed again.
            "held" | "pending" if party.state == "deleted" => (
                Verdict::Cancelled,
                "its subscription is deleted, and it is about to be cancelled".to_owned(),
            ),
            "held" => (Verdict::Held, self.held(party)),
            _ => (
                Verdict::Pending,
                format!("{}{}", self.waiting(party), self.last_fault()),
            ),
        }
    }

    /// What the last judgement of this kind says.
    fn by_constraint(&self, decision: &str, did: &str) -> String {
        let is_it = |judgement: &&JudgementRow| judgement.decision == decision;
        match self.judgements.iter().rev().find(is_it) {
            Some(by) => format!(
                "the constraint `{}` (version {}) {did}: {}",
                by.constraint_name, by.constraint_version, by.reason
            ),
            None => format!("a constraint {did}"),
        }
    }

    fn held(&self, party: &Party) -> String {
        let row = &self.row;
        let by = self.by_constraint("hold", "holds it");
        match row.hold_until {
            Some(until) if row.due_at == Some(until) => {
                format!("{by}; it is withdrawn at {}", shown(until))
            }
            Some(until) => format!(
                "{by}; {}, and withdrawn at {}",
                self.waiting(party),
                shown(until)
            ),
            None => format!("{by}; {}", self.waiting(party)),
        }
    }

    /// What it waits for.
    fn waiting(&self, party: &Party) -> String {
        let row = &self.row;
        if let Some(until) = row.lease_until {
            let what = match self.others_first(party) {
                None => "an instance is sending it".to_owned(),
                Some(tried) => format!("an instance has it, and sends it when {tried}"),
            };
            return format!(
                "{what}; should that vanish, another may from {} on",
                shown(until)
            );
        }
        if row.is_parked {
            return match party.state.as_str() {
                state @ ("paused" | "disabled") => {
                    format!("its subscription is {state}, and it is kept until that is resumed")
                }
                _ => "its subscription was not active; it is about to be due".to_owned(),
            };
        }
        let Some(due) = row.due_at else {
            return self.behind();
        };
        if due <= party.now {
            return format!(
                "it is due since {}, and the next free sender takes it",
                shown(due)
            );
        }
        let due = shown(due);
        if row.state == "held" {
            return format!("it is judged again at {due}");
        }
        if row.attempts > 0 {
            return format!("it is tried again at {due}");
        }
        match self.others_first(party) {
            None => format!("it is due at {due}"),
            Some(tried) => format!("it waits until {tried}, or until {due}"),
        }
    }

    /// What a delayed one waits for, if it does.
    fn others_first(&self, party: &Party) -> Option<String> {
        let tried = "the event's synchronous deliveries are tried";
        match self.untried.as_slice() {
            [] => None,
            names if party.sees_others => Some(format!("{tried}, to `{}`", names.join("`, `"))),
            _ => Some(tried.to_owned()),
        }
    }

    fn behind(&self) -> String {
        let Some(ahead) = &self.ahead else {
            return "what stood before it was just settled, and it is about to be due".to_owned();
        };
        let what = match (ahead.event_id, ahead.digest_id) {
            (Some(event), _) => format!("the earlier event {event} of its object"),
            (None, Some(digest)) => format!("the earlier digest {digest}, or a part of it"),
            (None, None) => "an earlier one".to_owned(),
        };
        let state = match (ahead.state.as_str(), ahead.attempts, ahead.due_at) {
            ("pending", 1.., Some(due)) => {
                format!("pending, and is tried again at {}", shown(due))
            }
            ("dead", ..) => "dead, and blocks until it is replayed with success or released".into(),
            (state, ..) => state.to_owned(),
        };
        format!("it waits behind {what}, whose delivery is {state}")
    }

    /// How the last attempt failed.
    fn last_fault(&self) -> String {
        let last = self.attempts.last();
        match last.and_then(|attempt| attempt.detail.as_deref()) {
            Some(detail) => format!(" (the last attempt: {detail})"),
            None => String::new(),
        }
    }

    fn tries(&self) -> Option<Step> {
        let last = self.attempts.last()?;
        let mut detail = format!(
            "{}, the last at {}",
            attempts(self.row.attempts),
            shown(last.started_at)
        );
        if let Some(status) = last.status {
            detail += &format!(", answered {status}");
        }
        if let Some(fault) = &last.detail {
            detail += &format!(": {fault}");
        }
        let values = Values::default().with("attempts", &self.attempts);
        Some(Step::new(About::Attempts, &*last.outcome, detail).with(values))
    }
}

fn attempts(count: i32) -> String {
    match count {
        0 => "without an attempt".to_owned(),
        1 => "after 1 attempt".to_owned(),
        count => format!("after {count} attempts"),
    }
}

/// What a constraint said, as a step.
pub(super) fn judgement(row: &JudgementRow) -> Step {
    let moment = match row.moment.as_str() {
        "event" => "the event",
        _ => "sending",
    };
    let detail = format!(
        "`{}` (version {}), judged at {moment} on {}: {}",
        row.constraint_name,
        row.constraint_version,
        shown(row.judged_at),
        row.reason
    );
    let values = Values::default()
        .with_object(&row.looked_at)
        .with("constraint", &row.constraint_name)
        .with("version", row.constraint_version)
        .with("moment", &row.moment)
        .with("judged_at", row.judged_at);
    Step::new(About::Constraint, &*row.decision, detail).with(values)
}

#[cfg(test)]
mod tests;
