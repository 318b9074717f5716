//! SQL of what was edited elsewhere.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Bool, Text, Timestamptz},
};

use crate::{
    catalog::plan::Kind,
    db::{Connection, QueryError},
};

/// An entry of the folder whose last edit came through the API.
#[derive(Clone, Debug)]
pub(in crate::catalog) struct EditedRow {
    pub(in crate::catalog) kind: Kind,
    pub(in crate::catalog) name: String,
    /// Whether the edit removed it.
    pub(in crate::catalog) is_gone: bool,
    pub(in crate::catalog) version: i64,
    pub(in crate::catalog) author: String,
    pub(in crate::catalog) applied_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_gone: bool,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    author: String,
    #[diesel(sql_type = Timestamptz)]
    applied_at: DateTime<Utc>,
}

/// The entries that were born in the folder and edited through the API after that.
pub(in crate::catalog) fn catalog_edited(
    connection: &mut Connection,
) -> Result<Vec<EditedRow>, QueryError> {
    let rows: Vec<Row> = sql_query(
        "select last.kind, last.name, last.version_to is not null as is_gone, v.version, \
             v.author, v.applied_at \
         from (select distinct on (kind, name) kind, name, origin, version_from, version_to \
             from rowcall.catalog_item order by kind, name, version_from desc) last \
         join rowcall.catalog_version v on v.version = coalesce(last.version_to, last.version_from) \
         where last.origin = 'folder' and v.origin = 'api' \
         order by last.kind, last.name",
    )
    .load(connection)?;
    let edited = rows.into_iter().filter_map(|row| {
        let kinds = [Kind::EventType, Kind::Constraint];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == row.kind)?;
        Some(EditedRow {
            kind,
            name: row.name,
            is_gone: row.is_gone,
            version: row.version,
            author: row.author,
            applied_at: row.applied_at,
        })
    });
    Ok(edited.collect())
}
