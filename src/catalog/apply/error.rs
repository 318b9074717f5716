//! Why a folder was not applied, and whether to try again.

use std::{error::Error as StdError, time::Duration};

use miette::Diagnostic;

use super::{ATTEMPTS_MAX, LOCK_TIMEOUT};
use crate::{
    capture::install::InstallError,
    catalog::problem::MetadataError,
    db::{DbError, QueryError},
    registry::SecretKeyError,
    subscription::register::RegisterError,
};

/// Why nothing was applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ApplyError {
    /// The folder is not valid.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Metadata(#[from] MetadataError),
    /// The folder's subscriptions have secrets, and there is nothing to encrypt them with.
    #[error("the folder has subscriptions, and ROWCALL_SECRET_KEY is not set")]
    #[diagnostic(help(
        "set it to the 64 hexadecimal digits that `rowcall serve` runs with; make them with \
         `openssl rand -hex 32`"
    ))]
    NoSecretKey,
    /// The secret key is not the repository's.
    #[error(transparent)]
    #[diagnostic(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// A subscription could not be written.
    #[error("the subscription `{name}` could not be registered")]
    Register {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: RegisterError,
    },
    /// The triggers could not be installed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Install(#[from] InstallError),
    /// The triggers could not be put in place in another database.
    #[error("the source `{name}` can't be prepared, and nothing was applied")]
    #[diagnostic(help("{help}"))]
    Source {
        /// The source's name.
        name: String,
        /// Why.
        #[source]
        error: Box<Self>,
        /// What to do.
        help: String,
    },
    /// Somebody else applied metadata meanwhile.
    #[error("the catalogue was changed by somebody else at the same time")]
    Raced,
    /// Locks could not be had.
    #[error("the metadata could not be applied in {ATTEMPTS_MAX} attempts")]
    #[diagnostic(help(
        "a long transaction probably holds one of the tables, or another apply is under way: see \
         pg_stat_activity and pg_locks, and try again; nothing was changed"
    ))]
    Busy(#[source] Box<Self>),
    /// The database failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Db(#[from] DbError),
}

impl ApplyError {
    /// That it happened while another database was prepared.
    pub(in crate::catalog) fn of_source(name: &str, error: Self) -> Self {
        let advice = match &error {
            // That one is about the repository's URL.
            Self::Db(DbError::Connect(_)) => None,
            error => error.help().map(|help| help.to_string()),
        };
        let help = advice.unwrap_or_else(|| {
            format!(
                "see [source.{name}] in rowcall.toml, or ROWCALL_SOURCE_{}_URL",
                name.to_uppercase()
            )
        });
        Self::Source {
            name: name.to_owned(),
            error: Box::new(error),
            help,
        }
    }
}

impl From<QueryError> for ApplyError {
    fn from(error: QueryError) -> Self {
        Self::Db(error.into())
    }
}

/// Whether a lock could not be had. Diesel does not tell a lock timeout from other errors of the
/// server, and the server's text may be in any language; but none comes before its time, and to
/// repeat another error is harmless.
pub(super) fn is_busy(error: &ApplyError, elapsed: Duration) -> bool {
    match error {
        ApplyError::Install(InstallError::Busy { .. }) | ApplyError::Raced => return true,
        ApplyError::Source { error, .. } => return is_busy(error, elapsed),
        _ => {}
    }
    if elapsed < LOCK_TIMEOUT {
        return false;
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(
            error.downcast_ref::<QueryError>(),
            Some(QueryError::DatabaseError(..))
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}
