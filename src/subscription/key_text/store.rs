//! SQL that reads key values as their columns' types.

use std::collections::BTreeMap;

use diesel::{
    Connection as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_query,
    sql_types::{Array, Bool, Nullable, Text},
};

use crate::{capture::install::rendering::Setting, catalog::model::TableName, expr::literal};

#[derive(QueryableByName)]
pub(super) struct ColumnType {
    #[diesel(sql_type = Text)]
    name: String,
    /// As the table names it.
    #[diesel(sql_type = Text)]
    pub(super) named: String,
    /// The type under all domains, with its bounds, such as `character varying(3)`.
    #[diesel(sql_type = Text)]
    bounded: String,
    /// The same type without them.
    #[diesel(sql_type = Text)]
    unbounded: String,
    /// Whether reading a value would run a domain's check.
    #[diesel(sql_type = Bool)]
    pub(super) has_domain_inside: bool,
    /// Whether somebody defined a cast to json of it, which capturing does not call.
    #[diesel(sql_type = Bool)]
    has_json_cast: bool,
}

/// The types of a table's columns, as SQL writes them; columns that aren't there are left out.
pub(super) fn column_types(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &[String],
) -> QueryResult<BTreeMap<String, ColumnType>> {
    let rows: Vec<ColumnType> = sql_query(include_str!("column_types.sql"))
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
        bounded,
        unbounded,
        has_json_cast,
        ..
    }: &ColumnType,
) -> QueryResult<KeyCast> {
    // The type names were printed, and quoted, by Postgres. A literal is read by the type itself,
    // where a cast from text may be a function that somebody defined.
    let value = literal(value);
    let is_same = if bounded == unbounded {
        "true".to_owned()
    } else {
        format!("{value}::{bounded} is not distinct from {value}::{unbounded}")
    };
    let printed = if *has_json_cast {
        format!("format('%s', {value}::{bounded})")
    } else {
        format!("{value}::{bounded}")
    };
    let query = format!("select to_json({printed})::text as json, {is_same} as is_same");
    // A savepoint: a refused cast must not end the caller's transaction.
    let cast = connection.transaction(|connection| {
        for setting in Setting::ALL {
            connection.batch_execute(&setting.pinned().replacen("set ", "set local ", 1))?;
        }
        sql_query(query).get_result::<Cast>(connection)
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
