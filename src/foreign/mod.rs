//! Other databases whose rows are captured: their changes become changes of the repository.
//!
//! Players, of each source its own, so that one that hangs or is away stops no other:
//! - [`attach`] sets up in the source's database what capture needs there: the same tables as in
//!   the repository, so that [`install`](crate::capture::install),
//!   [`rotation`](crate::capture::rotation) and the [`doorbell`](crate::capture::doorbell) work
//!   there as they do here.
//! - [`copy`] is the stage that copies: it reads with `session`, and writes what it read
//!   into the change table, in one transaction with the source's cursor.
//! - [`upkeep`] is the stage that keeps triggers, leaves and the repository's knowledge of the
//!   tables up to date.
//! - [`look`] looks at the tables when metadata is planned or applied; [`hold`] keeps who changes
//!   the triggers from changing them by a catalogue that is just being replaced.
//!
//! Guaranteed: a change that is committed there is copied once, whatever is killed and when: the
//! cursor says what was copied and commits with the copies. What could still be lost in a crash of
//! the source is not copied: its write-ahead log must have been flushed beyond it. From the change
//! table on, a copied change is one like any other.

pub mod attach;
pub mod copy;
pub mod hold;
pub mod look;
mod session;
pub mod store;
pub mod upkeep;

use std::{future::Future, time::Duration};

use secrecy::SecretString;

use self::{copy::Copy, upkeep::SourceUpkeep};
use crate::{
    capture::{batch::ReadError, doorbell::Doorbell, install::InstallError},
    catalog::model::{Catalog, SourceName},
    config::{Limits, Sources},
    db::{Connection, Database, DbError, QueryError},
};

/// The stages of one source.
pub struct SourceStages {
    /// Its changes to changes of the repository.
    pub copy: Copy,
    /// Its triggers, rotation and retention.
    pub upkeep: SourceUpkeep,
}

impl SourceStages {
    /// The stages of the source called `name`, whose database is at `url` and rings `doorbell`.
    #[must_use]
    pub fn new(
        name: &str,
        url: &SecretString,
        repository_url: &SecretString,
        repository: Database,
        doorbell: Doorbell,
        limits: &Limits,
    ) -> Self {
        let changes_max = limits.changes_per_batch_max;
        Self {
            copy: Copy::new(
                name,
                url.clone(),
                repository_url.clone(),
                repository.clone(),
                doorbell,
                changes_max,
            ),
            upkeep: SourceUpkeep::new(name, url.clone(), repository, limits.clone()),
        }
    }
}

/// Why changes of sources that the catalogue names are not copied: nobody says where they are. Each
/// with its warning's name.
pub fn unconfigured(
    connection: &mut Connection,
    sources: &Sources,
) -> Result<Vec<(String, String)>, DbError> {
    let catalog = Catalog::load(connection)?;
    let named = catalog.other_sources().into_iter();
    let unknown = named.filter(|source| sources.url(&source.0).is_none());
    let warning = |source: &SourceName| {
        let text = format!(
            "the source `{source}` is not configured, so the changes of its object types are not \
             copied; say where it is in [source.{source}] in rowcall.toml"
        );
        (format!("source {source}"), text)
    };
    Ok(unknown.map(warning).collect())
}

/// How long a source may take for one piece of work before it counts as hanging. Longer than the
/// statement timeout of its sessions: a server that lives answers before.
const ANSWER_LIMIT: Duration = Duration::from_secs(70);

/// As [`ANSWER_LIMIT`], where a transaction of millions of changes is sorted.
const SORT_LIMIT: Duration = Duration::from_secs(3_600);

/// Why a run with a source failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source's database can't be used.
    #[error(
        "the database of source `{name}` can't be used; see [source.{name}] in rowcall.toml, or \
         ROWCALL_SOURCE_{}_URL", name.to_uppercase()
    )]
    There {
        /// The source's name.
        name: String,
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source's server does not answer.
    #[error("the database of source `{name}` did not answer within {} s", limit.as_secs())]
    Silent {
        /// The source's name.
        name: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The repository can't be used.
    #[error("the changes of source `{name}` can't be written into the repository")]
    Here {
        /// The source's name.
        name: String,
        /// Why.
        #[source]
        error: DbError,
    },
}

impl SourceError {
    fn there(name: &str, error: impl Into<Fault>) -> Self {
        Self::There {
            name: name.to_owned(),
            error: error.into().0,
        }
    }

    fn here(name: &str, error: impl Into<DbError>) -> Self {
        Self::Here {
            name: name.to_owned(),
            error: error.into(),
        }
    }
}

/// What went wrong with a source.
#[derive(Debug)]
pub(crate) struct Fault(Box<dyn std::error::Error + Send + Sync>);

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        Self(error.into())
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        Self(DbError::from(error).into())
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self(error.into())
    }
}

impl From<InstallError> for Fault {
    fn from(error: InstallError) -> Self {
        Self(error.into())
    }
}

/// Waits for a source, but not for ever: a server that hangs leaves its connection open, and no
/// setting of libpq bounds that. The thread that waits for it is left behind until the connection
/// breaks.
async fn answered<T>(
    name: &str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, SourceError> {
    let answer = tokio::time::timeout(limit, work).await;
    answer.map_err(|_| SourceError::Silent {
        name: name.to_owned(),
        limit,
    })
}
