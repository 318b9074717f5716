//! The stage that copies the changes of one source into the change table.
//!
//! Three steps, of which only the middle one needs the source: the cursor is read, a batch is read
//! there, and both are written here in one transaction. So nothing of the repository is held while
//! a source is waited for, and who loses a race for the cursor has written nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ANSWER_LIMIT, SORT_LIMIT, SourceError, answered,
    session::{Certain, Found, Session},
    store::{change_copy, source_target},
};
use crate::{
    capture::{
        batch::Batch,
        doorbell::{Doorbell, Duty},
        epoch::store::epoch_adopt,
        rotation,
        store::{Advance, ChangeRow, Cursor, cursor_advance, cursor_get, doorbell_ring_if_asleep},
    },
    db::{Connection, Database, DbError, QueryError},
    observe::metrics::CHANGES_COPIED,
    stage::{Progress, Stage},
};

/// How often a source is looked for that no object type has named yet.
const REGISTRATION_POLL: Duration = Duration::from_secs(1);

/// How long a source is given to flush its log before it is made to. Writers wait for that
/// themselves, unless they set synchronous_commit = off.
const FLUSH_WAIT: Duration = Duration::from_millis(10);

/// Copies one source's changes.
pub struct Copy {
    stage_name: String,
    source: Arc<str>,
    url: SecretString,
    repository_url: SecretString,
    changes_max: usize,
    repository: Database,
    doorbell: Doorbell,
    session: Arc<Mutex<Session>>,
    /// As it was when this copier wrote it; none after anything else happened.
    cursor: Option<Cursor>,
    rest: Rest,
    copied: metrics::Counter,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Registration,
    Flush,
    Bell,
}

/// What became of a batch.
enum Outcome {
    /// It is written, and this is the cursor now.
    Copied(Box<Cursor>),
    /// Another copier was faster.
    Overtaken,
}

impl Copy {
    /// The stage of one source. `doorbell` is of the source's database.
    #[must_use]
    pub fn new(
        source: &str,
        url: SecretString,
        repository_url: SecretString,
        repository: Database,
        doorbell: Doorbell,
        changes_max: usize,
    ) -> Self {
        let (there, here) = (url.expose_secret(), repository_url.expose_secret());
        let session = Session::new(source, there, here, changes_max);
        Self {
            stage_name: format!("copy {source}"),
            source: source.into(),
            url,
            repository_url,
            changes_max,
            repository,
            doorbell,
            session: Arc::new(Mutex::new(session)),
            cursor: None,
            rest: Rest::Bell,
            copied: metrics::counter!(CHANGES_COPIED),
        }
    }

    async fn cursor(&mut self) -> Result<Option<Cursor>, SourceError> {
        if let Some(cursor) = self.cursor.take() {
            return Ok(Some(cursor));
        }
        let source = Arc::clone(&self.source);
        let found = self
            .repository
            .run(move |connection| Ok::<_, DbError>(cursor_get(connection, &source)?))
            .await;
        found.map_err(|error| SourceError::here(&self.source, error))
    }

    async fn duty(&mut self) -> Result<Duty, SourceError> {
        let duty = answered(&self.source, ANSWER_LIMIT, self.doorbell.duty()).await?;
        duty.map_err(|error| SourceError::there(&self.source, error))
    }

    async fn read(&mut self, from: Cursor) -> Result<Found, SourceError> {
        let limit = if from.batch_snapshot.is_some() {
            SORT_LIMIT
        } else {
            ANSWER_LIMIT
        };
        let session = Arc::clone(&self.session);
        let reading = tokio::task::spawn_blocking(move || {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            session.next(from)
        });
        match answered(&self.source, limit, self.doorbell.beside(reading)).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(SourceError::there(&self.source, DbError::Panicked)),
            Err(silent) => {
                // The one that hangs is left to the thread that waits for it.
                let url = self.url.expose_secret();
                let here = self.repository_url.expose_secret();
                let session = Session::new(&self.source, url, here, self.changes_max);
                self.session = Arc::new(Mutex::new(session));
                Err(silent)
            }
        }
    }

    async fn write(&mut self, found: Certain, now: DateTime<Utc>) -> Result<Outcome, SourceError> {
        let source = Arc::clone(&self.source);
        let written = self
            .repository
            .transaction(move |connection| write(connection, &source, found, now))
            .await;
        let is_copied = written.is_ok();
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.learn(is_copied);
        written.map_err(|error| SourceError::here(&self.source, error))
    }
}

