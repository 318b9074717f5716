//! One table's part of bringing the triggers up to date, so that each can be a transaction of its
//! own: no table's lock is held while another's is waited for, and a busy table keeps no other
//! from being captured.

pub(super) mod store;

use self::store::{statement_timeout_set, target_is_current};
use super::{
    InstallError, explain,
    store::{Relation, Target, Trigger, ddl_lock, function_retire, trigger_drop, triggers_read},
    wanted::{Wanted, triggers_put},
};
use crate::{
    capture::install::function::{Function, identifier},
    catalog::model::TableName,
    db::{Connection, QueryError},
};

/// How long upkeep waits for one table's lock, and makes the writers behind it wait. What can't be
/// had is tried for again.
pub const TABLE_LOCK_TIMEOUT_MS: u32 = 150;

/// How long creating a trigger may take in all. On the root of many partitions it takes the lock of
/// each, one after the other.
pub const TABLE_STATEMENT_TIMEOUT_MS: u32 = 2_000;

/// Something to be done that takes one table's lock; a root's includes its partitions.
#[derive(Clone, Debug)]
pub enum Step {
    /// Triggers are missing, have another condition, or are too many.
    Put {
        /// What they are for.
        target: Target,
        /// The object type's table, for messages.
        table: TableName,
        /// Where.
        relation: Relation,
        /// All that it is to have.
        wanted: Vec<Wanted>,
    },
    /// A trigger is on a table that was detached, or inherits no more: its rows are no objects of
    /// this type any longer.
    Leave {
        /// What it is for.
        target: Target,
        /// Where it is.
        relation: Relation,
        /// Which.
        trigger: Trigger,
    },
    /// Triggers and a function that nothing is captured by any more, on whatever tables they are.
    Remove(Target),
}

impl Step {
    /// Does it in the caller's transaction.
    ///
    /// # Errors
    ///
    /// See [`InstallError`]; the transaction is to be rolled back.
    pub fn take(&self, connection: &mut Connection) -> Result<(), InstallError> {
        match self {
            Self::Put {
                target,
                table,
                relation,
                wanted,
            } => triggers_put(connection, relation, &Function::name(target.id), wanted)
                .map_err(|error| explain(error, &target.object_type, table)),
            Self::Leave {
                target,
                relation,
                trigger,
            } => {
                let dropped = trigger_drop(connection, relation, *trigger);
                if !dropped.map_err(|error| of_target(error, target))? {
                    warn_of_trigger(
                        relation,
                        *trigger,
                        "so what happens to the table is captured still",
                    );
                }
                Ok(())
            }
            Self::Remove(target) => {
                remove(connection, target).map_err(|error| of_target(error, target))
            }
        }
    }

    /// Does it in a transaction that does nothing else, and gives up soon. What is not wanted any
    /// more, because the catalogue changed in between, is left.
    ///
    /// # Errors
    ///
    /// See [`InstallError`]; the transaction is to be rolled back.
    pub fn take_alone(&self, connection: &mut Connection) -> Result<(), InstallError> {
        ddl_lock(connection, TABLE_LOCK_TIMEOUT_MS)?;
        statement_timeout_set(connection, TABLE_STATEMENT_TIMEOUT_MS)?;
        if let Self::Put { target, .. } | Self::Leave { target, .. } = self
            && !target_is_current(connection, target.id)?
        {
            return Ok(());
        }
        self.take(connection)
    }
}

/// Takes the triggers off a table. Who does not own it can't drop them; their function does nothing
/// any more, and the owner is told what to run.
fn remove(connection: &mut Connection, target: &Target) -> Result<(), QueryError> {
    let name = Function::name(target.id);
    let mut all_dropped = true;
    for (relation, trigger) in triggers_read(connection, &name)? {
        if !trigger_drop(connection, &relation, trigger)? {
            all_dropped = false;
            warn_of_trigger(&relation, trigger, "so the trigger stays and does nothing");
        }
    }
    function_retire(connection, &name, all_dropped)
}

/// Tells the owner what Rowcall may not do.
fn warn_of_trigger(relation: &Relation, trigger: Trigger, consequence: &str) {
    tracing::warn!(
        table = relation.name,
        "not the owner, {consequence}; the owner may run: DROP TRIGGER {} ON {};",
        identifier(trigger.name()),
        relation.name
    );
}

fn of_target(error: QueryError, target: &Target) -> InstallError {
    match TableName::try_from(target.table_name.clone()) {
        Ok(table) => explain(error, &target.object_type, &table),
        Err(_) => InstallError::Database(error),
    }
}
