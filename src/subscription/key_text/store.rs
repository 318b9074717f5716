//! SQL that reads key values as their columns' types.

use std::collections::BTreeMap;

use diesel::{
    Connection as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_query,
    sql_types::{Array, Bool, Nullable, Text},
};

use crate::catalog::model::TableName;

#[derive(QueryableByName)]
pub(super) struct ColumnType {
    #[diesel(sql_type = Text)]
    name: String,
    /// With its bounds, such as `character varying(3)`.
    #[diesel(sql_type = Text)]
    pub(super) bounded: String,
    /// The same type without them.
    #[diesel(sql_type = Text)]
    unbounded: String,
}

/// The types of a table's columns, as SQL writes them; columns that aren't there are left out.
pub(super) fn column_types(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &[String],
) -> QueryResult<BTreeMap<String, ColumnType>> {
    let rows: Vec<ColumnType> = sql_query(
        "select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as bounded, \
             format_type(a.atttypid, -1) as unbounded \
         from pg_attribute a join pg_class c on c.oid = a.attrelid \
         join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2 and a.attname = any($3) and a.attnum > 0 \
             and not a.attisdropped",
    )
    .bind::<Text, _>(&table.schema)
    .bind::<Text, _>(&table.table)
    .bind::<Array<Text>, _>(columns)
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect())
}

/// Whether a column can hold a value, and how Postgres prints it then.
pub(super) enum KeyCast {
    /// As JSON.
    Held(String),
    /// It can't.
    Refused,
}

#[derive(QueryableByName)]
struct Cast {
    #[diesel(sql_type = Nullable<Text>)]
    json: Option<String>,
    #[diesel(sql_type = Bool)]
    is_same: bool,
}

/// Has Postgres read `value` as the column's type and print it as the capture triggers do. A cast
/// that changes the value (rounds it, cuts it off) is a refusal.
pub(super) fn key_value_cast(
    connection: &mut PgConnection,
    value: &str,
    ColumnType {
        bounded, unbounded, ..
    }: &ColumnType,
) -> QueryResult<KeyCast> {
    // The type names were printed, and quoted, by Postgres.
    let is_same = if bounded == unbounded {
        "true".to_owned()
    } else {
        format!("cast($1 as {bounded}) is not distinct from cast($1 as {unbounded})")
    };
    let query =
        format!("select to_json(cast($1 as {bounded}))::text as json, {is_same} as is_same");
    // A savepoint: a refused cast must not end the caller's transaction.
    let cast = connection.transaction(|connection| {
        connection.batch_execute(
            "set local intervalstyle = iso_8601; set local bytea_output = hex; \
             set local extra_float_digits = 1",
        )?;
        sql_query(query)
            .bind::<Text, _>(value)
            .get_result::<Cast>(connection)
    });
    match cast {
        Ok(Cast {
            json: Some(json),
            is_same: true,
        }) => Ok(KeyCast::Held(json)),
        Ok(_) => Ok(KeyCast::Refused),
        // Postgres' class 22 (data exception) and the like, which diesel does not tell apart.
        Err(QueryError::DatabaseError(
            DatabaseErrorKind::Unknown | DatabaseErrorKind::CheckViolation,
            _,
        )) => Ok(KeyCast::Refused),
        Err(error) => Err(error),
    }
}
