//! From the members of a body to what is to be sent again, and what to say where they do not fit.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::{fields::spec_of, input::Fields, problem::Problem};
use crate::{
    catalog::model::{Catalog, DIGEST_EVENT_TYPE},
    db::Connection,
    nearest::did_you_mean,
    replay::order::{Pace, Selection, Which},
    subscription::{
        model::{Mode, SubscriptionSpec},
        register::SpecProblem,
        selection::selection_review,
    },
};

/// A body, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    subscription: String,
    #[serde(default)]
    state: Which,
    from: Option<String>,
    to: Option<String>,
    event_type: Option<String>,
    object_type: Option<String>,
    key: Option<String>,
    filter: Option<String>,
    rate: Option<String>,
}

/// What is asked for, as far as it could be judged without the database.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its id or name.
    pub(super) subscription: String,
    pub(super) selection: Selection,
    pub(super) pace: Pace,
}

/// Reads a body.
pub(super) fn asked_read(
    fields: &Fields,
    per_second_max: u32,
    now: DateTime<Utc>,
) -> Result<Asked, Problem> {
    let written: Written = spec_of(fields).map_err(|problem| Problem::of_body(vec![problem]))?;
    let mut problems = Vec::new();
    for (pointer, text) in [
        ("/subscription", Some(&written.subscription)),
        ("/event_type", written.event_type.as_ref()),
        ("/object_type", written.object_type.as_ref()),
        ("/key", written.key.as_ref()),
    ] {
        if text.is_some_and(|text| text.contains('\0')) {
            problems.push(SpecProblem::new(pointer, "a text has no NUL"));
        }
    }
    let from = time_read("/from", written.from.as_deref(), &mut problems);
    let to = time_read("/to", written.to.as_deref(), &mut problems);
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            let text =
                "it must be later than `from`: events from `from` until before `to` are meant";
            problems.push(SpecProblem::new("/to", text));
        }
        (Some(from), _) if from > now => {
            let text = "it is in the future; write a time that is past";
            problems.push(SpecProblem::new("/from", text));
        }
        _ => {}
    }
    if written.key.is_some() && written.object_type.is_none() {
        let text = "a key needs its object type; name it in `object_type`";
        problems.push(SpecProblem::new("/key", text));
    }
    let pace = match &written.rate {
        None => Some(Pace::per_second(per_second_max)),
        Some(text) => Pace::parse(text, per_second_max)
            .map_err(|text| problems.push(SpecProblem::new("/rate", text)))
            .ok(),
    };
    match pace {
        Some(pace) if problems.is_empty() => Ok(Asked {
            subscription: written.subscription,
            selection: Selection {
                delivery: None,
                state: written.state,
                from,
                to,
                event_type: written.event_type,
                object_type: written.object_type,
                key: written.key,
                filter: written.filter,
            },
            pace,
        }),
        _ => Err(Problem::of_body(problems)),
    }
}

fn time_read(
    pointer: &str,
    text: Option<&str>,
    problems: &mut Vec<SpecProblem>,
) -> Option<DateTime<Utc>> {
    match DateTime::parse_from_rfc3339(text?) {
        Ok(time) => Some(time.to_utc()),
        Err(_) => {
            let text = "a time such as 2026-01-31T08:00:00Z is expected (RFC 3339)";
            problems.push(SpecProblem::new(pointer, text));
            None
        }
    }
}

/// Judges the selection against the catalogue, and the filter against the columns of what the
/// subscription is told of.
pub(super) fn selection_check(
    connection: &mut Connection,
    spec: &SubscriptionSpec,
    selection: &Selection,
) -> Result<(), Problem> {
    let catalog = Catalog::load(connection)?;
    let mut problems = Vec::new();
    if let Some(name) = &selection.event_type {
        let known: Vec<String> = catalog.event_types().collect();
        if name == DIGEST_EVENT_TYPE {
            let text = "digests are meant by the events that they tell of; name a type of these, \
                        or leave it out to mean all digests of the subscription";
            problems.push(SpecProblem::new("/event_type", text));
        } else {
            problems.extend(unknown("event", name, known.iter().map(String::as_str)));
        }
    }
    if let Some(name) = &selection.object_type {
        let known = catalog.object_types.keys().map(String::as_str);
        problems.extend(unknown("object", name, known));
    }
    if let Some(filter) = &selection.filter {
        if spec.mode == Mode::Batch {
            let text = "a digest is no event, and this subscription gets digests; leave it out, and \
                        narrow by `event_type`, `object_type`, `key` or a time";
            problems.push(SpecProblem::new("/filter", text));
        } else {
            let narrowed = SubscriptionSpec {
                filter: Some(filter.clone()),
                ..spec.clone()
            };
            problems.extend(selection_review(connection, &narrowed, &catalog)?.problems);
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problem::of_body(problems))
    }
}

fn unknown<'a>(
    kind: impl Display,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<SpecProblem> {
    if known.clone().any(|known| known == name) {
        return None;
    }
    let hint = did_you_mean(name, known);
    let text = format!("the catalogue has no {kind} type `{name}`{hint}");
    Some(SpecProblem::new(format!("/{kind}_type"), text))
}
