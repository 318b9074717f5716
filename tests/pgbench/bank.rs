//! pgbench's bank: its tables, what is declared of them, and who writes.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use chrono::TimeDelta;
use diesel::{PgConnection, QueryableByName, sql_types::BigInt};
use tempfile::TempDir;

use crate::{
    support::{
        app::{SECRET_KEY, SIGNING_SECRET},
        postgres::{Kind, TestDatabase, cluster, execute},
        program::{Serving, rowcall},
    },
    wire::Object,
};

/// A lease ends soon, so that what a killed instance held is sent again soon. Parts of digests are
/// small, so that there are many.
const CONFIGURATION: &str = "\
[limits]
lease_ms = 2000
request_timeout_ms = 500
deliver_poll_ms = 200
safety_poll_ms = 1000
digest_part_bytes_max = 65536
senders_max = 32
senders_per_host_max = 32
deliveries_in_memory_max = 1000
";
/// How long a claim holds, as above.
pub(crate) const LEASE: TimeDelta = TimeDelta::seconds(2);
/// How long a receiver has, as above.
pub(crate) const REQUEST_TIMEOUT: TimeDelta = TimeDelta::milliseconds(500);
/// The limit of that name: how many deliveries a killed instance can have had under way.
pub(crate) const DELIVERIES_IN_MEMORY_MAX: usize = 1_000;

/// A transaction that is rolled back. Its amount would stand out among pgbench's, 5,000 at most.
const ROLLED_BACK: &str = "
\\set aid random(1, 100000 * :scale)
\\set tid random(1, 10 * :scale)
\\set bid random(1, 1 * :scale)
begin;
update pgbench_accounts set abalance = abalance + 1000000 where aid = :aid;
update pgbench_tellers set tbalance = tbalance + 1000000 where tid = :tid;
update pgbench_branches set bbalance = bbalance + 1000000 where bid = :bid;
rollback;
";
/// A transaction of the usual kind, in which something else was rolled back. Every second one
/// updates the balances to what they were: that is an event, and no net effect.
const PARTLY_ROLLED_BACK: &str = "
\\set aid random(1, 100000 * :scale)
\\set tid random(1, 10 * :scale)
\\set bid random(1, 1 * :scale)
\\set delta random(0, 1) * random(-5000, 5000)
begin;
savepoint before;
update pgbench_accounts set abalance = abalance + 1000000 where aid = :aid;
update pgbench_tellers set tbalance = tbalance + 1000000 where tid = :tid;
rollback to before;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime)
    values (:tid, :bid, :aid, :delta, current_timestamp);
end;
";

/// What one committed transaction did: a row of pgbench_history.
#[derive(Clone, Debug, QueryableByName)]
pub(crate) struct Transfer {
    #[diesel(sql_type = BigInt)]
    aid: i64,
    #[diesel(sql_type = BigInt)]
    tid: i64,
    #[diesel(sql_type = BigInt)]
    bid: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) delta: i64,
}

impl Transfer {
    /// The key of the object that it updated.
    pub(crate) fn key(&self, object: Object) -> i64 {
        match object {
            Object::Account => self.aid,
            Object::Teller => self.tid,
            Object::Branch => self.bid,
        }
    }

    #[cfg(test)]
    pub(crate) fn new(aid: i64, tid: i64, bid: i64, delta: i64) -> Self {
        Self {
            aid,
            tid,
            bid,
            delta,
        }
    }
}

/// Longer than any test.
const ENDLESS_S: &str = "86400";
/// How many sessions pgbench has.
const SESSIONS: &str = "select count(*) from pg_stat_activity \
                        where application_name = 'pgbench' and datname = current_database()";

/// A database that pgbench initialised, and a directory for what Rowcall is given.
pub(crate) struct Bank {
    database: TestDatabase,
    directory: TempDir,
    scale: String,
}

