//! The catalogue against real tables: what is refused and how that is told, what an apply does.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod applied;
mod conflicts;
mod credentials;
mod defined;
mod events;
mod mutated;
mod refused;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;
mod users;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::PgConnection;
use rowcall::{
    catalog::{
        apply::{ApplyError, Outcome, apply},
        examine::Order,
        load::Folder,
        model::Catalog,
    },
    db::{Database, migrate},
    sink::AddressGuard,
    subscription::secret::SecretKey,
};
use secrecy::SecretString;
use support::postgres::{TestDatabase, execute};

/// The demo's tables and its metadata, which are thereby tested too.
pub(crate) const SHOP_SQL: &str = include_str!("../../src/cli/demo/shop.sql");
pub(crate) const SHOP_TOML: &str = include_str!("../../metadata/shop.toml");

/// What `$ERP_SECRET` holds in these tests.
pub(crate) const ERP_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(crate) fn order(toml: &str) -> Order {
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    let folder = Folder::of_text("m.toml", toml);
    let mut order = Order::new(folder, AddressGuard::new(Vec::new()), Some(Arc::new(key)));
    order.environment =
        |name| (name == "ERP_SECRET").then(|| SecretString::from(ERP_SECRET.to_owned()));
    order
}

/// A database with Rowcall's schema and the given tables.
pub(crate) fn database(tables: &str) -> TestDatabase {
    let database = TestDatabase::create();
    migrate(&database.url).unwrap();
    execute(&database.url, tables);
    database
}

/// A hook that installs nothing.
pub(crate) fn no_triggers(
    _: &mut PgConnection,
    _: &Catalog,
    _: DateTime<Utc>,
) -> Result<(), ApplyError> {
    Ok(())
}

pub(crate) async fn apply_order(
    database: &TestDatabase,
    order: Order,
) -> Result<Outcome, ApplyError> {
    let pool = Database::new(&database.url, 2);
    apply(&pool, Arc::new(order), now(), no_triggers).await
}

/// Applies a folder of one file.
pub(crate) async fn apply_text(database: &TestDatabase, toml: &str) -> Result<Outcome, ApplyError> {
    apply_order(database, order(toml)).await
}

/// The text of the plan of an apply that did something.
pub(crate) async fn applied(database: &TestDatabase, toml: &str) -> (i64, String) {
    match apply_text(database, toml).await.unwrap() {
        Outcome::Applied { version, plan, .. } => (version, plan.to_string()),
        Outcome::Unchanged { version } => panic!("unchanged at {version}"),
    }
}

/// The problems of a refused folder, a line each.
pub(crate) fn problem_lines(error: &ApplyError) -> Vec<String> {
    let ApplyError::Metadata(error) = error else {
        panic!("not refused for what it says: {error:?}");
    };
    error
        .problems()
        .iter()
        .map(|problem| problem.line())
        .collect()
}
