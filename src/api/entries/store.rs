//! SQL of event types and constraints as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz},
};

#[derive(QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    pub(super) origin: String,
    #[diesel(sql_type = Text)]
    pub(super) definition: String,
    #[diesel(sql_type = BigInt)]
    pub(super) version: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(super) changed_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(super) author: String,
    #[diesel(sql_type = Text)]
    pub(super) reason: String,
}

/// The running entries of a kind, by name; only the one called `name`, if one is given.
pub(super) fn entry_list(
    connection: &mut PgConnection,
    kind: &str,
    name: Option<&str>,
) -> QueryResult<Vec<Row>> {
    sql_query(
        "select i.name, i.origin, i.definition::text as definition, i.version_from as version, \
             v.applied_at as changed_at, v.author, v.reason \
         from rowcall.catalog_item i join rowcall.catalog_version v on v.version = i.version_from \
         where i.version_to is null and i.kind = $1 and ($2 is null or i.name = $2) \
         order by i.name collate \"C\"",
    )
    .bind::<Text, _>(kind)
    .bind::<Nullable<Text>, _>(name)
    .load(connection)
}
