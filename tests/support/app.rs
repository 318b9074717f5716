//! One instance of Rowcall under a test's hands: its own database, a clock that the test moves,
//! stages that the test runs.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file includes all and uses some"
)]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    sql_types::{BigInt, Text},
};
use rowcall::{
    app::{Instance, Settings},
    capture::install::reconcile,
    catalog::{apply::apply, examine::Order, load::Folder},
    clock::Clock,
    config::{Limits, Sources},
    db::{Connection, Database},
    sink::{AddressGuard, MailSettings},
    stage::{Progress, Stage},
    subscription::{secret::SecretKey, verify::VerifySettings},
};
use secrecy::SecretString;

use super::postgres::{Kind, TestDatabase};

/// The key that secrets are encrypted with in tests.
pub const SECRET_KEY: &str = "6f0b2a9cb6b1a4c1f2b3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071829";
/// The bootstrap key of the API in tests.
pub const ADMIN_KEY: &str = "an admin key of more than 32 characters";
/// The signing secret that `webhook` subscriptions have.
pub const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How a test wants its instance.
pub struct Options {
    pub kind: Kind,
    pub limits: Limits,
    pub safety_poll: bool,
    /// The private networks that its sinks may reach.
    pub allow_nets: &'static [&'static str],
    pub mail: Option<MailSettings>,
    pub public_url: Option<&'static str>,
    /// How receivers are verified.
    pub verify: VerifySettings,
    /// The other databases whose rows are captured.
    pub sources: Sources,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Standard,
            limits: Limits::for_testing(),
            safety_poll: true,
            allow_nets: &["127.0.0.0/8"],
            mail: None,
            public_url: None,
            verify: VerifySettings::default(),
            sources: Sources::default(),
        }
    }
}

/// An instance with its database. Dropping it fails the test if work or tasks are left.
pub struct TestApp {
    pub database: Arc<TestDatabase>,
    pub clock: Clock,
    pub instance: Instance,
    limits: Limits,
    mail: Option<MailSettings>,
    sources: Sources,
}

impl TestApp {
    /// An instance with small limits on a database of its own, in which `sql` was run.
    pub async fn start(sql: &str) -> Self {
        Self::start_with(sql, Options::default()).await
    }

    pub async fn start_with(sql: &str, options: Options) -> Self {
        let kind = options.kind;
        let sql = sql.to_owned();
        let database = tokio::task::spawn_blocking(move || {
            let database = TestDatabase::create_in(kind);
            super::postgres::execute(&database.url, &sql);
            database
        })
        .await
        .unwrap();
        Self::on_database(database, options).await
    }

    /// An instance on a database that is there, with a clock of its own.
    pub async fn on_database(database: TestDatabase, options: Options) -> Self {
        let start = DateTime::parse_from_rfc3339("2026-03-02T09:00:00Z").unwrap();
        Self::on(
            Arc::new(database),
            Clock::manual(start.with_timezone(&Utc)),
            options,
        )
        .await
    }

    /// Another instance on the same database and clock.
    pub async fn sibling(&self) -> Self {
        let options = Options {
            limits: self.limits.clone(),
            sources: self.sources.clone(),
            ..Options::default()
        };
        self.sibling_with(options).await
    }

    pub async fn sibling_with(&self, options: Options) -> Self {
        Self::on(Arc::clone(&self.database), self.clock.clone(), options).await
    }

    async fn on(database: Arc<TestDatabase>, clock: Clock, options: Options) -> Self {
        let (limits, mail) = (options.limits.clone(), options.mail.clone());
        let sources = options.sources.clone();
        let instance = build(&database, clock.clone(), options).await;
        Self {
            database,
            clock,
            instance,
            limits,
            mail,
            sources,
        }
    }

