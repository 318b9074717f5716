//! Removing Rowcall from its database without a trace, and without a moment in which a writer
//! fails.
//!
//! A trigger whose function is gone makes every write to its table fail, so the order is: the
//! source is detached, so that nothing puts triggers on again; the triggers are dropped, table by
//! table; and only when none is left, the rest goes, in one transaction and without CASCADE, which
//! would take what others built on it. Triggers that only their tables' owners can drop are made to
//! do nothing and shown; then the rest stays until they are gone.

mod store;

use chrono::{DateTime, Utc};

use self::store::{
    RoleDrop, role_drop, schema_drop, serving_count, trigger_drop_own, triggers_count,
    unsettled_count,
};
use super::{
    ATTEMPT_PAUSE, LOCK_TIMEOUT_MS, SourceError,
    detach::{TriggerLeft, detach, source_known, store::triggers_left},
    patiently,
};
use crate::{
    capture::{
        install::{
            store::{ddl_lock, targets_current},
            uninstall as target_uninstall,
        },
        store::changes_unread_count,
    },
    catalog::model::DEFAULT_SOURCE,
    db::{Connection, Database, QueryError},
};

/// How often sessions of Rowcall are looked for before they count as those of one that serves.
const SESSIONS_GONE_ATTEMPTS: usize = 4;

/// What is going to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Triggers on the application's tables, without their clones on partitions.
    pub triggers: i64,
    /// How many tables they are on.
    pub tables: i64,
    /// Changes that are captured and not published.
    pub changes_unread: i64,
    /// Deliveries that are neither acknowledged nor given up.
    pub deliveries_unsettled: i64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uninstalled {
    /// Nothing captures any more, but these triggers are others' to drop.
    TriggersLeft(Vec<TriggerLeft>),
    /// Everything is gone, apart from what is said of the role.
    Done {
        /// Why the role `rowcall_capture` is still there; `None`: it is not.
        role_left: Option<RoleLeft>,
    },
}

/// Why the role stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleLeft {
    /// Another database of the cluster has Rowcall.
    InUse,
    /// An administrator has to drop it.
    Refused,
}

/// Counts what would be removed.
///
/// # Errors
///
/// If there is no such source, or it is another database; if instances are connected.
pub async fn inventory(database: &Database, source: &str) -> Result<Inventory, SourceError> {
    // The sessions of an instance that was just stopped are there for a moment longer.
    for _ in 0..SESSIONS_GONE_ATTEMPTS {
        match inventory_once(database, source).await {
            Err(SourceError::Serving { .. }) => tokio::time::sleep(ATTEMPT_PAUSE).await,
            counted => return counted,
        }
    }
    inventory_once(database, source).await
}

async fn inventory_once(database: &Database, source: &str) -> Result<Inventory, SourceError> {
    let name = source.to_owned();
    database
        .transaction(move |connection| {
            source_known(connection, &name)?;
            if name != DEFAULT_SOURCE {
                return Err(SourceError::NotOwn { name });
            }
            let sessions = serving_count(connection)?;
            if sessions > 0 {
                return Err(SourceError::Serving { sessions });
            }
            let (triggers, tables) = triggers_count(connection)?;
            Ok(Inventory {
                triggers,
                tables,
                changes_unread: changes_unread_count(connection, &name)?,
                deliveries_unsettled: unsettled_count(connection)?,
            })
        })
        .await
}

/// Removes everything. The caller has shown the [`inventory`] and been told to go on.
///
/// # Errors
///
/// If a table stays in use, or something else depends on what is in the schema. Run again, it goes
/// on.
pub async fn uninstall(
    database: &Database,
    source: &str,
    now: DateTime<Utc>,
) -> Result<Uninstalled, SourceError> {
    detach(database, source, None, now).await?;
    let left = patiently(database, "a table", move |connection| {
        ddl_lock(connection, LOCK_TIMEOUT_MS)?;
        // Those of object types that are no longer in the catalogue.
        for target in targets_current(connection)? {
            target_uninstall(connection, &target, now)?;
        }
        Ok(triggers_left(connection)?)
    })
    .await?;
    // What was another's before may be ours to drop by now.
    let mut others = Vec::new();
    for trigger in left {
        let (what, wanted) = (trigger.table.clone(), trigger.clone());
        let is_dropped = patiently(database, &what, move |connection| {
            ddl_lock(connection, LOCK_TIMEOUT_MS)?;
            Ok(trigger_drop_own(connection, &wanted)?)
        })
        .await?;
        if !is_dropped {
            others.push(trigger);
        }
    }
    if !others.is_empty() {
        return Ok(Uninstalled::TriggersLeft(others));
    }
    patiently(database, "a table of Rowcall", schema_remove).await?;
    let role_left = match database.transaction(role_remove).await? {
        RoleDrop::Dropped => None,
        RoleDrop::InUse => Some(RoleLeft::InUse),
        RoleDrop::Refused => Some(RoleLeft::Refused),
    };
    Ok(Uninstalled::Done { role_left })
}

fn schema_remove(connection: &mut Connection) -> Result<(), SourceError> {
    ddl_lock(connection, LOCK_TIMEOUT_MS)?;
    schema_drop(connection).map_err(|error| match error {
        QueryError::DatabaseError(_, information)
            if information.message().contains("other objects depend on") =>
        {
            let detail = information.details().unwrap_or(information.message());
            let detail = detail.replace('\n', "; ");
            SourceError::Depended { detail }
        }
        error => error.into(),
    })
}

fn role_remove(connection: &mut Connection) -> Result<RoleDrop, SourceError> {
    Ok(role_drop(connection)?)
}
