//! One publishing constraint against the catalogue. Pure.

use super::{
    conditions::{Condition, Owner, condition_check},
    event_type_check::Review,
    meant::{Meant, World},
    model::Catalog,
};
use crate::{
    constraint::{check::check, model::ConstraintSpec},
    subscription::check::{PATTERNS_MAX, SpecProblem, check_known},
};

/// Constraints that a catalogue may have.
pub const CONSTRAINTS_MAX: usize = 1_000;

/// Judges a constraint.
#[must_use]
pub fn constraint_check(name: &str, spec: &ConstraintSpec, world: &World<'_>) -> Review {
    let mut review = Review::default();
    check_types(spec, world.catalog, &mut review);
    let condition = match &spec.condition {
        Some(condition) => check_condition(condition, spec, world, &mut review),
        None => Condition {
            uses_now: Some(false),
            ..Condition::default()
        },
    };
    let by_itself = check(name, spec, condition.uses_now);
    let problems = by_itself.into_iter();
    let problems = problems.map(|(pointer, text)| SpecProblem::new(pointer, text));
    review.problems.extend(problems);
    review
}

/// What a constraint may be judged on.
#[must_use]
pub fn constraint_meant(spec: &ConstraintSpec, catalog: &Catalog) -> Meant {
    let applies_to = &spec.applies_to;
    if applies_to.event_types.is_empty() && applies_to.object_types.is_empty() {
        Meant::everything(catalog)
    } else {
        Meant::by(catalog, &applies_to.event_types, &applies_to.object_types)
    }
}

fn check_types(spec: &ConstraintSpec, catalog: &Catalog, review: &mut Review) {
    let event_types: Vec<String> = catalog.event_types().collect();
    let event_types: Vec<&str> = event_types.iter().map(String::as_str).collect();
    let object_types: Vec<&str> = catalog.object_types.keys().map(String::as_str).collect();
    let lists = [
        ("event", &spec.applies_to.event_types, &event_types),
        ("object", &spec.applies_to.object_types, &object_types),
    ];
    for (kind, patterns, known) in lists {
        // Too many and empty ones are told by the constraint's own check.
        if patterns.len() <= PATTERNS_MAX && !patterns.iter().any(String::is_empty) {
            let problems = &mut review.problems;
            check_known("/applies_to", kind, patterns, known, catalog, problems);
        }
    }
}

fn check_condition(
    condition: &str,
    spec: &ConstraintSpec,
    world: &World<'_>,
    review: &mut Review,
) -> Condition {
    let meant = constraint_meant(spec, world.catalog);
    let mut found = condition_check("/condition", condition, Owner::Delivery, &meant, world);
    review.problems.append(&mut found.problems);
    match found.constant {
        Some(false) => review.refuse(
            "/condition",
            "this is never true, so the constraint can never pass: nothing that it applies to \
             would be published",
        ),
        Some(true) => review.warn(
            "/condition",
            "this is always true; leave `condition` out if that is meant",
        ),
        None => {}
    }
    found
}
