//! Why a database could not be used, and what to do about it.

use std::error::Error as StdError;

use super::{DatabaseErrorKind, QueryError};

/// Why the database could not be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DbError {
    /// No connection.
    #[error("the database can't be reached")]
    #[diagnostic(help(
        "check DATABASE_URL or --database-url (postgres://user:password@host:port/database), that \
         the server runs, and that it lets this user in"
    ))]
    Connect(#[source] Box<dyn StdError + Send + Sync>),
    /// The user may not do what is needed.
    #[error("the database user lacks a privilege: {detail}")]
    #[diagnostic(help("{help}"))]
    Privilege {
        /// In Postgres' words.
        detail: String,
        /// The statement that grants it.
        help: String,
    },
    /// The server is too old.
    #[error("the server is PostgreSQL {0}; Rowcall needs 15 or later")]
    #[diagnostic(help("upgrade the server, or use another one"))]
    TooOld(String),
    /// The database's text may be no text.
    #[error("the database's encoding is SQL_ASCII, which lets any bytes pass for text")]
    #[diagnostic(help(
        "events are UTF-8: use a database that was created with ENCODING 'UTF8', or with another \
         encoding that Postgres converts to it"
    ))]
    Encoding,
    /// The database is used for something else, or can't be written.
    #[error("{detail}")]
    #[diagnostic(help("{help}"))]
    Unfit {
        /// What it is.
        detail: String,
        /// What to use instead.
        help: String,
    },
    /// The schema could not be brought to this version.
    #[error("the schema could not be migrated")]
    #[diagnostic(help(
        "nothing was changed by the migration that failed; mend its cause and run `rowcall migrate`"
    ))]
    Migration(#[source] Box<dyn StdError + Send + Sync>),
    /// Rowcall's tables are not there.
    #[error("the database has no repository of this version: {detail}")]
    #[diagnostic(help("run `rowcall migrate` first; `rowcall serve` does it when it starts"))]
    NotMigrated {
        /// In Postgres' words.
        detail: String,
    },
    /// A statement failed.
    #[error("a statement failed")]
    Query(#[source] QueryError),
    /// The repository holds what this version of Rowcall does not write.
    #[error("{what} in the repository can't be read")]
    #[diagnostic(help(
        "was it written by a later version of Rowcall? run that version, or apply the metadata again"
    ))]
    Unreadable {
        /// Which part of it.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The closure panicked; its transaction was rolled back.
    #[error("a task that used the database panicked")]
    Panicked,
}

impl From<QueryError> for DbError {
    /// Tells what an operator can mend from what failed otherwise. Diesel keeps neither apart, so
    /// they are told by their text.
    fn from(error: QueryError) -> Self {
        let QueryError::DatabaseError(_, information) = &error else {
            return Self::Query(error);
        };
        let detail = information.message().to_owned();
        if detail.starts_with("permission denied for") && detail.contains("rowcall") {
            let help = "use the user that ran `rowcall migrate`, or, as an administrator, GRANT that \
                        user TO this one";
            Self::Privilege {
                detail,
                help: help.to_owned(),
            }
        } else if detail.starts_with("relation \"rowcall.") && detail.ends_with("does not exist") {
            Self::NotMigrated { detail }
        } else {
            Self::Query(error)
        }
    }
}

impl DbError {
    /// Why no connection could be made, without what a URL that can't be read is quoted with: it
    /// may hold the password.
    pub(super) fn connect(error: impl StdError + Send + Sync + 'static) -> Self {
        match without_url(&error.to_string()) {
            Some(text) => Self::Connect(text.into()),
            None => Self::Connect(Box::new(error)),
        }
    }

    /// The database can't be written, and triggers can't be made in it.
    pub(crate) fn standby() -> Self {
        Self::Unfit {
            detail: "the database is a standby, which can't be written".to_owned(),
            help: "name its primary, or all of them with target_session_attrs=read-write"
                .to_owned(),
        }
    }

    /// Whether the same request may succeed a moment later: the database is away or busy, as
    /// opposed to a fault of Rowcall's own or of the set-up.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let Self::Query(QueryError::DatabaseError(kind, information)) = self else {
            return match self {
                Self::Connect(_) => true,
                Self::Query(error) => matches!(error, QueryError::BrokenTransactionManager),
                _ => false,
            };
        };
        // Of the SQLSTATEs diesel keeps only some apart, so the others are told by their text.
        matches!(
            kind,
            DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ReadOnlyTransaction
        ) || [
            "terminating connection",
            "server closed the connection",
            "the database system is",
            "canceling statement",
            "deadlock detected",
            "too many clients",
            "no connection to the server",
        ]
        .iter()
        .any(|text| information.message().contains(text))
    }
}

/// What libpq says of a connection that can't be made, without the URL if it quotes that; `None` if
/// it does not.
pub(crate) fn without_url(text: &str) -> Option<String> {
    let names_server_only =
        text.contains("connection to server") || text.contains("could not translate host name");
    if names_server_only || !text.contains('"') {
        return None;
    }
    let begin = text.split('"').next().unwrap_or_default().trim_end();
    Some(format!("{begin} ... (the URL is not shown)"))
}
