//! Columns of every kind, under every name: what is captured is the row.

mod hidden;
mod kinds;
mod large;
mod names;
mod values;

use crate::{reading::rows_metadata, support::app::TestApp};

/// An instance that captures `public.rows`, whose columns these are beside `id`.
async fn rows_of(columns: &[String], types: &str, more: &str) -> TestApp {
    let app = TestApp::start(&format!(
        "{types}; create table public.rows (id integer primary key, {})",
        columns.join(", ")
    ))
    .await;
    app.apply(&rows_metadata(more)).await;
    app
}