impl Stage for Copy {
    type Error = SourceError;

    fn name(&self) -> &str {
        &self.stage_name
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, SourceError> {
        let began = Instant::now();
        let Some(from) = self.cursor().await? else {
            self.rest = Rest::Registration;
            return Ok(Progress::Idle);
        };
        self.rest = Rest::Bell;
        if self.duty().await? == Duty::Standby {
            return Ok(Progress::Idle);
        }
        let found = match self.read(from).await? {
            Found::Nothing => {
                self.doorbell.found(0, began).await;
                return Ok(Progress::Idle);
            }
            Found::Unflushed(changes) => {
                self.doorbell.found(changes, began).await;
                self.rest = Rest::Flush;
                return Ok(Progress::Idle);
            }
            Found::Batch(found) => *found,
        };
        let changes = found.batch.changes.len();
        self.doorbell.found(changes, began).await;
        match self.write(found, now).await? {
            Outcome::Overtaken => Ok(Progress::Idle),
            Outcome::Copied(cursor) => {
                self.copied.increment(changes as u64);
                self.cursor = Some(*cursor);
                Ok(Progress::Worked)
            }
        }
    }

    async fn gather(&mut self) {
        self.doorbell.gather().await;
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        match self.rest {
            Rest::Registration => tokio::time::sleep(REGISTRATION_POLL).await,
            Rest::Flush => tokio::time::sleep(FLUSH_WAIT).await,
            Rest::Bell => self.doorbell.rest().await,
        }
    }
}

/// Writes a batch and moves the cursor, in the caller's transaction.
fn write(
    connection: &mut Connection,
    source: &str,
    found: Certain,
    now: DateTime<Utc>,
) -> Result<Outcome, DbError> {
    let Certain {
        batch: Batch { changes, from, to },
        targets,
        epoch,
    } = found;
    // First, so that of two copiers of the same batch one waits here and then writes nothing.
    let advance = Advance {
        source,
        from: &from,
        to: &to,
        changes: changes.len(),
    };
    if !cursor_advance(connection, advance)? {
        return Ok(Outcome::Overtaken);
    }
    let changes = targeted(connection, source, changes, &targets)?;
    if !changes.is_empty() {
        let rotation = rotation::writable(connection, now)?;
        change_copy(connection, rotation, &changes)?;
        doorbell_ring_if_asleep(connection)?;
    }
    if let Some(epoch) = epoch {
        epoch_adopt(connection, source, epoch)?;
    }
    let mut cursor = Cursor {
        revision: from.revision + 1,
        ..to
    };
    if let Some(epoch) = epoch {
        cursor.system_identifier = Some(epoch.system_identifier);
        cursor.database_oid = Some(epoch.database_oid);
        cursor.timeline = Some(epoch.timeline);
    }
    Ok(Outcome::Copied(Box::new(cursor)))
}

/// The changes with the repository's numbers of their object types.
fn targeted(
    connection: &mut Connection,
    source: &str,
    changes: Vec<ChangeRow>,
    names: &HashMap<i32, String>,
) -> Result<Vec<ChangeRow>, QueryError> {
    let mut numbers: HashMap<i32, Option<i32>> = HashMap::new();
    let mut targeted = Vec::with_capacity(changes.len());
    for mut change in changes {
        let number = match numbers.get(&change.target) {
            Some(number) => *number,
            None => {
                let number = match names.get(&change.target) {
                    Some(name) => Some(source_target(connection, source, name)?),
                    None => {
                        tracing::error!(
                            source,
                            target = change.target,
                            "changes without an object type: was capture_target altered by hand?"
                        );
                        None
                    }
                };
                numbers.insert(change.target, number);
                number
            }
        };
        if let Some(number) = number {
            change.target = number;
            targeted.push(change);
        }
    }
    Ok(targeted)
}
