//! Databases for tests: one private cluster a test process, one database a test.
//!
//! The cluster starts with the first test that asks for it. Statics are never dropped, so it is the
//! cluster's guardian that stops it and removes its directory when the test process ends, however
//! it ends. Set `PG_BIN` to test against a certain version.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file includes all and uses some"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use rowcall::private_postgres::{Cluster, ClusterOptions};

const TEMPLATE: &str = "rowcall_template";

/// The clusters that tests can have; each is started at most once in a test process.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// What most tests want.
    Standard,
    /// With `max_prepared_transactions`, for PREPARE TRANSACTION.
    TwoPhase,
    /// For databases that are no repository: its transaction ids are far ahead of the others'.
    Elsewhere,
}

/// The running cluster of a kind.
pub fn cluster(kind: Kind) -> &'static Cluster {
    static STANDARD: OnceLock<Cluster> = OnceLock::new();
    static TWO_PHASE: OnceLock<Cluster> = OnceLock::new();
    static ELSEWHERE: OnceLock<Cluster> = OnceLock::new();
    match kind {
        Kind::Standard => STANDARD.get_or_init(|| start(&[])),
        Kind::Elsewhere => ELSEWHERE.get_or_init(start_elsewhere),
        Kind::TwoPhase => TWO_PHASE.get_or_init(|| start(&[("max_prepared_transactions", "20")])),
    }
}

fn start(settings: &[(&str, &str)]) -> Cluster {
    let cluster = start_own(settings);
    execute(
        &cluster.url("postgres"),
        &format!("create database {TEMPLATE}"),
    );
    prepare_template(&cluster.url(TEMPLATE));
    cluster
}

fn start_elsewhere() -> Cluster {
    let cluster = start_own(&[]);
    let url = cluster.url("postgres");
    execute(
        &url,
        "do $$ begin for i in 1..20000 loop perform pg_current_xact_id(); commit; end loop; end $$",
    );
    execute(&url, &format!("create database {TEMPLATE}"));
    cluster
}

/// A cluster of a test's own, which it may stop and start again.
pub fn start_own(settings: &[(&str, &str)]) -> Cluster {
    let mut options = ClusterOptions::temporary()
        .with_setting("max_connections", "200")
        .with_setting("shared_buffers", "128MB");
    options.pg_bin = std::env::var_os("PG_BIN").map(Into::into);
    for (name, value) in settings {
        options = options.with_setting(name, value);
    }
    Cluster::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Fills the database that every test database is copied from. No connection to it may stay open.
fn prepare_template(url: &str) {
    rowcall::db::migrate(url).unwrap_or_else(|error| panic!("{error:?}"));
}

/// A database of a test's own, a copy of the template; dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    pub name: String,
    pub url: String,
    /// `None`: it is not dropped.
    kind: Option<Kind>,
}

impl TestDatabase {
    /// A new database in the standard cluster.
    pub fn create() -> Self {
        Self::create_in(Kind::Standard)
    }

    /// A new database in the cluster of this kind.
    pub fn create_in(kind: Kind) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", LAST.fetch_add(1, Ordering::Relaxed) + 1);
        let cluster = cluster(kind);
        execute(
            &cluster.url("postgres"),
            &format!("create database {name} template {TEMPLATE}"),
        );
        let url = cluster.url(&name);
        let kind = Some(kind);
        Self { name, url, kind }
    }

    /// A database that is there already, and stays.
    pub fn at(name: &str, url: &str) -> Self {
        let (name, url) = (name.to_owned(), url.to_owned());
        Self {
            name,
            url,
            kind: None,
        }
    }

    /// A new connection to it.
    pub fn connect(&self) -> PgConnection {
        connect(&self.url)
    }
}

impl Drop for TestDatabase {
    #[expect(
        clippy::print_stderr,
        reason = "a panic here would hide the test's own"
    )]
    fn drop(&mut self) {
        let Some(kind) = self.kind else { return };
        // A test that fails leaves connections behind, hence force.
        if let Ok(mut connection) = PgConnection::establish(&cluster(kind).url("postgres")) {
            let dropped =
                connection.batch_execute(&format!("drop database {} with (force)", self.name));
            if let Err(error) = dropped {
                eprintln!("{} is left behind: {error}", self.name);
            }
        }
    }
}

/// Connects, or fails the test. A statement that waits for a minute is a failure and no hang.
pub fn connect(url: &str) -> PgConnection {
    let mut connection =
        PgConnection::establish(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    connection
        .batch_execute("set statement_timeout = '60s'")
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    connection
}

/// Runs statements on a connection of their own.
pub fn execute(url: &str, sql: &str) {
    connect(url)
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}
