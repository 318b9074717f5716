//! Postgres behind one type: a pool, a bound on how many wait for it, and one transaction a
//! closure.
//!
//! Diesel and r2d2 block, so each use is one closure on a blocking thread. The semaphore stands
//! before the thread: when the pool is used up, tasks wait, not threads.

mod error;
pub mod joint;
mod statement;
mod url;

use std::{
    error::Error as StdError,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use diesel::result::DatabaseErrorKind;
use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    migration::MigrationSource,
    r2d2::{ConnectionManager, CustomizeConnection},
    sql_types::{Bool, Text},
};
pub use diesel::{PgConnection as Connection, result::Error as QueryError};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use r2d2::{Pool, PooledConnection};
use tokio::sync::Semaphore;

pub use self::{error::DbError, statement::kept};
pub(crate) use self::{error::without_url, url::with_settings};

/// The repository's schema, version by version.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// What is set up in another database whose rows are captured.
const SOURCE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("src/foreign/migrations");

/// The advisory lock under which the schema and the triggers are changed: two-key form, class
/// "rowc".
pub const DDL_LOCK: (i32, i32) = (0x726f_7763, 1);

/// The advisory lock, in the database of a source, of whoever changes its triggers by the
/// catalogue: it is held while the catalogue itself changes in the repository.
pub(crate) const SOURCE_LOCK: (i32, i32) = (DDL_LOCK.0, 9);

/// How long a connection attempt may take, so that an unreachable server is an error and no hang.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a session keeps the first plans of its statements: tables grow faster than their
/// statistics are renewed, and a plan that was right for an empty one would be kept.
const PLANS_KEPT_MIN: Duration = Duration::from_secs(1);
/// The longest that it keeps plans: each time twice as long as before, because what has stood for a
/// while is not soon twice as large.
const PLANS_KEPT_MAX: Duration = Duration::from_secs(16);

/// How long a statement of a session may take, in seconds, unless it asks for more; whoever does
/// for a while puts it back to this.
pub(crate) const STATEMENT_TIMEOUT_S_MAX: u32 = 60;

/// What every session of Rowcall starts with. Plans of the batch queries never gain from jit; a
/// statement that takes longer than a minute is a fault, and the stage will come back to it; a
/// transaction that is silent for twenty seconds is that of a process that was stopped, and in the
/// way of others.
fn session() -> String {
    format!(
        "set application_name = 'rowcall'; set client_encoding = 'UTF8'; set timezone = 'UTC'; \
         set datestyle = 'ISO'; set jit = off; \
         set statement_timeout = '{STATEMENT_TIMEOUT_S_MAX}s'; \
         set idle_in_transaction_session_timeout = '20s'; set search_path = pg_catalog"
    )
}

/// The connections to a database; clones share them.
#[derive(Clone)]
pub struct Database {
    pool: Pool<ConnectionManager<PgConnection>>,
    permits: Arc<Semaphore>,
    keeps_plans: bool,
}

#[derive(Debug)]
struct Session;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute(&session())
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
            keeps_plans: false,
        }
    }

    /// The same connections for a stage, whose few statements are each planned once for all values.
    /// To plan them for the values of each run takes longer than most runs, and no better plan
    /// comes of it, because they find their rows by an index, whatever the values and however small
    /// a table still is.
    #[must_use]
    pub fn of_stage(&self) -> Self {
        Self {
            keeps_plans: true,
            ..self.clone()
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
        let (pool, keeps_plans) = (self.pool.clone(), self.keeps_plans);
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = pool.get().map_err(DbError::connect)?;
            Plans::prepare(keeps_plans, &mut connection).map_err(DbError::from)?;
            work(&mut connection)
        });
        task.await.map_err(|_| DbError::Panicked)?
    }
}

/// How a session plans the statements of whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plans {
    /// For the values of each run.
    Each,
    /// Once for all values, for so long since then.
    Kept(Instant, Duration),
}

