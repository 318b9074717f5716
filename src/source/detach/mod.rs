//! Detaching: the triggers are taken off because Rowcall will be away for long, and put on again.
//!
//! Detached is a state in the repository, which
//! [`reconcile`] honours: what serves meanwhile does
//! not put the triggers on again. What was captured before is published as ever. What was not
//! captured is a gap of each object type, which attaching tells to its subscribers.

pub mod store;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use self::store::{source_detached_set, source_names, triggers_left};
use super::{
    ATTEMPT_PAUSE, LOCK_TIMEOUT_MS, SourceError,
    gap::{
        GapReason, Span,
        store::{gap_begin, gap_capture, gap_end, gap_end_now, gap_open},
    },
    patiently,
};
use crate::{
    capture::{
        install::{
            reconcile,
            store::{ddl_lock, targets_current},
            uninstall,
        },
        store::doorbell_ring_if_asleep,
    },
    catalog::model::{Catalog, SourceName},
    db::{Connection, Database, DbError},
    nearest::did_you_mean,
    registry::registry_raise,
};

/// How often triggers that were left are looked at, until they count as left.
const LEFT_LOOKS: u32 = 8;

/// What is detached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// Whole sources.
    pub(super) sources: BTreeSet<String>,
    /// Source and object type.
    pub(super) object_types: BTreeSet<(String, String)>,
}

impl Detached {
    /// Whether the object type `name` of `source` is not to be captured.
    #[must_use]
    pub fn covers(&self, source: &SourceName, name: &str) -> bool {
        self.sources.contains(&source.0)
            || self
                .object_types
                .contains(&(source.0.clone(), name.to_owned()))
    }
}

/// A trigger of Rowcall that only the table's owner can drop. It does nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerLeft {
    /// Quoted, with its schema.
    pub table: String,
    /// Quoted.
    pub trigger: String,
    /// The table's owner.
    pub owner: String,
}

impl TriggerLeft {
    /// The statement for the owner.
    #[must_use]
    pub fn drop_statement(&self) -> String {
        format!("DROP TRIGGER {} ON {};", self.trigger, self.table)
    }
}

/// What detaching did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detachment {
    /// The object types that are detached now.
    pub object_types: Vec<String>,
    /// What their owners may drop.
    pub left: Vec<TriggerLeft>,
}

