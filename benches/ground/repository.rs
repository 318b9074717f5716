//! A database with a repository, and the metadata that is applied to it.

use std::sync::Arc;

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::{
    capture::install::reconcile,
    catalog::{apply::apply, examine::Order, load::Folder},
    clock::Clock,
    config::Limits,
    db::{Connection, Database, migrate},
    private_postgres::Cluster,
    sink::AddressGuard,
    subscription::secret::SecretKey,
};

/// The database's name.
pub(crate) const DATABASE: &str = "bench";

/// Makes the database. Returns its URL.
pub(crate) fn make(cluster: &Cluster) -> String {
    execute(
        &cluster.url("postgres"),
        &format!("create database {DATABASE}"),
    );
    let url = cluster.url(DATABASE);
    migrate(&url).unwrap();
    url
}

/// Runs statements.
pub(crate) fn execute(url: &str, sql: &str) {
    PgConnection::establish(url)
        .unwrap()
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Applies metadata whose receivers are on this machine.
pub(crate) async fn apply_metadata(url: &str, toml: &str) {
    let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let folder = Folder::of_text("bench.toml", toml);
    let order = Arc::new(Order::new(folder, guard, Some(Arc::new(key()))));
    let value_bytes_max = Limits::default().value_bytes_max;
    let install = move |connection: &mut Connection, catalog: &_, now| {
        reconcile(connection, catalog, value_bytes_max, now)
    };
    let database = Database::new(url, 1);
    apply(&database, order, Clock::System.now(), install)
        .await
        .unwrap();
}

/// The key that secrets are encrypted with.
pub(crate) fn key() -> SecretKey {
    SecretKey::parse(&"5a".repeat(32)).unwrap()
}
