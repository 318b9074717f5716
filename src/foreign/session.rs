//! The copier's session with a source: which batch is next, and whether it is certain to stay.

use std::collections::HashMap;

use super::{
    SourceError,
    hold::connect_to_primary,
    store::{Read, batch_read, log_flush, log_is_flushed, session_prepare, targets_read},
};
use crate::{
    capture::{
        batch::{Batch, Reader},
        epoch::store::Epoch,
        store::Cursor,
    },
    db::{Connection, QueryError},
};

/// What there is to copy.
pub(super) enum Found {
    /// Nothing was committed since.
    Nothing,
    /// So many changes, which a crash of the source could still undo.
    Unflushed(usize),
    /// A batch that is certain to stay.
    Batch(Box<Certain>),
}

/// What can be copied.
pub(super) struct Certain {
    pub(super) batch: Batch,
    /// The object types that its changes' targets name.
    pub(super) targets: HashMap<i32, String>,
    /// Which database the source is, if the cursor does not know it yet.
    pub(super) epoch: Option<Epoch>,
}

/// A source as one copier reads it.
pub(super) struct Session {
    name: String,
    url: String,
    reader: Reader,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    targets: HashMap<i32, String>,
    /// Read, but not flushed when it was. It goes with the connection: a server that crashed in
    /// between may have lost it.
    waiting: Option<Read>,
}

impl Session {
    /// A session with the source at `url`, whose cursor is in the repository.
    pub(super) fn new(name: &str, url: &str, repository_url: &str, changes_max: usize) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            reader: Reader::new(name, url, changes_max).of_repository(repository_url),
            open: None,
        }
    }

    /// The batch after `from`. Blocks.
    pub(super) fn next(&mut self, from: Cursor) -> Result<Found, SourceError> {
        let found = self.try_next(from);
        if found.is_err() {
            self.open = None;
        }
        found
    }

    /// What became of the last batch: the next ones are larger or smaller for it.
    pub(super) fn learn(&mut self, is_copied: bool) {
        if is_copied {
            self.reader.succeeded(usize::MAX);
        } else {
            self.reader.failed();
        }
    }

    fn try_next(&mut self, from: Cursor) -> Result<Found, SourceError> {
        let name = &self.name;
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let mut connection = connect_to_primary(&self.url)
                    .map_err(|error| SourceError::there(name, error))?;
                session_prepare(&mut connection)
                    .map_err(|error| SourceError::there(name, error))?;
                closed.insert(Open {
                    connection,
                    targets: HashMap::new(),
                    waiting: None,
                })
            }
        };
        let failed = |error: QueryError| SourceError::there(name, error);
        let is_next = |read: &Read| read.batch.from.revision == from.revision;
        let read = match open.waiting.take().filter(is_next) {
            Some(read) => {
                // It has waited once. A server on which little happens takes its time.
                if let Some(log_end) = &read.log_end
                    && !log_is_flushed(&mut open.connection, log_end).map_err(failed)?
                {
                    log_flush(&mut open.connection).map_err(failed)?;
                }
                read
            }
            None => {
                let read = batch_read(&mut open.connection, &mut self.reader, from)
                    .map_err(|error| SourceError::there(name, error))?;
                match read {
                    Some(read) => read,
                    None => return Ok(Found::Nothing),
                }
            }
        };
        if let Some(log_end) = &read.log_end
            && !log_is_flushed(&mut open.connection, log_end).map_err(failed)?
        {
            let count = read.batch.changes.len();
            open.waiting = Some(read);
            return Ok(Found::Unflushed(count));
        }
        let Read { batch, epoch, .. } = read;
        let is_known =
            |change: &crate::capture::store::ChangeRow| open.targets.contains_key(&change.target);
        if !batch.changes.iter().all(is_known) {
            open.targets = targets_read(&mut open.connection).map_err(failed)?;
        }
        Ok(Found::Batch(Box::new(Certain {
            batch,
            targets: open.targets.clone(),
            epoch,
        })))
    }
}
