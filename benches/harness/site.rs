//! A place where Rowcall can be run: a database, a configuration file and a metadata folder.

use std::{
    cell::{RefCell, RefMut},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use diesel::{Connection as _, PgConnection};
use rowcall::private_postgres::Cluster;
use tempfile::TempDir;

use crate::{
    bed::{execute, number},
    instance::{Instance, ROLES},
};

/// The bootstrap key of each site.
pub(crate) const ADMIN_KEY: &str = "the-key-of-the-benchmark-0123456789";
/// What is owed must be settled within this time after the last thing arrived.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// How often that is looked at, when nothing is measured any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A database of its own, which goes with it.
pub(crate) struct Site {
    /// The database's.
    pub(crate) url: String,
    folder: TempDir,
    connection: Option<RefCell<PgConnection>>,
    admin_url: String,
    database: String,
}

impl Site {
    pub(crate) fn make(cluster: &Cluster, tables: &str, metadata: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let database = format!("site_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin_url = cluster.url("postgres");
        let mut admin = PgConnection::establish(&admin_url).unwrap();
        execute(&mut admin, &format!("create database {database}"));
        let url = cluster.url(&database);
        let mut connection = PgConnection::establish(&url).unwrap();
        execute(&mut connection, tables);
        let folder = tempfile::tempdir().unwrap();
        let metadata_folder = folder.path().join("metadata");
        std::fs::create_dir(&metadata_folder).unwrap();
        std::fs::write(metadata_folder.join("bench.toml"), metadata).unwrap();
        // Limits are the defaults, which is what most will have in production.
        let configuration = format!(
            "database_url = {url:?}\nlisten = \"127.0.0.1:0\"\nmetadata = {metadata_folder:?}\n\
             allow_nets = [\"127.0.0.0/8\"]\nadmin_key = {ADMIN_KEY:?}\nsecret_key = {:?}\n",
            "5a".repeat(32)
        );
        std::fs::write(folder.path().join("rowcall.toml"), configuration).unwrap();
        Self {
            url,
            folder,
            connection: Some(RefCell::new(connection)),
            admin_url,
            database,
        }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file that nothing has, for what a program logs.
    pub(crate) fn log(&self) -> PathBuf {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.folder().join(format!("{number}.log"))
    }

    /// Starts an instance with all roles, and waits until it is ready.
    pub(crate) fn serve(&self) -> Instance {
        Instance::start(self, ROLES)
    }

    /// Lets Rowcall set up its schema and the triggers, and ends it again.
    pub(crate) fn prepare(&self) {
        self.serve().stop();
    }

    /// The session that is kept for looking.
    pub(crate) fn connection(&self) -> RefMut<'_, PgConnection> {
        self.connection.as_ref().unwrap().borrow_mut()
    }

    pub(crate) fn execute(&self, sql: &str) {
        execute(&mut self.connection(), sql);
    }

    pub(crate) fn number(&self, query: &str) -> i64 {
        number(&mut self.connection(), query)
    }

    /// Waits until a query answers 0; panics if it takes too long.
    pub(crate) fn wait_for_none(&self, query: &str) {
        let since = Instant::now();
        while self.number(query) > 0 {
            assert!(since.elapsed() < SETTLE_LIMIT, "not yet 0: {query}");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until no delivery is owed any more.
    pub(crate) fn wait_for_settled(&self) {
        self.wait_for_none(
            "select count(*) as value from rowcall.delivery \
             where state in ('pending', 'held', 'sending')",
        );
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A database in use can't be dropped.
        self.connection = None;
        if std::thread::panicking() {
            return;
        }
        let mut admin = PgConnection::establish(&self.admin_url).unwrap();
        let drop = format!("drop database {} with (force)", self.database);
        execute(&mut admin, &drop);
        // What the next one writes must not wait for the pages of this one.
        execute(&mut admin, "checkpoint");
    }
}
