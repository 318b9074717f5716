//! Puts the triggers on the tables of the catalogue, and takes them off again.
//!
//! Everything here may be repeated: what is right already is not touched, so that neither a lock
//! nor a new plan reaches the writers without need. A change of the catalogue, a new leaf of the
//! change table and a new partition all end in the same [`reconcile`].

pub mod function;
pub mod rendering;
pub mod step;
pub mod store;
mod tables;
pub mod verdict;
mod wanted;

use chrono::{DateTime, Utc};

use self::{
    function::Function,
    step::{Step, store::targets_left},
    store::{
        Target, bell_lock, ddl_lock, function_exists, function_retire, function_write,
        target_forget, target_function_set, target_insert, targets_current,
    },
    tables::Tables,
    verdict::store::Present,
    wanted::{judged, triggers_are},
};
use super::rotation;
use crate::{
    catalog::model::{Catalog, ObjectType, TableName},
    db::{Connection, QueryError},
    source::detach::store::detached_read,
};

/// How long a trigger's creation may wait for a table's lock, and make the writers behind it wait.
pub const LOCK_TIMEOUT_MS: u32 = 2_000;

/// Why the triggers could not be installed. The transaction is to be rolled back.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InstallError {
    /// The table's lock was not to be had.
    #[error("object type `{object_type}`: the lock of {table} was not free in time")]
    #[diagnostic(help("a long transaction uses the table; try again when it has ended"))]
    Busy {
        /// The object type's name.
        object_type: String,
        /// schema.table
        table: String,
    },
    /// A privilege is missing.
    #[error("object type `{object_type}`: {detail}")]
    #[diagnostic(help(
        "run as the table's owner: GRANT TRIGGER ON {table} TO the user of Rowcall"
    ))]
    Privilege {
        /// The object type's name.
        object_type: String,
        /// schema.table
        table: String,
        /// In Postgres' words.
        detail: String,
    },
    /// A statement failed.
    #[error("the triggers could not be installed")]
    Database(#[from] QueryError),
}

