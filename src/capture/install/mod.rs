//! Puts the triggers on the tables of the catalogue, and takes them off again.
//!
//! Everything here may be repeated: what is right already is not touched, so that neither a lock
//! nor a new plan reaches the writers without need. A change of the catalogue, a new leaf of the
//! change table and a new partition all end in the same [`reconcile`].

pub mod function;
pub mod store;

use chrono::{DateTime, Utc};

use self::{
    function::{Function, identifier},
    store::{
        Target, Trigger, bell_lock, columns_read, ddl_lock, function_exists, function_write,
        relation_find, relations_of, target_forget, target_function_set, target_insert,
        targets_current, trigger_create, trigger_drop, triggers_read,
    },
};
use super::rotation;
use crate::{
    catalog::model::{Catalog, ObjectType},
    db::{Connection, QueryError},
};

/// How long a trigger's creation may wait for a table's lock, and make the writers behind it wait.
pub const LOCK_TIMEOUT_MS: u32 = 2_000;

/// Why the triggers could not be installed. The transaction is to be rolled back.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InstallError {
    /// The table's lock was not to be had.
    #[error(
        "object type `{object_type}`: the lock of {table} was not free within {LOCK_TIMEOUT_MS} ms"
    )]
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
pub fn reconcile(
    connection: &mut Connection,
    catalog: &Catalog,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<(), InstallError> {
    ddl_lock(connection, LOCK_TIMEOUT_MS)?;
    let rotation = rotation::current_or_first(connection, now)?;
    let bell = bell_lock(connection)?;
    let mut targets = targets_current(connection)?;

    let of_this_database = catalog
        .object_types
        .iter()
        .filter(|(_, object_type)| object_type.source.is_default());
    for (name, object_type) in of_this_database {
        let known = targets
            .iter()
            .position(|target| target.object_type == *name);
        let Some(relation) = relation_find(connection, &object_type.table)? else {
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
                    uninstall(connection, &old, now)?;
                }
                target_insert(connection, name, relation, &object_type.table, now)?
            }
        };
        install(
            connection,
            &target,
            object_type,
            rotation,
            bell,
            value_bytes_max,
        )
        .map_err(|error| explain(error, name, object_type))?;
    }
    for removed in &targets {
        uninstall(connection, removed, now)?;
    }
    Ok(())
}

fn install(
    connection: &mut Connection,
    target: &Target,
    object_type: &ObjectType,
    rotation: i32,
    bell: Option<(i32, i32)>,
    value_bytes_max: u32,
) -> Result<(), QueryError> {
    let columns = columns_read(connection, target.relation)?;
    let function = Function {
        target: target.id,
        rotation,
        object_type,
        columns: &columns,
        value_bytes_max,
        bell,
    };
    let sql = function.sql();
    let name = Function::name(target.id);
    if sql != target.function_sql || !function_exists(connection, &name)? {
        function_write(connection, &name, &sql)?;
        target_function_set(connection, target.id, &sql)?;
    }
    let present = triggers_read(connection, &name)?;
    for relation in relations_of(connection, target.relation)? {
        for trigger in relation.triggers() {
            let is_present = |(table, kind): &(store::Relation, Trigger)| {
                table.oid == relation.oid && *kind == trigger
            };
            if !present.iter().any(is_present) {
                trigger_create(connection, &relation.name, trigger, &name)?;
            }
        }
    }
    Ok(())
}

/// Takes the triggers off a table. Who does not own it can't drop them; then their function does
/// nothing any more, and the owner is told what to run.
fn uninstall(
    connection: &mut Connection,
    target: &Target,
    now: DateTime<Utc>,
) -> Result<(), InstallError> {
    let name = Function::name(target.id);
    let mut all_dropped = true;
    for (relation, trigger) in triggers_read(connection, &name)? {
        if !trigger_drop(connection, &relation, trigger)? {
            all_dropped = false;
            tracing::warn!(
                table = relation.name,
                "not the owner, so the trigger stays and does nothing; the owner may run: \
                 DROP TRIGGER {} ON {};",
                identifier(trigger.name()),
                relation.name
            );
        }
    }
    store::function_retire(connection, &name, all_dropped)?;
    target_forget(connection, target.id, now)?;
    Ok(())
}

fn explain(error: QueryError, object_type: &str, definition: &ObjectType) -> InstallError {
    let (object_type, table) = (object_type.to_owned(), definition.table.to_string());
    let text = error.to_string();
    if text.contains("lock timeout") {
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

impl store::Relation {
    /// Row triggers on a table of its own and on every inheritance child; a partition has a clone
    /// of its root's. TRUNCATE triggers are not cloned, so everything has its own.
    fn triggers(&self) -> impl Iterator<Item = Trigger> + use<> {
        let row = (!self.is_partition).then_some(Trigger::Row);
        row.into_iter().chain([Trigger::Truncate])
    }
}
