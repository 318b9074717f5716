//! The repository's schema: its migrations, what it refuses, and that it is what is written down.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

#[path = "repository/checks.rs"]
mod checks;
#[path = "repository/dump.rs"]
mod dump;
#[path = "repository/migrations.rs"]
mod migrations;
#[path = "repository/rates.rs"]
mod rates;
#[path = "repository/sessions.rs"]
mod sessions;
#[path = "repository/states.rs"]
mod states;
#[path = "support/mod.rs"]
mod support;

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    sql_types::{Nullable, Text},
};

/// The first column of a query's rows.
fn texts(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        text: Option<String>,
    }
    let rows: Vec<Row> = diesel::sql_query(sql)
        .load(connection)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter()
        .map(|row| row.text.unwrap_or_default())
        .collect()
}
