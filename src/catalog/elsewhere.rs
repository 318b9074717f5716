//! Applying a folder whose object types are tables of other databases.
//!
//! Two databases don't commit together, so the order makes it safe. While the source is held (see
//! [`hold`](crate::foreign::hold)): its triggers are put in place; then the catalogue commits in
//! the repository; then triggers that nobody wants any more are taken off. So whoever was told that
//! the folder is applied, or is subscribed after that, misses no change. If anything fails before
//! the catalogue's commit, the triggers that were put in place capture changes of which nothing is
//! made, until upkeep takes them off.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    apply::ApplyError,
    examine::Order,
    load::Folder,
    model::{Catalog, SourceName},
    shape::{Elsewhere, Shapes, shape_stored, shape_write},
    store::{catalog_current, catalog_exists, catalog_version_folder},
};
use crate::{
    db::{Connection, Database, DbError, QueryError},
    foreign::{
        attach::{Attached, attach},
        hold::Hold,
        look::{Asked, Seen},
        store::{Repository, repository_get, source_register, source_target},
    },
};

/// What the sources say of the tables in question.
pub(super) fn shapes(
    connection: &mut Connection,
    order: &Order,
    folder: &Folder,
    running: &Catalog,
    seen: &Seen,
) -> Result<BTreeMap<SourceName, Elsewhere>, DbError> {
    let mut found = BTreeMap::new();
    for name in order.sources.names() {
        let source = SourceName(name.to_owned());
        let there = match seen.get(&source) {
            Some(Ok(shapes)) => Elsewhere {
                shapes: shapes.clone(),
                ..Elsewhere::default()
            },
            unseen => {
                let why = match unseen {
                    Some(Err(why)) => why.as_str(),
                    _ => "nobody looked",
                };
                let is_running = running.other_sources().contains(&source);
                let tables = if is_running {
                    shape_stored(connection, &source)?
                } else {
                    BTreeMap::new()
                };
                let same = folder
                    .object_types
                    .iter()
                    .filter(|item| running.object_types.get(&item.name) == Some(&item.spec));
                Elsewhere {
                    shapes: Shapes {
                        tables,
                        ..Shapes::default()
                    },
                    unreachable: Some(why.to_owned()),
                    unchanged: same.map(|item| item.name.clone()).collect(),
                }
            }
        };
        found.insert(source, there);
    }
    Ok(found)
}

/// The tables of other databases that have to be looked at; none if the folder is unchanged.
pub(super) fn asked(connection: &mut Connection, order: &Order) -> Result<Asked, DbError> {
    let mut asked = Asked::new();
    let specs = order.folder.object_types.iter().map(|item| &item.spec);
    let running = if catalog_exists(connection)? {
        let is_same = catalog_version_folder(connection)?.as_deref() == Some(&order.folder.digest);
        if is_same && order.take.is_none() {
            return Ok(asked);
        }
        catalog_current(connection)?.catalog
    } else {
        Catalog::default()
    };
    for spec in specs.chain(running.object_types.values()) {
        if !spec.source.is_default() {
            let tables = asked.entry(spec.source.clone()).or_default();
            tables.insert(spec.table.clone());
        }
    }
    Ok(asked)
}

/// The other databases while a folder is applied.
#[derive(Default)]
pub(super) struct Others {
    /// What was seen of them.
    pub(super) seen: Seen,
    held: BTreeMap<SourceName, Held>,
}

/// A source whose triggers change with the catalogue.
struct Held {
    hold: Hold,
    attached: Attached,
    /// What of the new catalogue is about it.
    wanted: Catalog,
}

/// Puts triggers in place.
pub(super) trait Install<E>:
    Fn(&mut Connection, &Catalog, DateTime<Utc>) -> Result<(), E> + Clone + Send + 'static
{
}

impl<E, I> Install<E> for I where
    I: Fn(&mut Connection, &Catalog, DateTime<Utc>) -> Result<(), E> + Clone + Send + 'static
{
}

/// What of a catalogue's change is about one source.
struct Turn {
    source: SourceName,
    url: SecretString,
    repository: Repository,
    before: Catalog,
    after: Catalog,
}

impl Turn {
    /// Everything that either has; where both have it, as it will be. Nothing is taken off yet.
    fn both(&self) -> Catalog {
        let mut both = self.before.clone();
        let after = self.after.object_types.clone();
        both.object_types.extend(after);
        both.event_types.extend(self.after.event_types.clone());
        both
    }
}

