//! The stage that keeps a source's capture in order: its triggers, its leaves, and what the
//! repository knows of its tables.
//!
//! What has to be done in the source is read off the repository each time, so a source that was
//! away while metadata was applied catches up when it is back.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ANSWER_LIMIT, Fault, SourceError, answered,
    attach::attach,
    hold::Hold,
    store::{Repository, read_up_to_set, repository_get},
};
use crate::{
    capture::{
        install::{self, store::ddl_lock},
        rotation,
        store::cursor_get,
    },
    catalog::{
        model::{Catalog, ObjectType, SourceName},
        shape::{Shapes, shape_read, shape_stored, shape_write},
    },
    config::Limits,
    db::{Database, DbError},
    registry::{registry_lock, registry_raise},
    source::detach::store::detached_read,
    stage::{Progress, Stage, chain},
};

/// How often a source is looked after.
const INTERVAL: Duration = Duration::from_secs(30);

/// Keeps one source's capture in order.
pub struct SourceUpkeep {
    stage_name: String,
    source: Arc<str>,
    url: SecretString,
    repository: Database,
    limits: Limits,
    is_attached: bool,
}

/// What the repository says of the source.
#[derive(Clone)]
struct Wanted {
    /// What of the catalogue is about it.
    catalog: Catalog,
    /// How far it was read.
    snapshot: String,
    repository: Repository,
}

impl SourceUpkeep {
    /// The stage of one source.
    #[must_use]
    pub fn new(source: &str, url: SecretString, repository: Database, limits: Limits) -> Self {
        Self {
            stage_name: format!("upkeep {source}"),
            source: source.into(),
            url,
            repository,
            limits,
            is_attached: false,
        }
    }

    /// `None` as long as no object type has named the source.
    async fn wanted(&self) -> Result<Option<Wanted>, SourceError> {
        let source = Arc::clone(&self.source);
        let wanted = self.repository.transaction(move |connection| {
            let Some(cursor) = cursor_get(connection, &source)? else {
                return Ok::<_, DbError>(None);
            };
            let mut catalog = Catalog::load(connection)?;
            let detached = detached_read(connection)?;
            let is_attached =
                |name: &String, spec: &mut ObjectType| !detached.covers(&spec.source, name);
            catalog.object_types.retain(is_attached);
            Ok(Some(Wanted {
                catalog: catalog.of_source(&source),
                snapshot: cursor.snapshot,
                repository: repository_get(connection)?,
            }))
        });
        let wanted = wanted.await;
        wanted.map_err(|error| SourceError::here(&self.source, error))
    }

    /// Runs `work` with the source on a blocking thread.
    async fn there<T: Send + 'static>(
        &self,
        work: impl FnOnce(&str, &str) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (source, url) = (Arc::clone(&self.source), self.url.clone());
        let done = tokio::task::spawn_blocking(move || work(&source, url.expose_secret()));
        let done = answered(&self.source, ANSWER_LIMIT, done).await?;
        done.unwrap_or(Err(DbError::Panicked))
            .map_err(|error| SourceError::there(&self.source, error))
    }

    /// Tells the repository what the tables look like now, by which conditions are judged.
    async fn shapes_write(&self, shapes: Shapes) -> Result<(), SourceError> {
        let source = SourceName(self.source.to_string());
        let written = self.repository.transaction(move |connection| {
            // Publishing waits for the lock, so it is taken for a difference only.
            if shape_stored(connection, &source)? == shapes.tables {
                return Ok(());
            }
            registry_lock(connection)?;
            if shape_write(connection, &source, &shapes.tables)? {
                registry_raise(connection)?;
            }
            Ok::<_, DbError>(())
        });
        let written = written.await;
        written.map_err(|error| SourceError::here(&self.source, error))
    }
}

impl Stage for SourceUpkeep {
    type Error = SourceError;

    fn name(&self) -> &str {
        &self.stage_name
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, SourceError> {
        let Some(Wanted { repository, .. }) = self.wanted().await? else {
            return Ok(Progress::Idle);
        };
        if !self.is_attached {
            self.there(move |source, url| attach(url, source, &repository))
                .await?;
            self.is_attached = true;
        }
        let Some(hold) = self.there(|_, url| Hold::take(url)).await? else {
            // Somebody is changing its triggers.
            return Ok(Progress::Idle);
        };
        // Only what is read while it is held is what the triggers are to be.
        let Some(wanted) = self.wanted().await? else {
            return Ok(Progress::Idle);
        };
        let limits = self.limits.clone();
        let tended = self
            .there(move |source, _| Ok(tend(source, hold, &wanted, &limits, now)))
            .await?;
        let done = match tended {
            Ok((done, shapes)) => {
                self.shapes_write(shapes).await?;
                done
            }
            Err(fault) => Err(fault),
        };
        match done {
            Ok(0) => Ok(Progress::Idle),
            Ok(_) => Ok(Progress::Worked),
            Err(fault) => {
                // Perhaps the schema is gone.
                self.is_attached = false;
                Err(SourceError::there(&self.source, fault))
            }
        }
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Does what is to be done in a source: each piece in a transaction of its own, so that one that
/// fails does not stop the others. Tells how much there was to do, and what the tables look like.
fn tend(
    source: &str,
    mut hold: Hold,
    wanted: &Wanted,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<(Result<usize, Fault>, Shapes), Fault> {
    let age = limits.rotation_age();
    let rotated = hold.transaction(|connection| {
        ddl_lock(connection, install::LOCK_TIMEOUT_MS)?;
        let rotated = rotation::open_next_if_due(connection, age, now)?;
        install::reconcile(connection, &wanted.catalog, limits.value_bytes_max, now)?;
        Ok::<_, Fault>(usize::from(rotated.is_some()))
    });
    let dropped = hold.transaction(|connection| {
        read_up_to_set(connection, &wanted.snapshot)?;
        let retention = limits.change_retention();
        Ok::<_, Fault>(rotation::drop_one_expired(connection, retention, now)?)
    });
    for failure in [&rotated, &dropped]
        .into_iter()
        .filter_map(|done| done.as_ref().err())
    {
        let error = chain(failure.0.as_ref());
        tracing::warn!(source, error, "a piece of the source's upkeep failed");
    }
    let shapes = hold.transaction(|connection| {
        let tables = wanted.catalog.object_types.values().map(|spec| &spec.table);
        Ok::<_, Fault>(shape_read(connection, tables)?)
    })?;
    let done = rotated.and_then(|rotated| Ok(rotated + dropped?));
    Ok((done, shapes))
}