    /// Applies metadata, given as the text of one file.
    pub async fn apply(&self, toml: &str) {
        let folder = Folder::of_text("test.toml", toml);
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let key = Arc::new(SecretKey::parse(SECRET_KEY).unwrap());
        let mut order = Order::new(folder, guard, Some(key));
        order.mail = self.mail.clone();
        order.sources = self.sources.clone();
        order.environment =
            |name| (name == "SIGNING_SECRET").then(|| SecretString::from(SIGNING_SECRET));
        let value_bytes_max = self.limits.value_bytes_max;
        let install = move |connection: &mut Connection, catalog: &_, now| {
            reconcile(connection, catalog, value_bytes_max, now)
        };
        let database = Database::new(&self.database.url, 1);
        apply(&database, Arc::new(order), self.clock.now(), install)
            .await
            .unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)));
    }

    /// Runs statements, each in a transaction of its own unless the text says otherwise.
    pub fn sql(&self, sql: &str) {
        super::postgres::execute(&self.database.url, sql);
    }

    pub fn connect(&self) -> PgConnection {
        self.database.connect()
    }

    /// One number that a query answers.
    pub fn count(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        let row: Row = diesel::sql_query(format!("select ({sql})::bigint as count"))
            .get_result(&mut self.connect())
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.count
    }

    /// The first column of a query's rows, as text.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let rows: Vec<Row> = diesel::sql_query(format!(
            "select coalesce(v::text, 'null') as value from ({sql}) as q (v)"
        ))
        .load(&mut self.connect())
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.into_iter().map(|row| row.value).collect()
    }

    /// Runs the stages until nothing is to be done at the present time and nothing is under way.
    pub async fn run_until_idle(&mut self) {
        loop {
            let now = self.clock.now();
            let published = self.instance.publish.run_once(now).await.unwrap();
            let digested = self.instance.digest.run_once(now).await.unwrap();
            let delivered = self.instance.deliver.run_once(now).await.unwrap();
            let replayed = self.instance.replay.run_once(now).await.unwrap();
            let outbox = &self.instance.outbox;
            if [published, digested, delivered, replayed] != [Progress::Idle; 4] {
                continue;
            }
            if outbox.in_memory() == 0 && outbox.senders() == 0 && self.due() == 0 {
                return;
            }
            // Ends when a sender tells its result.
            self.instance.deliver.rest(now).await;
        }
    }

    /// Moves the clock, then runs until idle.
    pub async fn advance(&mut self, step: TimeDelta) {
        self.clock.advance(step);
        self.run_until_idle().await;
    }

    fn due(&self) -> i64 {
        let now = self.clock.now().to_rfc3339();
        self.count(&format!(
            "select (select count(*) from rowcall.delivery where state = 'sending' \
                 or (state in ('pending', 'held') and due_at <= '{now}')) \
             + (select count(*) from rowcall.replay_item where state = 'sending')"
        ))
    }

    /// What is left to do at the present time, in words; empty if nothing is.
    fn leftovers(&self) -> Vec<String> {
        let unread = "select (select count(*) from rowcall.change c, rowcall.source s \
             where s.name = 'default' and c.seq > s.seq_floor \
                 and not pg_visible_in_snapshot(c.xid, s.snapshot)) \
             + (select count(*) from rowcall.backlog_change)";
        let mut left = Vec::new();
        for (what, count) in [
            (
                "deliveries in memory",
                self.instance.outbox.in_memory() as i64,
            ),
            ("requests under way", self.instance.outbox.senders() as i64),
            ("changes unread", self.count(unread)),
            ("deliveries due or sending", self.due()),
        ] {
            if count > 0 {
                left.push(format!("{count} {what}"));
            }
        }
        left
    }
}

/// Builds an instance on a database that is there.
pub async fn build(database: &TestDatabase, clock: Clock, options: Options) -> Instance {
    let settings = Settings {
        database_url: SecretString::from(database.url.clone()),
        secret_key: SecretKey::parse(SECRET_KEY).unwrap(),
        admin_key: Some(SecretString::from(ADMIN_KEY)),
        allow_nets: options
            .allow_nets
            .iter()
            .map(|net| net.parse().unwrap())
            .collect(),
        mail: options.mail,
        verify: options.verify,
        public_url: options.public_url.map(|url| url.parse().unwrap()),
        sources: options.sources,
        limits: options.limits,
        safety_poll: options.safety_poll,
    };
    Instance::build(settings, clock).await.unwrap()
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // A sibling still at work has the rest of it.
        if std::thread::panicking() || Arc::strong_count(&self.database) > 1 {
            return;
        }
        let left = self.leftovers();
        assert!(left.is_empty(), "work is left: {}", left.join(", "));
    }
}
