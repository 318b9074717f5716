//! The SQL of the list of sources.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Nullable, Text, Timestamptz},
};

/// A source, apart from its cursor.
#[derive(Debug, QueryableByName)]
pub(super) struct SourceRow {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// Rowcall's own.
    #[diesel(sql_type = Text)]
    pub(super) database: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) detached_at: Option<DateTime<Utc>>,
}

/// All sources, by name.
pub(super) fn source_rows(connection: &mut PgConnection) -> QueryResult<Vec<SourceRow>> {
    sql_query(
        "select name, pg_catalog.current_database()::text as database, detached_at \
         from rowcall.source order by name",
    )
    .load(connection)
}
