//! What operators do to a source: look at it, take the triggers off for a while, go on after its
//! database was restored or replaced, remove all of Rowcall.
//!
//! Players: [`list`] tells how each source fares; [`detach`] takes triggers off and puts them on
//! again; [`rebase`] lets a stopped source be read on; [`uninstall`] leaves nothing behind. What
//! somebody may miss because of it is a [`gap`], which is kept and told to subscribers.
//!
//! All of it may be done while instances serve (apart from uninstalling), may stop half-way, and
//! goes on when it is run again. A lock is waited for a moment only, so that writers do not pile up
//! behind, and then tried again.

pub mod detach;
pub mod gap;
pub mod list;
pub mod rebase;
pub mod uninstall;

use std::time::Duration;

use crate::{
    capture::install::InstallError,
    db::{Connection, Database, DbError, QueryError},
    stage::chain,
};

/// How often a lock is tried.
const ATTEMPTS_MAX: usize = 20;
/// How long a lock is waited for each time.
const LOCK_TIMEOUT_MS: u32 = 500;
/// The pause between two tries, in which writers go on.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// Why an operation on a source was not done, or not to its end.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SourceError {
    /// No such source.
    #[error("there is no source `{name}`{near}")]
    #[diagnostic(help("`rowcall source list` shows the sources"))]
    Unknown {
        /// What was asked for.
        name: String,
        /// "; did you mean ...?"
        near: String,
    },
    /// No such object type in this source.
    #[error("source `{source_name}` has no object type `{name}`{near}")]
    #[diagnostic(help(
        "name an object type of the catalogue with its namespace, as in the metadata"
    ))]
    UnknownObjectType {
        /// The source.
        source_name: String,
        /// What was asked for.
        name: String,
        /// "; did you mean ...?"
        near: String,
    },
    /// It can only be done to Rowcall's own database.
    #[error("source `{name}` is not Rowcall's own database")]
    #[diagnostic(help("only the source `default` can be used here"))]
    NotOwn {
        /// What was asked for.
        name: String,
    },
    /// Somebody else holds a lock.
    #[error("{what} was in use each of {ATTEMPTS_MAX} times")]
    #[diagnostic(help(
        "a long transaction uses it: when it has ended run the command again, which goes on where it \
         stopped"
    ))]
    Busy {
        /// A table, or the changes.
        what: String,
    },
    /// Instances are connected.
    #[error("{sessions} sessions of Rowcall are connected to this database")]
    #[diagnostic(help("stop every `rowcall serve` of this database, then run the command again"))]
    Serving {
        /// How many.
        sessions: i64,
    },
    /// Other objects of the database use Rowcall's.
    #[error("something outside the schema rowcall depends on what is in it: {detail}")]
    #[diagnostic(help(
        "nothing is captured any more, but the schema stays; drop what depends on it, then run the \
         command again"
    ))]
    Depended {
        /// In Postgres' words.
        detail: String,
    },
    /// The triggers could not be installed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Install(#[from] InstallError),
    /// A statement or the connection failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Database(#[from] DbError),
}

impl From<QueryError> for SourceError {
    fn from(error: QueryError) -> Self {
        Self::Database(error.into())
    }
}

impl SourceError {
    fn is_busy(&self) -> bool {
        let text = chain(self);
        matches!(self, Self::Install(InstallError::Busy { .. })) || text.contains("lock timeout")
    }
}

/// Runs `work` as a transaction until the locks that it asks for are to be had. `what` is for the
/// error when they never are.
async fn patiently<T: Send + 'static>(
    database: &Database,
    what: &str,
    work: impl Fn(&mut Connection) -> Result<T, SourceError> + Clone + Send + 'static,
) -> Result<T, SourceError> {
    for _ in 0..ATTEMPTS_MAX {
        match database.transaction(work.clone()).await {
            Err(error) if error.is_busy() => tokio::time::sleep(ATTEMPT_PAUSE).await,
            done => return done,
        }
    }
    let what = what.to_owned();
    Err(SourceError::Busy { what })
}
