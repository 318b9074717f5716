//! Rows of other databases: two clusters, of which each may be stopped and killed.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod another;
mod applied;
mod copying;
mod crashes;
mod flow;
mod flushed;
mod instances;
mod kept;
mod program;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _,
    sql_types::{BigInt, Text},
};
use rowcall::{
    app::Instance,
    capture::install::reconcile,
    catalog::{
        apply::{ApplyError, Outcome, apply},
        examine::Order,
        load::Folder,
    },
    config::{Limits, Sources},
    db::{Connection, Database},
    foreign::SourceError,
    sink::AddressGuard,
    stage::{Progress, Stage as _},
    subscription::secret::SecretKey,
};
use secrecy::SecretString;
use support::{
    app::{Options, SECRET_KEY, SIGNING_SECRET, TestApp},
    postgres::{Kind, TestDatabase, connect, execute},
};

/// The tables, one in each database, that most tests use.
pub(crate) const ROWS: &str = "create table public.rows (id integer primary key, v text)";

/// Rows here are `t.row`, those in the other database `crm.row`.
pub(crate) const METADATA: &str = r#"
[namespace.t]
[object_type."t.row"]
table = "public.rows"
key = ["id"]
[namespace.crm]
[object_type."crm.row"]
table = "public.rows"
key = ["id"]
source = "crm"
"#;

/// One source called `crm`.
pub(crate) fn sources(url: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add("crm", SecretString::from(url)).unwrap();
    sources
}

/// An instance with a source, whose stages a test runs.
pub(crate) struct Two {
    pub(crate) app: TestApp,
    pub(crate) crm: TestDatabase,
}

impl Two {
    /// [`METADATA`] over [`ROWS`], applied.
    pub(crate) async fn start() -> Self {
        Self::start_with(ROWS, METADATA, Limits::for_testing()).await
    }

    /// `there` is run in the other database.
    pub(crate) async fn start_with(there: &str, metadata: &str, limits: Limits) -> Self {
        let there = there.to_owned();
        let crm = tokio::task::spawn_blocking(move || {
            let crm = TestDatabase::create_in(Kind::Elsewhere);
            execute(&crm.url, &there);
            crm
        });
        let crm = crm.await.unwrap();
        let options = Options {
            sources: sources(&crm.url),
            limits,
            ..Options::default()
        };
        let app = TestApp::start_with(ROWS, options).await;
        app.apply(metadata).await;
        Self { app, crm }
    }

    /// Runs statements in the other database.
    pub(crate) fn there(&self, sql: &str) {
        execute(&self.crm.url, sql);
    }

    /// Copies until there is nothing more, then publishes and delivers.
    pub(crate) async fn run(&mut self) {
        copy_all(&mut self.app.instance, self.app.clock.now())
            .await
            .unwrap();
        self.app.run_until_idle().await;
    }

    /// The stage `upkeep crm`.
    pub(crate) async fn upkeep(&mut self) -> Result<Progress, SourceError> {
        let now = self.app.clock.now();
        self.app.instance.sources[0].upkeep.run_once(now).await
    }

    /// One value of each event in the order of publishing, by an expression over its body.
    pub(crate) fn events(&self, expression: &str) -> Vec<String> {
        self.app.texts(&format!(
            "select {expression} from (select body::json as e from rowcall.event \
             order by position) as q"
        ))
    }
}

/// Runs the stage `copy crm` until it finds nothing: twice, for the first time it may only have
/// waited for the source's log.
pub(crate) async fn copy_all(
    instance: &mut Instance,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), SourceError> {
    let mut idle = 0;
    while idle < 2 {
        match instance.sources[0].copy.run_once(now).await? {
            Progress::Worked => idle = 0,
            Progress::Idle => idle += 1,
        }
    }
    Ok(())
}

/// What became of the object: `before->after` of column `v`.
pub(crate) const V: &str = "concat(e->'data'->'before'->>'v', '->', e->'data'->'after'->>'v')";

/// Applies a folder of one file with these sources.
pub(crate) async fn applied(
    app: &TestApp,
    toml: &str,
    sources: Sources,
) -> Result<Outcome, ApplyError> {
    let database = Database::new(&app.database.url, 1);
    let install = |connection: &mut Connection, catalog: &_, now| {
        reconcile(connection, catalog, 100_000, now)
    };
    apply(
        &database,
        Arc::new(order(toml, sources)),
        app.clock.now(),
        install,
    )
    .await
}

pub(crate) fn order(toml: &str, sources: Sources) -> Order {
    let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let key = Arc::new(SecretKey::parse(SECRET_KEY).unwrap());
    let mut order = Order::new(Folder::of_text("test.toml", toml), guard, Some(key));
    order.sources = sources;
    order.environment =
        |name| (name == "SIGNING_SECRET").then(|| SecretString::from(SIGNING_SECRET));
    order
}

/// The problems of a refused folder, a line each.
pub(crate) fn problem_lines(error: &ApplyError) -> Vec<String> {
    let ApplyError::Metadata(error) = error else {
        panic!("not refused for what it says: {error:?}");
    };
    let problems = error.problems().iter();
    problems.map(|problem| problem.line()).collect()
}

/// One number that a query answers.
pub(crate) fn count(url: &str, sql: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Row = diesel::sql_query(format!("select ({sql})::bigint as count"))
        .get_result(&mut connect(url))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    row.count
}

/// The first column of a query's rows, as text.
pub(crate) fn texts(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let rows: Vec<Row> = diesel::sql_query(format!(
        "select coalesce(v::text, 'null') as value from ({sql}) as q (v)"
    ))
    .load(connection)
    .unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.value).collect()
}
