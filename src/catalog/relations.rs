//! What a folder's event types, constraints and subscriptions say about the catalogue and the
//! columns of its tables. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    columns::Columns,
    constraint_check::{CONSTRAINTS_MAX, constraint_check},
    event_type_check::{EVENT_TYPES_MAX, Review, event_type_check},
    load::{Folder, Item},
    meant::World,
    model::Catalog,
    place::Place,
    problem::{Problem, Warning},
    validate::{Findings, Surroundings},
};
use crate::subscription::{
    check::{SpecProblem, check as subscription_check},
    selection::selection_check,
};

/// Adds what is wrong or surprising to `findings`, whose catalogue is complete. Nothing is judged
/// on the object types that are `refused` by themselves.
pub(super) fn check(
    folder: &Folder,
    around: &Surroundings<'_>,
    refused: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let catalog = findings.catalog.clone();
    let columns: Columns = findings.columns.clone();
    let home = without_strangers(&catalog, around.elsewhere);
    let worlds = Worlds {
        whole: World {
            catalog: &catalog,
            columns: &columns,
            refused,
        },
        home: home.as_ref().map(|catalog| World {
            catalog,
            columns: &columns,
            refused,
        }),
    };
    check_standard_names(folder, around.elsewhere, findings);
    for item in &folder.event_types {
        worlds.judge(item, findings, |world| {
            event_type_check(&item.name, &item.spec, world)
        });
    }
    check_number(
        &folder.event_types,
        catalog.event_types.len(),
        EVENT_TYPES_MAX,
        findings,
    );
    for item in &folder.constraints {
        worlds.judge(item, findings, |world| {
            constraint_check(&item.name, &item.spec, world)
        });
    }
    check_number(
        &folder.constraints,
        catalog.constraints.len(),
        CONSTRAINTS_MAX,
        findings,
    );
    for item in &folder.subscriptions {
        worlds.judge(item, findings, |world| {
            let mut review = selection_check(&item.spec, world);
            let by_itself = subscription_check(
                &item.name,
                &item.spec,
                world.catalog,
                around.guard,
                around.mail,
            );
            review.problems.extend(by_itself);
            review
        });
    }
}

/// The catalogue without the event types that the API made; `None` if there are none.
fn without_strangers(catalog: &Catalog, elsewhere: &Catalog) -> Option<Catalog> {
    if elsewhere.event_types.is_empty() {
        return None;
    }
    let mut home = catalog.clone();
    let strangers = &elsewhere.event_types;
    home.event_types
        .retain(|name, _| !strangers.contains_key(name));
    Some(home)
}

/// What the folder's entries are judged by.
struct Worlds<'a> {
    whole: World<'a>,
    /// Without what the API made, if it made something.
    home: Option<World<'a>>,
}

impl Worlds<'_> {
    /// Judges one entry. What the API has made since must not make a folder invalid that was valid
    /// before: what does not fit only because of that is not matched by it, and a warning.
    fn judge<T: Serialize>(
        &self,
        item: &Item<T>,
        findings: &mut Findings,
        review: impl Fn(&World<'_>) -> Review,
    ) {
        let Review { problems, warnings } = review(&self.whole);
        let is_stranger = !problems.is_empty()
            && self
                .home
                .as_ref()
                .is_some_and(|home| review(home).problems.is_empty());
        for problem in &problems {
            let (place, message) = told(item, problem);
            if is_stranger {
                let message = format!("{message}; what it does not fit is not matched by it");
                let place = Some(place);
                findings.warnings.push(Warning { place, message });
            } else {
                findings.problems.push(Problem::new(place, message));
            }
        }
        for warning in &warnings {
            let (place, message) = told(item, warning);
            let place = Some(place);
            findings.warnings.push(Warning { place, message });
        }
    }
}

/// Where a problem of an entry was written, and its text.
fn told<T: Serialize>(item: &Item<T>, problem: &SpecProblem) -> (Place, String) {
    if let Some((line, column)) = problem.within {
        let definition = serde_json::to_value(&item.spec).unwrap_or_default();
        let source = definition.pointer(&problem.pointer);
        let source = source
            .and_then(|source| source.as_str())
            .unwrap_or_default();
        if let Some(place) = item.places.inside(&problem.pointer, source, line, column) {
            return (place, problem.message.clone());
        }
    }
    (item.places.at(&problem.pointer), problem.text())
}

/// A new object type brings standard events, whose names the API may have given away.
fn check_standard_names(folder: &Folder, elsewhere: &Catalog, findings: &mut Findings) {
    for name in elsewhere.event_types.keys() {
        let standard = findings.catalog.standard_event(name);
        let owner = standard.and_then(|(object_type, _)| {
            let mut items = folder.object_types.iter();
            items.find(|item| item.name == object_type)
        });
        if let Some(item) = owner {
            let message = format!(
                "the event type `{name}` was made through the API, and would be a standard event \
                 of `{}`",
                item.name
            );
            findings.problems.push(
                Problem::new(item.places.at(""), message)
                    .help("give the object type another name, or remove that event type first"),
            );
        }
    }
}

fn check_number<T>(items: &[Item<T>], number: usize, max: usize, findings: &mut Findings) {
    let Some(last) = items.last() else { return };
    if number > max {
        let message = format!("the catalogue would have {number} of these; the limit is {max}");
        let place = last.places.at("");
        findings.problems.push(Problem::new(place, message));
    }
}
