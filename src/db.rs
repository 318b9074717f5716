//! Postgres behind one type: a pool, a bound on how many wait for it, and one transaction a
//! closure.
//!
//! Diesel and r2d2 block, so each use is one closure on a blocking thread. The semaphore stands
//! before the thread: when the pool is used up, tasks wait, not threads.

mod url;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    migration::MigrationSource,
    r2d2::{ConnectionManager, CustomizeConnection},
    result::DatabaseErrorKind,
    sql_types::{Bool, Text},
};
pub use diesel::{PgConnection as Connection, result::Error as QueryError};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use r2d2::Pool;
use tokio::sync::Semaphore;

pub(crate) use self::url::with_settings;

/// The repository's schema, version by version.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The advisory lock under which the schema and the triggers are changed: two-key form, class
/// "rowc".
pub const DDL_LOCK: (i32, i32) = (0x726f_7763, 1);

/// How long a connection attempt may take, so that an unreachable server is an error and no hang.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What every session of Rowcall starts with. Plans of the batch queries never gain from jit;
/// a statement that takes longer than a minute is a fault, and the stage will come back to it.
const SESSION: &str = "set application_name = 'rowcall'; set client_encoding = 'UTF8'; \
     set timezone = 'UTC'; set datestyle = 'ISO'; set jit = off; set statement_timeout = '60s'; \
     set idle_in_transaction_session_timeout = '60s'; set search_path = pg_catalog";

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
    Query(#[source] diesel::result::Error),
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
    fn connect(error: impl StdError + Send + Sync + 'static) -> Self {
        let text = error.to_string();
        let names_server_only =
            text.contains("connection to server") || text.contains("could not translate host name");
        if names_server_only || !text.contains('"') {
            return Self::Connect(Box::new(error));
        }
        let begin = text.split('"').next().unwrap_or_default().trim_end();
        Self::Connect(format!("{begin} ... (the URL is not shown)").into())
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

/// The repository's connections; clones share them.
#[derive(Clone)]
pub struct Database {
    pool: Pool<ConnectionManager<PgConnection>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Session;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute(SESSION)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

impl Database {
    /// Prepares a pool of at most `connections_max`; connections are made when they are first
    /// needed.
    #[must_use]
    pub fn new(url: &str, connections_max: u32) -> Self {
        let pool = Pool::builder()
            .max_size(connections_max)
            .min_idle(Some(0))
            .connection_timeout(CONNECT_TIMEOUT)
            // A broken connection shows itself at its first statement, and the stage repeats its
            // run; r2d2's own check would cost a round trip each time.
            .test_on_check_out(false)
            .connection_customizer(Box::new(Session))
            .build_unchecked(ConnectionManager::new(with_settings(url)));
        Self {
            pool,
            permits: Arc::new(Semaphore::new(connections_max as usize)),
        }
    }

    /// Runs `work` in one READ COMMITTED transaction, which is rolled back if `work` fails.
    pub async fn transaction<T, E>(
        &self,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + From<diesel::result::Error> + Send + 'static,
    {
        self.run(move |connection| connection.transaction(work))
            .await
    }

    /// Runs `work`, each statement of which is a transaction of its own.
    pub async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        // The semaphore is never closed.
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| DbError::Panicked)?;
        let pool = self.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = pool.get().map_err(DbError::connect)?;
            work(&mut connection)
        });
        task.await.map_err(|_| DbError::Panicked)?
    }
}

/// Opens one connection outside the pool, with the session settings of the pool's.
///
/// Blocks; fails with [`DbError::Connect`].
pub fn connect(url: &str) -> Result<PgConnection, DbError> {
    let mut connection = PgConnection::establish(&with_settings(url)).map_err(DbError::connect)?;
    connection.batch_execute(SESSION)?;
    Ok(connection)
}

/// Creates the database `name` in the server of `url`, if it is not there. Blocks. `name` is ours:
/// it is not quoted.
pub fn database_ensure(url: &str, name: &str) -> Result<(), DbError> {
    let mut connection = connect(url)?;
    let known = diesel::sql_query("select 1 from pg_catalog.pg_database where datname = $1")
        .bind::<Text, _>(name)
        .execute(&mut connection)?;
    if known == 0 {
        connection.batch_execute(&format!("create database {name}"))?;
    }
    Ok(())
}

/// The versions of the schema that this program knows, in their order.
#[must_use]
pub fn migration_versions() -> Vec<String> {
    let known = MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS).unwrap_or_default();
    let mut versions: Vec<String> = known
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    versions.sort();
    versions
}

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Bool)]
    supported: bool,
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Bool)]
    has_schema: bool,
    #[diesel(sql_type = Bool)]
    may_create: bool,
    #[diesel(sql_type = Bool)]
    has_encoding: bool,
}

/// Brings the schema to this program's version; does nothing if it is there. Blocks.
///
/// Migrations take no lock of their own, so this runs under [`DDL_LOCK`]: of several programs that
/// start at once, one migrates and the others wait and find it done.
pub fn migrate(url: &str) -> Result<Vec<String>, DbError> {
    let mut connection = connect(url)?;
    let (class, object) = DDL_LOCK;
    // Before the look at the schema, or two programs would both make it. The session ends with this
    // function, and the lock with it.
    connection.batch_execute(&format!(
        "set statement_timeout = 0; select pg_advisory_lock({class}, {object})"
    ))?;
    let server: Server = diesel::sql_query(
        "select current_setting('server_version') as version, \
         current_setting('server_version_num')::integer >= 150000 as supported, \
         current_setting('server_encoding') <> 'SQL_ASCII' as has_encoding, \
         current_database()::text as database, current_user::text as role, \
         to_regnamespace('rowcall') is not null as has_schema, \
         coalesce(has_schema_privilege(to_regnamespace('rowcall'), 'CREATE') \
             and has_schema_privilege(to_regnamespace('rowcall'), 'USAGE'), true) as may_create",
    )
    .get_result(&mut connection)?;
    if !server.supported {
        return Err(DbError::TooOld(server.version));
    }
    if !server.has_encoding {
        return Err(DbError::Encoding);
    }
    if !server.may_create {
        return Err(DbError::Privilege {
            detail: "the schema rowcall is another user's".to_owned(),
            help: format!(
                "use the user that it belongs to, or, as an administrator, GRANT that user TO \"{}\"",
                server.role
            ),
        });
    }
    if !server.has_schema {
        connection
            .batch_execute("create schema rowcall; revoke all on schema rowcall from public")
            .map_err(|error| refused(Box::new(error), &server))?;
    }
    connection.batch_execute("set search_path = rowcall, pg_catalog")?;
    connection
        .run_pending_migrations(MIGRATIONS)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(|error| refused(error, &server))
}

/// Turns "permission denied" into what to grant.
fn refused(error: Box<dyn StdError + Send + Sync>, server: &Server) -> DbError {
    let text = crate::stage::chain(&*error);
    if !text.contains("permission denied") && !text.contains("must be owner") {
        return DbError::Migration(error);
    }
    DbError::Privilege {
        detail: text,
        help: format!(
            "as an administrator: GRANT CREATE ON DATABASE \"{}\" TO \"{}\"; CREATE ROLE \
             rowcall_capture NOLOGIN; GRANT rowcall_capture TO \"{1}\";",
            server.database, server.role
        ),
    }
}