/// Makes the triggers and their functions what the catalogue asks for of the database that
/// `connection` is to, in the caller's transaction. For a source that is another database, that is
/// [`Catalog::of_source`].
///
/// `value_bytes_max` is the limit of that name: a larger image becomes a gap.
///
/// # Errors
///
/// See [`InstallError`].
pub fn reconcile(
    connection: &mut Connection,
    catalog: &Catalog,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<(), InstallError> {
    for step in functions_reconcile(connection, catalog, value_bytes_max, now)? {
        step.take(connection)?;
    }
    Ok(())
}

/// The part that takes no table's lock: all functions, in one transaction, because with a new leaf
/// none may go on writing into the old one. Returns what is left to be done, table by table.
///
/// # Errors
///
/// See [`InstallError`].
pub fn functions_reconcile(
    connection: &mut Connection,
    catalog: &Catalog,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Step>, InstallError> {
    ddl_lock(connection, LOCK_TIMEOUT_MS)?;
    let shared = Shared {
        rotation: rotation::current_or_first(connection, now)?,
        bell: bell_lock(connection)?,
        value_bytes_max,
    };
    let mut targets = targets_current(connection)?;
    let mut steps = targets_left(connection)?
        .into_iter()
        .map(Step::Remove)
        .collect::<Vec<_>>();

    let detached = detached_read(connection)?;

    let of_this_database: Vec<(&String, &ObjectType)> = catalog
        .object_types
        .iter()
        .filter(|(_, object_type)| object_type.source.is_default())
        .collect();
    let object_types: Vec<&ObjectType> = of_this_database.iter().map(|(_, one)| *one).collect();
    let tables = Tables::read(connection, &object_types)?;
    for (name, object_type) in of_this_database {
        // What is installed for it is left in `targets`, so it is taken off.
        if detached.covers(&object_type.source, name) {
            continue;
        }
        let known = targets
            .iter()
            .position(|target| target.object_type == *name);
        let Some(relation) = tables.oid(&object_type.table) else {
            // One dropped table must not keep the others from being captured.
            let table = object_type.table.to_string();
            tracing::warn!(
                object_type = name,
                table,
                "the table is gone; nothing is captured"
            );
            known.map(|place| targets.swap_remove(place));
            continue;
        };
        let target = match known.map(|place| targets.swap_remove(place)) {
            Some(target) if target.relation == relation => target,
            other => {
                // The object type moved to another table: its old one is no longer captured.
                if let Some(old) = other {
                    steps.push(retire(connection, old, now)?);
                }
                target_insert(connection, name, relation, &object_type.table, now)?
            }
        };
        let missing = install(connection, &tables, &target, catalog, object_type, &shared);
        steps.extend(missing.map_err(|error| explain(error, name, &object_type.table))?);
    }
    for removed in targets {
        steps.push(retire(connection, removed, now)?);
    }
    Ok(steps)
}

/// The tables of a catalogue as they are, with their triggers and functions. While it stays equal,
/// and the catalogue, the leaf and the texts of the functions with it, [`functions_reconcile`] has
/// no more to do than the last time.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen(Tables);

impl Seen {
    /// Reads it, without a lock.
    pub(crate) fn read(connection: &mut Connection, catalog: &Catalog) -> Result<Self, QueryError> {
        let of_this_database = catalog.object_types.values();
        let of_this_database: Vec<&ObjectType> = of_this_database
            .filter(|object_type| object_type.source.is_default())
            .collect();
        Tables::read(connection, &of_this_database).map(Self)
    }
}

/// What is the same in all trigger functions.
struct Shared {
    rotation: i32,
    bell: Option<(i32, i32)>,
    value_bytes_max: u32,
}

/// Writes the function if it is another, and tells which triggers are missing.
fn install(
    connection: &mut Connection,
    tables: &Tables,
    target: &Target,
    catalog: &Catalog,
    object_type: &ObjectType,
    shared: &Shared,
) -> Result<Vec<Step>, QueryError> {
    let judged = judged(tables, target, catalog, object_type);
    let function = Function {
        target: target.id,
        rotation: shared.rotation,
        object_type,
        columns: tables.columns(target.relation),
        value_bytes_max: shared.value_bytes_max,
        bell: shared.bell,
        verdict: judged.body.as_deref(),
    };
    let sql = function.sql();
    let name = Function::name(target.id);
    if sql != target.function_sql || !tables.has_function(&name) {
        function_write(connection, &name, &sql)?;
        target_function_set(connection, target.id, &sql)?;
    }
    let mut steps = Vec::new();
    let (relations, triggers) = (tables.relations(target.relation), tables.triggers(&name));
    for (left, present) in triggers {
        if !relations.iter().any(|relation| relation.oid == left.oid) {
            steps.push(Step::Leave {
                target: target.clone(),
                relation: left.clone(),
                trigger: present.trigger,
            });
        }
    }
    for relation in relations {
        let wanted = judged.triggers_on(relation);
        let present: Vec<&Present> = triggers
            .iter()
            .filter(|(on, _)| on.oid == relation.oid)
            .map(|(_, present)| present)
            .collect();
        if !triggers_are(&present, &wanted) {
            steps.push(Step::Put {
                target: target.clone(),
                table: object_type.table.clone(),
                relation: relation.clone(),
                wanted,
            });
        }
    }
    Ok(steps)
}

/// Takes the triggers off a table. Who does not own it can't drop them; then their function does
/// nothing any more, and the owner is told what to run.
pub(crate) fn uninstall(
    connection: &mut Connection,
    target: &Target,
    now: DateTime<Utc>,
) -> Result<(), InstallError> {
    retire(connection, target.clone(), now)?.take(connection)
}

/// Nothing is captured for the target from now on. Its triggers still have to go.
fn retire(
    connection: &mut Connection,
    target: Target,
    now: DateTime<Utc>,
) -> Result<Step, QueryError> {
    let name = Function::name(target.id);
    if function_exists(connection, &name)? {
        function_retire(connection, &name, false)?;
    }
    target_forget(connection, target.id, now)?;
    Ok(Step::Remove(target))
}

fn explain(error: QueryError, object_type: &str, table: &TableName) -> InstallError {
    let (object_type, table) = (object_type.to_owned(), table.to_string());
    let text = error.to_string();
    if text.contains("lock timeout") || text.contains("statement timeout") {
        InstallError::Busy { object_type, table }
    } else if text.contains("permission denied") {
        InstallError::Privilege {
            object_type,
            table,
            detail: text,
        }
    } else {
        InstallError::Database(error)
    }
}
