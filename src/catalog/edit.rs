//! Edits of the catalogue that come through the API: one event type or constraint at a time, each
//! a version with author, time and reason.
//!
//! What the folder holds is changed in the folder. Every function is run in a transaction of its
//! own; it takes the registry's lock.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    affected::{Affected, Whose, affected, unknown_subscription},
    columns::columns_load,
    constraint_check::{CONSTRAINTS_MAX, constraint_check},
    event_type_check::{EVENT_TYPES_MAX, Review, event_type_check},
    meant::World,
    model::{Catalog, Constraint, EventType},
    plan::Kind,
    store::{
        NewItem, NewVersion, Stored, catalog_current, catalog_item_close, catalog_item_insert,
        catalog_version_insert, subscription_unknown,
    },
    users::Turn,
};
use crate::{
    constraint::model::ConstraintSpec,
    db::{Connection, DbError, QueryError},
    registry::{registry_lock, registry_raise},
    subscription::{check::SpecProblem, register::Origin},
};

/// What an edit is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// A named event.
    EventType(EventType),
    /// A publishing constraint.
    Constraint(ConstraintSpec),
}

/// Who edits, when and why.
#[derive(Clone, Debug)]
pub struct By {
    /// The key's name.
    pub author: String,
    /// May be empty.
    pub reason: String,
    /// By the clock.
    pub now: DateTime<Utc>,
}

/// What an edit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// Whether the entry was not there before.
    pub is_new: bool,
    /// What will surprise.
    pub warnings: Vec<SpecProblem>,
}

/// Why an edit was refused or failed. Only `Db` and `Unwritable` are faults of the system.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is made, and was there.
    #[error("the name `{0}` is taken; choose another name, or replace what has it with PUT")]
    Taken(String),
    /// It is removed, and was not there.
    #[error("there is no {} {name}", kind.words())]
    Absent {
        /// What it would be.
        kind: Kind,
        /// The name that nothing has.
        name: String,
    },
    /// It was born in the folder.
    #[error("`{0}` is kept in the metadata folder; change it there and apply the folder")]
    KeptInFolder(String),
    /// It is not valid.
    #[error("the definition is not valid")]
    Problems(Vec<SpecProblem>),
    /// Others need it as it is.
    #[error("{}", .0.join("; "))]
    InUse(Vec<String>),
    /// The definition could not be written as JSON.
    #[error("the definition could not be written")]
    Unwritable(#[from] serde_json::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<QueryError> for EditError {
    fn from(error: QueryError) -> Self {
        Self::Db(error.into())
    }
}

/// Makes an entry.
///
/// # Errors
///
/// See [`EditError`]; after any of them nothing was changed.
pub fn entry_create(
    connection: &mut Connection,
    name: &str,
    definition: &Definition,
    by: &By,
) -> Result<Edited, EditError> {
    registry_lock(connection)?;
    let stored = catalog_current(connection)?;
    if definition.kind().is_in(&stored.catalog, name) {
        return Err(EditError::Taken(name.to_owned()));
    }
    write(connection, &stored, name, definition, by)
}

/// Makes an entry or gives it another definition. The same again is no new version.
///
/// # Errors
///
/// See [`EditError`]; after any of them nothing was changed.
pub fn entry_replace(
    connection: &mut Connection,
    name: &str,
    definition: &Definition,
    by: &By,
) -> Result<Edited, EditError> {
    registry_lock(connection)?;
    let stored = catalog_current(connection)?;
    refuse_of_folder(&stored, definition.kind(), name)?;
    write(connection, &stored, name, definition, by)
}

/// Removes an entry.
///
/// # Errors
///
/// See [`EditError`]; after any of them nothing was changed.
pub fn entry_remove(
    connection: &mut Connection,
    kind: Kind,
    name: &str,
    by: &By,
) -> Result<(), EditError> {
    registry_lock(connection)?;
    let stored = catalog_current(connection)?;
    if !kind.is_in(&stored.catalog, name) {
        let name = name.to_owned();
        return Err(EditError::Absent { kind, name });
    }
    refuse_of_folder(&stored, kind, name)?;
    let mut after = stored.catalog.clone();
    after
        .event_types
        .retain(|known, _| kind != Kind::EventType || known != name);
    if kind == Kind::EventType {
        refuse_in_use(&affects(connection, &stored.catalog, &after)?)?;
    }
    let version = version_begin(connection, by)?;
    catalog_item_close(connection, version, kind.as_str(), name)?;
    Ok(())
}

fn write(
    connection: &mut Connection,
    stored: &Stored,
    name: &str,
    definition: &Definition,
    by: &By,
) -> Result<Edited, EditError> {
    let kind = definition.kind();
    let is_new = !kind.is_in(&stored.catalog, name);
    let mut after = stored.catalog.clone();
    definition.insert(&mut after, name);
    let is_same = !is_new && after == stored.catalog;
    let mut warnings = judge(connection, name, definition, &after)?;
    if kind == Kind::EventType && !is_same {
        let affected = affects(connection, &stored.catalog, &after)?;
        refuse_in_use(&affected)?;
        let misses = affected.misses_told().into_iter();
        warnings.extend(misses.map(|text| SpecProblem::new("", text)));
    }
    if !is_same {
        let version = version_begin(connection, by)?;
        if !is_new {
            catalog_item_close(connection, version, kind.as_str(), name)?;
        }
        let item = NewItem {
            kind: kind.as_str(),
            name,
            origin: Origin::Api,
            definition: &definition.json()?.to_string(),
        };
        catalog_item_insert(connection, version, &item)?;
    }
    Ok(Edited { is_new, warnings })
}