impl Plans {
    /// Has the session plan so, if it does not.
    fn prepare(
        is_kept: bool,
        connection: &mut PooledConnection<ConnectionManager<PgConnection>>,
    ) -> Result<(), QueryError> {
        let now = Instant::now();
        let present = PooledConnection::extensions(connection).get::<Self>();
        let (plans, sql) = match (present.copied().unwrap_or(Self::Each), is_kept) {
            (Self::Each, false) => return Ok(()),
            (Self::Kept(since, time), true) if now - since <= time => return Ok(()),
            (Self::Kept(_, time), true) => {
                let longer = (time * 2).min(PLANS_KEPT_MAX);
                (Self::Kept(now, longer), "discard plans")
            }
            (Self::Each, true) => (
                Self::Kept(now, PLANS_KEPT_MIN),
                "discard plans; set plan_cache_mode = force_generic_plan; set enable_seqscan = off",
            ),
            (Self::Kept(..), false) => (Self::Each, "reset plan_cache_mode; reset enable_seqscan"),
        };
        connection.batch_execute(sql)?;
        PooledConnection::extensions_mut(connection).insert(plans);
        Ok(())
    }
}

/// Runs `work` in one READ COMMITTED transaction of a connection outside the pool. Blocks.
pub fn transaction<T, E: From<QueryError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.transaction(work)
}

/// Runs `work`, whose statements find their rows by an index, in a session that is no stage's: of
/// the change table, which only grows, the planner knows too little, and may read all of it.
pub(crate) fn by_index<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, QueryError>,
) -> Result<T, QueryError> {
    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        before: String,
    }
    connection.transaction(|connection| {
        // The columns are computed in their order.
        let Setting { before } = diesel::sql_query(
            "select current_setting('enable_seqscan') as before, \
                 set_config('enable_seqscan', 'off', true) as now",
        )
        .get_result(connection)?;
        let done = work(connection)?;
        // What follows in the transaction is planned as ever.
        diesel::sql_query("select set_config('enable_seqscan', $1, true)")
            .bind::<Text, _>(before)
            .execute(connection)?;
        Ok(done)
    })
}

/// Opens one connection outside the pool, with the session settings of the pool's.
///
/// Blocks; fails with [`DbError::Connect`].
pub fn connect(url: &str) -> Result<PgConnection, DbError> {
    let mut connection = PgConnection::establish(&with_settings(url)).map_err(DbError::connect)?;
    connection.batch_execute(&session())?;
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
    #[diesel(sql_type = Bool)]
    is_repository: bool,
    #[diesel(sql_type = Bool)]
    is_source: bool,
    #[diesel(sql_type = Bool)]
    is_standby: bool,
}

/// Brings the schema to this program's version; does nothing if it is there. Blocks.
///
/// Migrations take no lock of their own, so this runs under [`DDL_LOCK`]: of several programs that
/// start at once, one migrates and the others wait and find it done.
pub fn migrate(url: &str) -> Result<Vec<String>, DbError> {
    migrate_to(url, MIGRATIONS, |server| {
        server.is_source.then(|| DbError::Unfit {
            detail: "the database is a source of another repository, whose changes are captured \
                     in its schema rowcall"
                .to_owned(),
            help: "give the repository another database, or take capture out of this one first \
                   (docs/CAPTURE.md)"
                .to_owned(),
        })
    })
}

/// Brings what is needed in another database whose rows are captured to this program's version; as
/// [`migrate`] does in the repository.
pub fn migrate_source(url: &str) -> Result<Vec<String>, DbError> {
    migrate_to(url, SOURCE_MIGRATIONS, |server| {
        server.is_repository.then(|| DbError::Unfit {
            detail: "the database is a repository of Rowcall itself".to_owned(),
            help: "its own tables are the source `default` there; a source is another database"
                .to_owned(),
        })
    })
}

fn migrate_to(
    url: &str,
    migrations: EmbeddedMigrations,
    unfit: impl FnOnce(&Server) -> Option<DbError>,
) -> Result<Vec<String>, DbError> {
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
         exists (select from pg_class where relname = 'registry' \
             and relnamespace = to_regnamespace('rowcall')) as is_repository, \
         exists (select from pg_class where relname = 'captured_for' \
             and relnamespace = to_regnamespace('rowcall')) as is_source, \
         pg_is_in_recovery() as is_standby, \
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
    if server.is_standby {
        return Err(DbError::standby());
    }
    if let Some(error) = unfit(&server) {
        return Err(error);
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
        .run_pending_migrations(migrations)
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