/// Takes the triggers off a source's tables, or off those of one object type, until [`attach`].
///
/// # Errors
///
/// If there is no such source or object type; if a table stays in use. Run again, it goes on.
pub async fn detach(
    database: &Database,
    source: &str,
    object_type: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Detachment, SourceError> {
    let (name, only) = (source.to_owned(), object_type.map(ToOwned::to_owned));
    let object_types = database
        .transaction(move |connection| {
            let object_types = chosen(connection, &name, only.as_deref())?;
            if only.is_none() {
                source_detached_set(connection, &name, true)?;
            }
            for object_type in &object_types {
                gap_begin(connection, &name, object_type)?;
            }
            Ok::<_, SourceError>(object_types)
        })
        .await?;
    for object_type in &object_types {
        let wanted = object_type.clone();
        let what = format!("a table of {object_type}");
        patiently(database, &what, move |connection| {
            ddl_lock(connection, LOCK_TIMEOUT_MS)?;
            let targets = targets_current(connection)?;
            for target in targets.iter().filter(|t| t.object_type == wanted) {
                uninstall(connection, target, now)?;
            }
            Ok(())
        })
        .await?;
    }
    let left = left(database).await?;
    Ok(Detachment { object_types, left })
}

/// The triggers that stay. An instance that serves may have noticed first that a table is captured
/// no more, and is about to drop its triggers.
async fn left(database: &Database) -> Result<Vec<TriggerLeft>, SourceError> {
    for _ in 0..LEFT_LOOKS {
        let left = database
            .run(|connection| Ok::<_, DbError>(triggers_left(connection)?))
            .await?;
        if left.is_empty() {
            return Ok(left);
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    database
        .run(|connection| Ok(triggers_left(connection)?))
        .await
}

/// An object type that is captured again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub object_type: String,
    /// When nothing was captured.
    pub span: Span,
    /// Whether it is captured: its table may be gone, or the catalogue no longer has it.
    pub is_captured: bool,
}

/// Puts the triggers on again and tells the gap to the subscribers. `value_bytes_max` is the limit
/// of that name. Nothing detached: an empty list.
///
/// # Errors
///
/// If there is no such source or object type; if a table stays in use. Run again, it goes on.
pub async fn attach(
    database: &Database,
    source: &str,
    object_type: Option<&str>,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Attached>, SourceError> {
    let (name, only) = (source.to_owned(), object_type.map(ToOwned::to_owned));
    let wanted = database
        .transaction(move |connection| {
            let mut open = gap_open(connection, &name)?;
            match &only {
                // One that the catalogue no longer has can be closed, too.
                Some(only) if open.contains(only) => open.retain(|name| name == only),
                Some(_) => {
                    chosen(connection, &name, only.as_deref())?;
                    open.clear();
                }
                None => {
                    chosen(connection, &name, None)?;
                }
            }
            // Each object type has its own gap, which holds while the triggers come one by one.
            if only.is_none() || !open.is_empty() {
                source_detached_set(connection, &name, false)?;
            }
            Ok::<_, SourceError>(open)
        })
        .await?;
    let mut attached = Vec::new();
    for object_type in wanted {
        let (name, wanted) = (source.to_owned(), object_type.clone());
        let what = format!("a table of {object_type}");
        let done = patiently(database, &what, move |connection| {
            attach_one(connection, &name, &wanted, value_bytes_max, now)
        })
        .await?;
        attached.extend(done);
    }
    Ok(attached)
}

fn attach_one(
    connection: &mut Connection,
    source: &str,
    object_type: &str,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<Option<Attached>, SourceError> {
    // Before all other locks, as every edit does. The new target must be known to publishing before
    // its first change is.
    registry_raise(connection)?;
    let Some(gap) = gap_end(connection, source, object_type)? else {
        return Ok(None);
    };
    let catalog = Catalog::load(connection)?;
    reconcile(connection, &catalog, value_bytes_max, now)?;
    // Now that the table's lock is held: nothing was written to it uncaptured after this.
    let span = gap_end_now(connection, gap)?;
    let told = gap_capture(
        connection,
        &[object_type.to_owned()],
        GapReason::Detached,
        span,
    )?;
    doorbell_ring_if_asleep(connection)?;
    Ok(Some(Attached {
        object_type: object_type.to_owned(),
        span,
        is_captured: told > 0,
    }))
}

/// The object types of the source, or the one that was asked for.
fn chosen(
    connection: &mut Connection,
    source: &str,
    only: Option<&str>,
) -> Result<Vec<String>, SourceError> {
    source_known(connection, source)?;
    let catalog = Catalog::load(connection)?;
    let of_source = catalog
        .object_types
        .iter()
        .filter(|(_, object_type)| object_type.source.0 == source);
    let names: Vec<String> = of_source.map(|(name, _)| name.clone()).collect();
    match only {
        None => Ok(names),
        Some(only) if names.iter().any(|name| name == only) => Ok(vec![only.to_owned()]),
        Some(only) => Err(SourceError::UnknownObjectType {
            source_name: source.to_owned(),
            name: only.to_owned(),
            near: did_you_mean(only, names.iter().map(String::as_str)),
        }),
    }
}

/// Refuses a name that is no source's.
pub(super) fn source_known(connection: &mut Connection, source: &str) -> Result<(), SourceError> {
    let names = source_names(connection)?;
    if names.iter().any(|name| name == source) {
        return Ok(());
    }
    Err(SourceError::Unknown {
        name: source.to_owned(),
        near: did_you_mean(source, names.iter().map(String::as_str)),
    })
}
