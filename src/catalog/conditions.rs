//! A condition on everything that it may be judged on: each object type has columns of its own.

use std::collections::BTreeMap;

use super::meant::{Meant, World};
use crate::{
    expr::{Expression, Scope},
    subscription::check::SpecProblem,
};

/// Object types that a message names, at most.
const NAMED_MAX: usize = 3;

/// What the scope of events of the API is called in messages.
const API_EVENTS: &str = "events of the API";

/// What was found of a condition.
#[derive(Debug, Default)]
pub struct Condition {
    /// Why it can't be judged everywhere.
    pub problems: Vec<SpecProblem>,
    /// Its value, if that is the same for every event.
    pub constant: Option<bool>,
    /// Whether its value may change by the mere passing of time; `None` if it can't be read.
    pub uses_now: Option<bool>,
}

/// Whose condition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Judged once an event, before anybody's subscription.
    EventType,
    /// Judged for each subscription.
    Delivery,
    /// Not judged: its value is what a subscription's digests are grouped by.
    Group,
}

/// Compiles `source`, which is written at `pointer`, for all that is `meant`.
#[must_use]
pub fn condition_check(
    pointer: &str,
    source: &str,
    owner: Owner,
    meant: &Meant,
    world: &World<'_>,
) -> Condition {
    let mut found = Condition::default();
    let mut judged = 0_usize;
    let (mut constants, mut uses_now) = (Vec::new(), false);
    // Where each problem was found: one of a name that no table has is told once.
    let mut problems: BTreeMap<(usize, usize, String), Vec<&str>> = BTreeMap::new();
    for (on, scope) in scopes(owner, meant, world) {
        let Some(scope) = scope else {
            let text = format!(
                "the table of `{on}` is not there, so this can't be checked on it; apply the \
                 metadata again when it is"
            );
            found.problems.push(SpecProblem::new(pointer, text));
            continue;
        };
        judged += 1;
        let compiled = match owner {
            Owner::Group => Expression::compile_value(source, &scope),
            Owner::EventType | Owner::Delivery => Expression::compile(source, &scope),
        };
        match compiled {
            Ok(expression) => {
                constants.push(expression.constant());
                uses_now |= expression.uses_now();
            }
            Err(faults) => {
                for fault in faults {
                    let text = with_help(&fault.message, &fault.help);
                    let place = (fault.line, fault.column, text);
                    problems.entry(place).or_default().push(on);
                }
            }
        }
    }
    for ((line, column, text), on) in problems {
        let text = if on.len() == judged && judged > 1 {
            text
        } else if judged > 1 || meant.object_types.len() + meant.api_event_types.len() > 1 {
            format!("on {}: {text}", named(&on))
        } else {
            text
        };
        let problem = SpecProblem::new(pointer, text).within(line, column);
        found.problems.push(problem);
    }
    if found.problems.is_empty() && judged > 0 {
        found.uses_now = Some(uses_now);
        let first = constants[0];
        found.constant = first.filter(|_| constants.iter().all(|constant| *constant == first));
    }
    found
}

/// Everything that is meant, with what a condition may name there; `None`: its table is not there.
fn scopes<'a>(
    owner: Owner,
    meant: &'a Meant,
    world: &'a World<'_>,
) -> impl Iterator<Item = (&'a str, Option<Scope>)> {
    let object_types = meant.object_types.iter();
    let rows = object_types
        .filter(|name| !world.refused.contains(*name))
        .map(|name| {
            let columns = world.columns.get(name);
            (name.as_str(), columns.cloned().map(Scope::rows))
        });
    let api = (!meant.api_event_types.is_empty()).then(|| (API_EVENTS, Some(Scope::api_event())));
    rows.chain(api).map(move |(on, scope)| match owner {
        Owner::EventType => (on, scope.map(Scope::without_subscription)),
        Owner::Delivery | Owner::Group => (on, scope),
    })
}

fn with_help(message: &str, help: &str) -> String {
    if help.is_empty() {
        message.to_owned()
    } else {
        format!("{message}; {help}")
    }
}

/// "`a`, `b` and 3 more".
fn named(on: &[&str]) -> String {
    let quoted = |name: &&str| match *name {
        API_EVENTS => API_EVENTS.to_owned(),
        name => format!("`{name}`"),
    };
    let shown: Vec<String> = on.iter().take(NAMED_MAX).map(quoted).collect();
    match on.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