impl Others {
    /// Of what was seen, prepares the sources for `catalog`: sets up capture where it is new, and
    /// puts the triggers in place.
    pub(super) async fn prepare<E: Into<ApplyError> + Send + 'static>(
        seen: Seen,
        database: &Database,
        order: &Arc<Order>,
        catalog: &Catalog,
        now: DateTime<Utc>,
        install: &impl Install<E>,
    ) -> Result<Self, ApplyError> {
        let running = database.transaction(|connection| {
            let running = catalog_current(connection)?.catalog;
            Ok::<_, DbError>((running, repository_get(connection)?))
        });
        let (running, repository) = running.await?;
        let mut others = Self {
            seen,
            held: BTreeMap::new(),
        };
        for (source, looked) in &others.seen {
            let (before, after) = (running.of_source(&source.0), catalog.of_source(&source.0));
            let Some(url) = order.sources.url(&source.0) else {
                continue;
            };
            // One that can't be reached is left to its upkeep: nothing was added or changed.
            if looked.is_err() || before.object_types == after.object_types {
                continue;
            }
            let turn = Turn {
                source: source.clone(),
                url: url.clone(),
                repository: repository.clone(),
                before,
                after,
            };
            let install = install.clone();
            let prepared = tokio::task::spawn_blocking(move || prepare(turn, now, &install));
            let prepared = prepared.await.unwrap_or(Err(DbError::Panicked.into()));
            let held = prepared.map_err(|error| ApplyError::of_source(&source.0, error))?;
            others.held.insert(source.clone(), held);
        }
        Ok(others)
    }

    /// Writes what the repository keeps of the sources, in the transaction of the new catalogue.
    /// False: this is another catalogue than the one that was prepared for.
    pub(super) fn write(
        &self,
        connection: &mut Connection,
        before: &Catalog,
        catalog: &Catalog,
    ) -> Result<bool, DbError> {
        for (source, looked) in &self.seen {
            let after = catalog.of_source(&source.0);
            let is_changed = before.of_source(&source.0).object_types != after.object_types;
            let held = self.held.get(source);
            let is_prepared =
                held.is_some_and(|held| held.wanted.object_types == after.object_types);
            if is_changed && looked.is_ok() && !is_prepared {
                return Ok(false);
            }
            if let Some(held) = held {
                source_register(connection, &source.0, &held.attached.snapshot)?;
            }
            for name in after.object_types.keys() {
                source_target(connection, &source.0, name)?;
            }
            if let Ok(shapes) = looked {
                let mut tables = shapes.tables.clone();
                let wanted = after.object_types.values();
                let wanted: Vec<_> = wanted.map(|spec| &spec.table).collect();
                tables.retain(|table, _| wanted.contains(&table));
                shape_write(connection, source, &tables)?;
            }
        }
        Ok(true)
    }

    /// Takes off the triggers that nobody wants any more. The catalogue has committed, so what
    /// fails here is not the apply's failure: upkeep will do it.
    pub(super) async fn finish<E: Into<ApplyError> + Send + 'static>(
        self,
        now: DateTime<Utc>,
        install: &impl Install<E>,
    ) {
        for (source, mut held) in self.held {
            let install = install.clone();
            let finished = tokio::task::spawn_blocking(move || {
                let wanted = held.wanted;
                held.hold.transaction(|connection| {
                    install(connection, &wanted, now).map_err(|error| Refused(error.into()))
                })
            });
            let finished = finished.await;
            let error = match &finished {
                Ok(Ok(())) => continue,
                Ok(Err(Refused(error))) => crate::stage::chain(error),
                Err(error) => crate::stage::chain(error),
            };
            tracing::warn!(
                source = source.0,
                error,
                "triggers that are not wanted any more are still there; upkeep will take them off"
            );
        }
    }
}

/// Sets up capture in a source and puts the triggers in place. Blocks.
fn prepare<E: Into<ApplyError>>(
    turn: Turn,
    now: DateTime<Utc>,
    install: &impl Install<E>,
) -> Result<Held, ApplyError> {
    let url = turn.url.expose_secret();
    let attached = attach(url, &turn.source.0, &turn.repository)?;
    let mut hold = Hold::wait(url)?;
    let both = turn.both();
    hold.transaction(|connection| {
        install(connection, &both, now).map_err(|error| Refused(error.into()))
    })
    .map_err(|Refused(error)| error)?;
    Ok(Held {
        hold,
        attached,
        wanted: turn.after,
    })
}

/// Why triggers could not be put in place.
struct Refused(ApplyError);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(error.into())
    }
}
