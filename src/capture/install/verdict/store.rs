//! The SQL of a table's columns, as conditions are lowered for them.

use std::collections::BTreeMap;

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Text},
};

use super::{super::store::Trigger, TableColumn};
use crate::expr::{SqlColumn, SqlType, identifier, literal};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    relation: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Integer)]
    place: i32,
    #[diesel(sql_type = BigInt)]
    type_oid: i64,
    #[diesel(sql_type = BigInt)]
    base_oid: i64,
    #[diesel(sql_type = Text)]
    value_type: String,
    #[diesel(sql_type = Bool)]
    is_enum: bool,
    #[diesel(sql_type = Bool)]
    is_text: bool,
}

/// The columns of the tables with these oids, by oid, each table's in its order.
///
/// # Errors
///
/// Only those of the database.
pub fn table_columns(
    connection: &mut PgConnection,
    relations: &[i64],
) -> Result<BTreeMap<i64, Vec<TableColumn>>, diesel::result::Error> {
    let rows: Vec<Row> = sql_query(include_str!("columns.sql"))
        .bind::<Array<BigInt>, _>(relations)
        .load(connection)?;
    let mut found: BTreeMap<i64, Vec<TableColumn>> = BTreeMap::new();
    for row in rows {
        found.entry(row.relation).or_default().push(column(row));
    }
    Ok(found)
}

/// Whether text of this database is UTF-8: bytes are then ordered as code points are.
///
/// # Errors
///
/// Only those of the database.
pub fn database_is_utf8(connection: &mut PgConnection) -> Result<bool, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let answer: Answer =
        sql_query("select pg_catalog.current_setting('server_encoding') = 'UTF8' as yes")
            .get_result(connection)?;
    Ok(answer.yes)
}

/// A trigger that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Which one.
    pub trigger: Trigger,
    /// Its argument, or nothing.
    pub mark: String,
}

impl Present {
    /// A trigger with this mark.
    #[must_use]
    pub fn new(trigger: Trigger, mark: &str) -> Self {
        let mark = mark.to_owned();
        Self { trigger, mark }
    }
}

/// The triggers of a table that call the function; clones of a root's triggers are left out.
///
/// # Errors
///
/// Only those of the database.
pub fn triggers_present(
    connection: &mut PgConnection,
    relation: i64,
    function: &str,
) -> Result<Vec<Present>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        mark: String,
    }
    let rows: Vec<Row> = sql_query(
        "select tgname::text as name, \
             split_part(encode(tgargs, 'escape'), '\\000', 1) as mark \
         from pg_catalog.pg_trigger \
         where tgrelid = $1::oid and tgparentid = 0 \
             and tgfoid = to_regprocedure('rowcall.' || $2 || '()') \
         order by tgname",
    )
    .bind::<BigInt, _>(relation)
    .bind::<Text, _>(function)
    .load(connection)?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|row| Present {
            trigger: Trigger::parse(&row.name),
            mark: row.mark,
        })
        .collect())
}

/// Creates or replaces a trigger with a WHEN and a mark; waits for the table's lock as long as
/// `lock_timeout` says.
///
/// # Errors
///
/// Only those of the database.
pub fn trigger_with_when(
    connection: &mut PgConnection,
    table: &str,
    trigger: Trigger,
    function: &str,
    when: Option<&str>,
    mark: &str,
) -> Result<(), diesel::result::Error> {
    let when = when.map_or(String::new(), |when| format!(" when ({when})"));
    connection.batch_execute(&format!(
        "create or replace trigger {} {}{when} execute function rowcall.{function}({})",
        identifier(trigger.name()),
        trigger.events().replace("{table}", table),
        literal(mark)
    ))
}

fn column(row: Row) -> TableColumn {
    // The oids of Postgres' own types never change.
    let r#type = match row.base_oid {
        16 => SqlType::Bool,
        20 | 21 | 23 => SqlType::Int,
        1700 => SqlType::Numeric(digits(&row.value_type)),
        700 => SqlType::Real,
        701 => SqlType::Double,
        19 | 25 | 1043 => SqlType::Text,
        1042 => SqlType::Padded,
        2950 => SqlType::Uuid,
        1184 => SqlType::Timestamptz,
        1114 => SqlType::Timestamp,
        1082 => SqlType::Date,
        1186 => SqlType::Interval,
        114 => SqlType::Json,
        3802 => SqlType::Jsonb,
        _ if row.is_enum => SqlType::Enum,
        _ if row.is_text => SqlType::Text,
        _ => SqlType::Other,
    };
    TableColumn {
        sql: SqlColumn {
            name: row.name,
            r#type,
        },
        place: row.place,
        type_oid: row.type_oid,
        value_type: row.value_type,
    }
}

/// The digits before and behind the point of `numeric(10,2)`; none of `numeric`.
fn digits(value_type: &str) -> Option<(u16, u16)> {
    let inside = value_type.split_once('(')?.1.strip_suffix(')')?;
    let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    let (precision, scale): (i32, i32) = (precision.parse().ok()?, scale.parse().ok()?);
    let before = u16::try_from((precision - scale).max(0)).ok()?;
    Some((before, u16::try_from(scale.max(0)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_a_numeric_are_on_either_side_of_its_point() {
        for (value_type, expected) in [
            ("numeric", None),
            ("numeric(10,2)", Some((8, 2))),
            ("numeric(10)", Some((10, 0))),
            ("numeric(3,-2)", Some((5, 0))),
            ("numeric(3,5)", Some((0, 5))),
        ] {
            assert_eq!(digits(value_type), expected, "{value_type}");
        }
    }
}