/// Raises the revision and writes the next version.
fn version_begin(connection: &mut Connection, by: &By) -> Result<i64, EditError> {
    registry_raise(connection)?;
    let version = NewVersion {
        author: &by.author,
        reason: &by.reason,
        digest: None,
        applied_at: by.now,
    };
    Ok(catalog_version_insert(connection, &version)?)
}

/// Judges a definition in the catalogue that already has it; returns the warnings.
fn judge(
    connection: &mut Connection,
    name: &str,
    definition: &Definition,
    after: &Catalog,
) -> Result<Vec<SpecProblem>, EditError> {
    let columns = columns_load(connection, after)?;
    let nothing = BTreeSet::new();
    let world = World {
        catalog: after,
        columns: &columns,
        refused: &nothing,
    };
    let (mut review, number, max) = match definition {
        Definition::EventType(spec) => {
            let review = event_type_check(name, spec, &world);
            (review, after.event_types.len(), EVENT_TYPES_MAX)
        }
        Definition::Constraint(spec) => {
            let mut review = constraint_check(name, spec, &world);
            let unknown = unknown_subscriptions(connection, spec)?;
            review.warnings.extend(unknown);
            (review, after.constraints.len(), CONSTRAINTS_MAX)
        }
    };
    if number > max {
        let text = format!("the catalogue would have {number} of these; the limit is {max}");
        review.problems.push(SpecProblem::new("", text));
    }
    let Review { problems, warnings } = review;
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(EditError::Problems(problems))
    }
}

fn unknown_subscriptions(
    connection: &mut Connection,
    spec: &ConstraintSpec,
) -> Result<Vec<SpecProblem>, EditError> {
    let patterns = &spec.applies_to.subscriptions;
    let asked: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let unknown = subscription_unknown(connection, false, &asked)?.into_iter();
    let warning = |pattern: String| {
        let index = patterns.iter().position(|known| *known == pattern);
        let pointer = format!("/applies_to/subscriptions/{}", index.unwrap_or_default());
        SpecProblem::new(pointer, unknown_subscription(&pattern))
    };
    Ok(unknown.map(warning).collect())
}

fn affects(
    connection: &mut Connection,
    before: &Catalog,
    after: &Catalog,
) -> Result<Affected, EditError> {
    // The object types are the same in both, and so are their columns.
    let columns = columns_load(connection, before)?;
    let nothing = BTreeSet::new();
    let world = |catalog| World {
        catalog,
        columns: &columns,
        refused: &nothing,
    };
    let turn = Turn::new(world(before), world(after));
    Ok(affected(connection, &turn, after, Whose::Everyones)?)
}

fn refuse_in_use(affected: &Affected) -> Result<(), EditError> {
    if affected.broken.is_empty() {
        return Ok(());
    }
    let texts = affected.broken.iter().map(|broken| broken.text.clone());
    let more =
        (affected.more_broken > 0).then(|| format!("{} more use it, too", affected.more_broken));
    Err(EditError::InUse(texts.chain(more).collect()))
}

fn refuse_of_folder(stored: &Stored, kind: Kind, name: &str) -> Result<(), EditError> {
    let is_of_folder = kind.is_in(&stored.catalog, name) && !kind.is_in(&stored.elsewhere, name);
    if is_of_folder {
        return Err(EditError::KeptInFolder(name.to_owned()));
    }
    Ok(())
}

impl Kind {
    /// For messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::ObjectType => "object type",
            Self::EventType => "event type",
            Self::Constraint => "constraint",
            Self::Subscription => "subscription",
        }
    }

    /// Whether `catalog` has an entry of this kind with this name.
    fn is_in(self, catalog: &Catalog, name: &str) -> bool {
        match self {
            Self::Namespace => catalog.namespaces.contains_key(name),
            Self::ObjectType => catalog.object_types.contains_key(name),
            Self::EventType => catalog.event_types.contains_key(name),
            Self::Constraint => catalog.constraints.contains_key(name),
            Self::Subscription => false,
        }
    }
}

impl Definition {
    /// What it defines.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::EventType(_) => Kind::EventType,
            Self::Constraint(_) => Kind::Constraint,
        }
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::EventType(spec) => serde_json::to_value(spec),
            Self::Constraint(spec) => serde_json::to_value(spec),
        }
    }

    fn insert(&self, catalog: &mut Catalog, name: &str) {
        match self {
            Self::EventType(spec) => {
                catalog.event_types.insert(name.to_owned(), spec.clone());
            }
            Self::Constraint(spec) => {
                let constraint = Constraint {
                    version: catalog.constraints.get(name).map_or(0, |was| was.version),
                    spec: spec.clone(),
                };
                catalog.constraints.insert(name.to_owned(), constraint);
            }
        }
    }
}