impl Bank {
    /// Lets pgbench make its tables.
    pub(crate) fn open(scale: u32) -> Self {
        let bank = Self {
            database: TestDatabase::create(),
            directory: tempfile::tempdir().unwrap(),
            scale: scale.to_string(),
        };
        std::fs::create_dir(bank.metadata()).unwrap();
        std::fs::write(bank.directory.path().join("rowcall.toml"), CONFIGURATION).unwrap();
        bank.pgbench(&["--initialize", "--quiet"]).end();
        bank
    }

    /// The metadata folder.
    pub(crate) fn metadata(&self) -> PathBuf {
        self.directory.path().join("metadata")
    }

    /// Writes `text` as the one file of the metadata folder.
    pub(crate) fn declare(&self, text: &str) {
        std::fs::write(self.metadata().join("bank.toml"), text).unwrap();
    }

    /// The program with this bank's database and settings.
    pub(crate) fn rowcall(&self, arguments: &[&str]) -> Command {
        let mut command = rowcall(self.directory.path(), arguments);
        command
            .env("DATABASE_URL", &self.database.url)
            .env("ROWCALL_SECRET_KEY", SECRET_KEY)
            .env("ROWCALL_ALLOW_NETS", "127.0.0.0/8")
            .env("SIGNING_SECRET", SIGNING_SECRET);
        command
    }

    /// Starts Rowcall and waits until it serves.
    pub(crate) fn serve(&self) -> Serving {
        let metadata = self.metadata();
        let metadata = metadata.to_str().unwrap();
        Serving::start(&mut self.rowcall(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metadata",
            metadata,
            "--config",
            "rowcall.toml",
        ]))
    }

    /// Starts pgbench's own transactions, `rate` in a second, until they are stopped: what is timed
    /// may end in the very moment in which a test needs somebody who writes.
    pub(crate) fn write(&self, clients: u32, rate: u32) -> Pgbench {
        let [clients, rate] = [clients, rate].map(|number| number.to_string());
        let load = ["--client", &clients, "--rate", &rate, "--time", ENDLESS_S];
        let mut arguments = load.to_vec();
        arguments.push("--no-vacuum");
        self.pgbench(&arguments)
    }

    /// Stops a pgbench, and waits until its sessions are gone: the last one may still commit.
    pub(crate) fn stop(&self, mut pgbench: Pgbench) {
        assert!(pgbench.is_running(), "pgbench ended on its own");
        drop(pgbench);
        while self.number(SESSIONS) > 0 {
            std::thread::yield_now();
        }
    }

    /// Starts transactions that are rolled back, wholly or in part.
    pub(crate) fn write_in_vain(&self, seconds: u32) -> Pgbench {
        let script = |name: &str, text: &str| {
            let path = self.directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("--file={}", path.display())
        };
        let wholly = script("rolled_back.sql", ROLLED_BACK);
        let partly = script("partly_rolled_back.sql", PARTLY_ROLLED_BACK);
        let seconds = seconds.to_string();
        let rate = ["--client", "1", "--rate", "50", "--no-vacuum"];
        let mut arguments = vec![wholly.as_str(), &partly, "--time", &seconds];
        arguments.extend(rate);
        self.pgbench(&arguments)
    }

    fn pgbench(&self, arguments: &[&str]) -> Pgbench {
        let program: &Path = &cluster(Kind::Standard).bin("pgbench");
        let child = Command::new(program)
            .args(["--scale", &self.scale])
            .args(arguments)
            .arg(&self.database.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Pgbench(Some(child))
    }

    /// Runs statements.
    pub(crate) fn execute(&self, sql: &str) {
        execute(&self.database.url, sql);
    }

    /// A new connection to the database.
    pub(crate) fn connect(&self) -> PgConnection {
        self.database.connect()
    }
}

/// A running pgbench. Killed when it is dropped.
pub(crate) struct Pgbench(Option<Child>);

impl Pgbench {
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.0.as_mut().unwrap();
        child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and returns how many transactions it ran; fails the test if it did.
    pub(crate) fn end(mut self) -> usize {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "pgbench failed: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("number of transactions actually processed: "));
        line.map_or(0, |number| number.trim().parse().unwrap())
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
