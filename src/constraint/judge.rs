//! Judges whether a delivery may be published, must wait, or is never sent. Pure, apart from the
//! counters of the rates, which are passed in.
//!
//! All constraints must pass, and suppress beats hold. Rates are spent last and all together, so
//! that what is not published uses up nothing.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::{
    compile::{Compiled, Condition},
    counters::RateKey,
    model::{Judge, Otherwise},
};
use crate::expr::{Facts, Verdict};

/// How soon a condition that uses `now` is judged again.
pub const NOW_LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// When a delivery is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When its event is published, and again as long as it does not pass.
    Event,
    /// Before each attempt.
    Send,
}

impl Moment {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Send => "send",
        }
    }
}

/// What was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be sent.
    Publish,
    /// It waits, and later events of its object with it.
    Hold,
    /// It is never sent.
    Suppress,
}

/// A decision and what it is founded on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What was judged.
    pub decision: Decision,
    /// The constraint that decided; none, if it may be published.
    pub by: Option<Ground>,
    /// When one that is held is withdrawn: the shortest `hold_at_most` after the time it was judged
    /// by.
    pub hold_until: Option<DateTime<Utc>>,
    /// When one that is held may pass, so that judging it earlier is of no use; never after
    /// `hold_until`.
    pub again_at: Option<DateTime<Utc>>,
}

/// Which constraint decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The constraint's name.
    pub name: Arc<str>,
    /// The catalogue's version in which it was last changed.
    pub version: i64,
    /// In words.
    pub reason: String,
    /// What was looked at, by name: a JSON object.
    pub values: String,
}

/// One delivery of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The constraint's name.
    pub constraint: &'a str,
    /// The begin of the rate's window.
    pub window_start: DateTime<Utc>,
    /// How many the window allows.
    pub limit: i64,
}

