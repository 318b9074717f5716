//! What was born in the folder and was edited through the API since: the two disagree, and a person
//! has to say whose word holds.

mod store;

use chrono::SecondsFormat;
use clap::ValueEnum;
use serde::Serialize;

pub(super) use store::{EditedRow, catalog_edited};

use super::{
    affected::place_of,
    load::{Folder, Item},
    plan::Kind,
    problem::Problem,
    store::Stored,
};

/// Whose word holds about an entry that the folder and the API both changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Take {
    /// The folder's: what the API changed is overwritten.
    Folder,
    /// The catalogue's: what runs stays, and the folder is not listened to about it.
    Catalogue,
}

/// Settles the conflicts of `folder` with `edited` as `take` says; without that, they are problems.
/// What the catalogue keeps is taken out of the folder and is not the folder's for this time.
pub(super) fn settle(
    folder: &mut Folder,
    stored: &mut Stored,
    edited: &[EditedRow],
    take: Option<Take>,
) {
    for row in edited {
        if is_agreed(folder, stored, row) {
            continue;
        }
        match take {
            Some(Take::Folder) => {}
            Some(Take::Catalogue) => keep(folder, stored, row),
            None => {
                let problem = problem(folder, row);
                folder.problems.extend(problem);
            }
        }
    }
}

/// Whether the folder says what the API made of the entry.
fn is_agreed(folder: &Folder, stored: &Stored, row: &EditedRow) -> bool {
    fn says<T>(items: &[Item<T>], name: &str) -> Option<serde_json::Value>
    where
        T: Serialize,
    {
        let item = items.iter().find(|item| item.name == name)?;
        serde_json::to_value(&item.spec).ok()
    }
    let catalog = &stored.catalog;
    let (wanted, runs) = match row.kind {
        Kind::EventType => (
            says(&folder.event_types, &row.name),
            catalog.event_types.get(&row.name).map(serde_json::to_value),
        ),
        Kind::Constraint => (
            says(&folder.constraints, &row.name),
            catalog
                .constraints
                .get(&row.name)
                .map(|constraint| serde_json::to_value(&constraint.spec)),
        ),
        // Nothing else is edited through the API.
        _ => return true,
    };
    wanted == runs.and_then(Result::ok)
}

fn keep(folder: &mut Folder, stored: &mut Stored, row: &EditedRow) {
    let (catalog, elsewhere) = (&stored.catalog, &mut stored.elsewhere);
    let name = &row.name;
    folder
        .event_types
        .retain(|item| row.kind != Kind::EventType || item.name != *name);
    folder
        .constraints
        .retain(|item| row.kind != Kind::Constraint || item.name != *name);
    if row.kind == Kind::EventType
        && let Some(spec) = catalog.event_types.get(name)
    {
        elsewhere.event_types.insert(name.clone(), spec.clone());
    }
    if row.kind == Kind::Constraint
        && let Some(constraint) = catalog.constraints.get(name)
    {
        elsewhere
            .constraints
            .insert(name.clone(), constraint.clone());
    }
}

fn problem(folder: &Folder, row: &EditedRow) -> Option<Problem> {
    let what = if row.is_gone { "removed" } else { "changed" };
    let message = format!(
        "the {} `{}` was {what} through the API since the folder was applied (version {} by {}, {})",
        row.kind.words(),
        row.name,
        row.version,
        row.author,
        row.applied_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    );
    let constraint = folder.constraints.iter().find(|item| item.name == row.name);
    let place = match (row.kind, constraint) {
        (Kind::Constraint, Some(item)) => Some(item.places.at("")),
        (Kind::Constraint, None) => folder.start.clone(),
        _ => place_of(folder, &row.name),
    };
    Some(Problem::new(place?, message).help(
        "write the same into the folder, or apply with `--take folder` to overwrite it, or with \
         `--take catalogue` to leave it as it is",
    ))
}
