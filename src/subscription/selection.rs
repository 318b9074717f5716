//! What a subscription selects, judged against the catalogue and the columns of its tables. Pure.

use std::collections::BTreeSet;

use super::{
    check::SpecProblem,
    model::{Condense, SubscriptionSpec},
};
use crate::{
    catalog::{
        columns::columns_load_of,
        conditions::{Owner, condition_check},
        event_type_check::Review,
        meant::{Meant, World},
        model::Catalog,
    },
    db::{Connection, DbError},
};

/// What is wrong with the filter, and whether the selection is probably not meant.
#[must_use]
pub fn selection_check(spec: &SubscriptionSpec, world: &World<'_>) -> Review {
    let mut review = Review::default();
    let meant = selection_meant(spec, world);
    check_net_effect(spec, &meant, &mut review);
    if let Some(group_by) = &spec.group_by {
        let found = condition_check("/group_by", group_by, Owner::Group, &meant, world);
        review.problems.extend(found.problems);
    }
    let Some(filter) = &spec.filter else {
        check_everything(spec, &mut review);
        return review;
    };
    let condition = condition_check("/filter", filter, Owner::Delivery, &meant, world);
    review.problems.extend(condition.problems);
    match condition.constant {
        Some(false) => {
            let text = "this is never true, so the subscription would match nothing";
            review.problems.push(SpecProblem::new("/filter", text));
        }
        Some(true) => {
            let text = "this is always true; leave `filter` out if that is meant";
            review.warnings.push(SpecProblem::new("/filter", text));
        }
        None => {}
    }
    review
}

/// As [`selection_check`], with the columns read from the tables as they are now. Blocks.
///
/// # Errors
///
/// Only those of the database.
pub fn selection_review(
    connection: &mut Connection,
    spec: &SubscriptionSpec,
    catalog: &Catalog,
) -> Result<Review, DbError> {
    let nothing = BTreeSet::new();
    let meant = Meant::by(catalog, &spec.event_types, &spec.object_types);
    // Only expressions look at columns.
    let asked = if spec.filter.is_some() || spec.group_by.is_some() {
        &meant.object_types
    } else {
        &nothing
    };
    let columns = columns_load_of(connection, catalog, asked)?;
    let world = World {
        catalog,
        columns: &columns,
        refused: &nothing,
    };
    Ok(selection_check(spec, &world))
}

/// What a subscription's events may be of.
#[must_use]
pub fn selection_meant(spec: &SubscriptionSpec, world: &World<'_>) -> Meant {
    Meant::by(world.catalog, &spec.event_types, &spec.object_types)
}

/// The net effect folds rows, which events of the API don't have.
fn check_net_effect(spec: &SubscriptionSpec, meant: &Meant, review: &mut Review) {
    let event_type = meant.api_event_types.first();
    if spec.condense == Some(Condense::NetEffect)
        && let Some(event_type) = event_type
    {
        let text = format!(
            "`net_effect` folds the changes of rows, and `{event_type}`, which is matched too, has \
             none: its events come through the API; narrow `event_types`, or condense by `keys`"
        );
        review.problems.push(SpecProblem::new("/condense", text));
    }
}

fn check_everything(spec: &SubscriptionSpec, review: &mut Review) {
    let is_all =
        |pattern: &String| pattern.contains('*') && pattern.chars().all(|c| c == '*' || c == '.');
    let lists = [("event", &spec.event_types), ("object", &spec.object_types)];
    for (kind, patterns) in lists {
        if let Some(index) = patterns.iter().position(is_all) {
            let text = format!(
                "`{}` matches everything, now and later; narrow it or add a `filter` unless that \
                 is meant",
                patterns[index]
            );
            let pointer = format!("/{kind}_types/{index}");
            review.warnings.push(SpecProblem::new(pointer, text));
        }
    }
}