/// Counts the deliveries of one subscription.
pub trait Rates {
    /// Counts one delivery in each, or in none.
    ///
    /// # Errors
    ///
    /// The index of the first that is used up.
    fn try_spend(&mut self, wanted: &[Wanted<'_>]) -> Result<(), usize>;
}

/// Judges a delivery of an event. `constraints` are those that apply to it, whenever they are
/// judged; `at` is the change's time at [`Moment::Event`] and the clock's at [`Moment::Send`]. One
/// that was held is judged again by the clock at either. It is what `now` is in conditions.
pub fn judge(
    constraints: &[&Compiled],
    moment: Moment,
    facts: &Facts<'_>,
    at: DateTime<Utc>,
    rates: &mut dyn Rates,
) -> Judged {
    let facts = &Facts { now: at, ..*facts };
    let mut held: Vec<(&Compiled, Fault)> = Vec::new();
    for constraint in judged_at(constraints, moment) {
        let Some(fault) = fault(constraint, facts, at) else {
            continue;
        };
        match constraint.otherwise {
            Otherwise::Suppress => return suppressed(constraint, fault),
            Otherwise::Hold => held.push((constraint, fault)),
        }
    }
    if !held.is_empty() {
        return hold(held, at);
    }
    let counted = counted(constraints, moment);
    let wanted: Vec<Wanted<'_>> = counted
        .iter()
        .map(|(constraint, rate)| Wanted {
            constraint: &constraint.name,
            window_start: rate.window_start(at),
            limit: rate.limit(),
        })
        .collect();
    if wanted.is_empty() {
        return published();
    }
    let used_up = rates.try_spend(&wanted).err();
    match used_up.and_then(|index| counted.get(index)) {
        None => published(),
        Some((constraint, rate)) => {
            let next = rate.next_window(at);
            let fault = Fault {
                reason: format!("the rate {rate} is used up until {}", shown(next)),
                values: object([("now".to_owned(), quoted(&shown(at)))]),
                passes_at: Some(next),
            };
            match constraint.otherwise {
                Otherwise::Suppress => suppressed(constraint, fault),
                Otherwise::Hold => hold(vec![(constraint, fault)], at),
            }
        }
    }
}

/// The counters that judging needs: what to load before.
#[must_use]
pub fn rate_keys(
    constraints: &[&Compiled],
    moment: Moment,
    subscription: Uuid,
    at: DateTime<Utc>,
) -> Vec<RateKey> {
    counted(constraints, moment)
        .into_iter()
        .map(|(constraint, rate)| RateKey {
            constraint: constraint.name.to_string(),
            subscription,
            window_start: rate.window_start(at),
        })
        .collect()
}

fn judged_at<'a>(
    constraints: &[&'a Compiled],
    moment: Moment,
) -> impl Iterator<Item = &'a Compiled> {
    let is_judged = move |constraint: &&Compiled| match constraint.judge {
        Judge::AtEvent => moment == Moment::Event,
        Judge::AtSend => moment == Moment::Send,
        Judge::Both => true,
    };
    constraints.iter().copied().filter(is_judged)
}

/// The rates that are spent at `moment`, those that suppress before those that hold. A delivery is
/// counted once: by a constraint that is judged at both moments, at the first.
fn counted<'a>(
    constraints: &[&'a Compiled],
    moment: Moment,
) -> Vec<(&'a Compiled, super::rate::Rate)> {
    let mut counted: Vec<_> = judged_at(constraints, moment)
        .filter(|constraint| moment == Moment::Event || constraint.judge == Judge::AtSend)
        .filter_map(|constraint| Some((constraint, constraint.rate?)))
        .collect();
    counted.sort_by_key(|(constraint, _)| constraint.otherwise == Otherwise::Hold);
    counted
}

/// Why a constraint does not pass.
struct Fault {
    reason: String,
    values: String,
    /// When it may pass; `None`: time does not change it.
    passes_at: Option<DateTime<Utc>>,
}

/// What of condition and window does not pass; of both, the condition is told.
fn fault(constraint: &Compiled, facts: &Facts<'_>, at: DateTime<Utc>) -> Option<Fault> {
    if let Some(fault) = constraint.fault() {
        return Some(Fault {
            reason: format!("failed: {fault}"),
            values: object([]),
            passes_at: None,
        });
    }
    let closed = constraint
        .window
        .as_ref()
        .filter(|window| !window.contains(at))
        .map(|window| {
            let opens = window.next_open(at);
            Fault {
                reason: format!(
                    "the window {window} is closed; it opens at {}",
                    shown(opens)
                ),
                values: object([("now".to_owned(), quoted(&shown(at)))]),
                passes_at: Some(opens),
            }
        });
    let unmet = constraint
        .condition(facts)
        .and_then(|condition| unmet(condition, facts, at));
    match (unmet, closed) {
        (Some(mut unmet), Some(closed)) => {
            let later = unmet.passes_at.zip(closed.passes_at);
            unmet.passes_at = later.map(|(one, other)| one.max(other));
            Some(unmet)
        }
        (unmet, closed) => unmet.or(closed),
    }
}

fn unmet(condition: &Condition, facts: &Facts<'_>, at: DateTime<Utc>) -> Option<Fault> {
    let expression = match condition {
        Ok(expression) => expression,
        Err(problem) => {
            return Some(Fault {
                reason: format!("failed: {problem}"),
                values: object([]),
                passes_at: None,
            });
        }
    };
    let reason = match expression.evaluate(facts) {
        Verdict::True => return None,
        Verdict::False => "the condition is false".to_owned(),
        Verdict::Failed(failure) => format!("failed: {failure}"),
    };
    Some(Fault {
        reason,
        values: object(expression.values(facts)),
        passes_at: expression.uses_now().then(|| at + NOW_LOOK_AGAIN),
    })
}

fn published() -> Judged {
    Judged {
        decision: Decision::Publish,
        by: None,
        hold_until: None,
        again_at: None,
    }
}

fn suppressed(constraint: &Compiled, fault: Fault) -> Judged {
    Judged {
        decision: Decision::Suppress,
        by: Some(ground(constraint, fault)),
        hold_until: None,
        again_at: None,
    }
}

/// All that hold must pass, so it is of no use to judge before the last of them may; but the first
/// limit that is reached ends it.
fn hold(held: Vec<(&Compiled, Fault)>, at: DateTime<Utc>) -> Judged {
    let limit = |constraint: &Compiled| at.checked_add_signed(constraint.hold_at_most);
    let until = held
        .iter()
        .filter_map(|(constraint, _)| limit(constraint))
        .min();
    let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let passes_at = held
        .iter()
        .map(|(_, fault)| fault.passes_at.unwrap_or(until))
        .max();
    Judged {
        decision: Decision::Hold,
        by: held
            .into_iter()
            .next()
            .map(|(constraint, fault)| ground(constraint, fault)),
        hold_until: Some(until),
        again_at: passes_at.map(|passes_at| passes_at.min(until)),
    }
}

fn ground(constraint: &Compiled, fault: Fault) -> Ground {
    Ground {
        name: Arc::clone(&constraint.name),
        version: constraint.version,
        reason: fault.reason,
        values: fault.values,
    }
}

/// Names and the JSON texts of their values as one object. A text that was shortened is no JSON any
/// more, and becomes a string.
fn object(values: impl IntoIterator<Item = (String, String)>) -> String {
    let mut object = String::from("{");
    for (name, value) in values {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&quoted(&name));
        object.push(':');
        match serde_json::from_str::<&RawValue>(&value) {
            Ok(value) => object.push_str(value.get()),
            Err(_) => object.push_str(&quoted(&value)),
        }
    }
    object.push('}');
    object
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
