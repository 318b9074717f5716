//! One event type against the catalogue. Pure.

use std::collections::BTreeSet;

use super::{
    conditions::{Owner, condition_check},
    meant::{Meant, World},
    model::{Catalog, EventType},
    names::{NAME_HELP, name_fault, parent},
    schema::schema_compile,
};
use crate::{
    nearest::{did_you_mean, nearest},
    subscription::check::SpecProblem,
};

/// Event types that a catalogue may have written down.
pub const EVENT_TYPES_MAX: usize = 10_000;

/// What is wrong with an entry, and what will surprise.
#[derive(Debug, Default)]
pub struct Review {
    /// Why it is refused.
    pub problems: Vec<SpecProblem>,
    /// What works and is probably not meant.
    pub warnings: Vec<SpecProblem>,
}

impl Review {
    pub(super) fn refuse(&mut self, pointer: &str, text: impl Into<String>) {
        self.problems.push(SpecProblem::new(pointer, text));
    }

    pub(super) fn warn(&mut self, pointer: &str, text: impl Into<String>) {
        self.warnings.push(SpecProblem::new(pointer, text));
    }
}

/// Judges an event type in a world whose catalogue has it already.
#[must_use]
pub fn event_type_check(name: &str, spec: &EventType, world: &World<'_>) -> Review {
    let mut review = Review::default();
    check_name(name, world.catalog, &mut review);
    let mut seen = BTreeSet::new();
    for (index, operation) in spec.on.iter().enumerate() {
        if !seen.insert(operation) {
            let text = format!("`{}` is named twice", operation.as_str());
            review.refuse(&format!("/on/{index}"), text);
        }
    }
    match &spec.object_type {
        Some(object_type) => check_of_rows(object_type, spec, world, &mut review),
        None => check_of_api(spec, &mut review),
    }
    review
}

fn check_name(name: &str, catalog: &Catalog, review: &mut Review) {
    if let Some(fault) = name_fault(name) {
        review.refuse("/name", format!("{fault}: {NAME_HELP}"));
        return;
    }
    let Some(namespace) = parent(name).and_then(parent) else {
        let text = format!(
            "`{name}` is too short: an event type is named by its namespace, its object and what \
             happened, such as `sales.order.released`"
        );
        review.refuse("/name", text);
        return;
    };
    if !catalog.namespaces.contains_key(namespace) {
        let known = catalog.namespaces.keys().map(String::as_str);
        let hint = did_you_mean(namespace, known);
        let text = format!("`{name}` needs the namespace `{namespace}`, which is not declared");
        review.refuse("/name", text + &hint);
    }
    if catalog.standard_event(name).is_some() {
        let text = format!(
            "`{name}` is a standard event, which exists without being written down; leave it out, \
             or choose another name"
        );
        review.refuse("/name", text);
    }
    let taken = if catalog.object_types.contains_key(name) {
        "an object type"
    } else if catalog.namespaces.contains_key(name) {
        "a namespace"
    } else {
        return;
    };
    let text = format!("`{name}` is {taken} and an event type; give one of the two another name");
    review.refuse("/name", text);
}

fn check_of_rows(object_type: &str, spec: &EventType, world: &World<'_>, review: &mut Review) {
    if spec.schema.is_some() {
        let text = "the schema of an object type's events is made of its columns; leave `schema` \
                    out, or leave `object_type` out if the events come through the API";
        review.refuse("/schema", text);
    }
    let known = &world.catalog.object_types;
    if !known.contains_key(object_type) {
        if !world.refused.contains(object_type) {
            let hint = match nearest(object_type, known.keys().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => "; declare it, or leave `object_type` out and give the `schema` of events \
                         that come through the API"
                    .to_owned(),
            };
            let text = format!("the catalogue has no object type `{object_type}`{hint}");
            review.refuse("/object_type", text);
        }
        return;
    }
    let Some(when) = &spec.when else {
        return;
    };
    let meant = Meant::rows_of(object_type);
    let condition = condition_check("/when", when, Owner::EventType, &meant, world);
    review.problems.extend(condition.problems);
    match condition.constant {
        Some(false) => review.refuse("/when", "this is never true, so the event never happens"),
        Some(true) => review.warn(
            "/when",
            "this is always true; leave `when` out if that is meant",
        ),
        None => {}
    }
}

fn check_of_api(spec: &EventType, review: &mut Review) {
    let of_rows = "is about rows: name their `object_type`, or leave it out";
    if !spec.on.is_empty() {
        review.refuse("/on", format!("`on` {of_rows}"));
    }
    if spec.when.is_some() {
        review.refuse("/when", format!("`when` {of_rows}"));
    }
    match &spec.schema {
        Some(schema) => {
            if let Err(problems) = schema_compile(schema) {
                review.problems.extend(problems);
            }
        }
        // With them, it is the object type that was forgotten.
        None if spec.on.is_empty() && spec.when.is_none() => review.refuse(
            "/schema",
            "an event type without `object_type` needs a `schema`: the JSON Schema of the data of \
             events that come through the API, such as { type = \"object\" }",
        ),
        None => {}
    }
}
