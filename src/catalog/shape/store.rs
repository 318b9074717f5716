//! SQL of the real tables' shapes.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Text},
};

use super::{OWN_SCHEMA, SYSTEM_SCHEMAS, Shapes, TableShape};
use crate::{
    catalog::{model::TableName, store::definition},
    db::{Connection, DbError},
};

/// Tables that are looked at for the nearest name of one that is not there.
const CANDIDATES_MAX: i64 = 5_000;

#[derive(QueryableByName)]
struct ShapeRow {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    shape: String,
}

#[derive(QueryableByName)]
struct Role {
    #[diesel(sql_type = Text)]
    role: String,
}

#[derive(QueryableByName)]
struct TableRow {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    name: String,
}

/// Reads the shapes of `tables` in one query, and of the tables that are not there the names that
/// could have been meant.
pub fn shape_read<'a>(
    connection: &mut Connection,
    tables: impl IntoIterator<Item = &'a TableName>,
) -> Result<Shapes, DbError> {
    let asked: Vec<&TableName> = tables.into_iter().collect();
    let schemas: Vec<&str> = asked.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = asked.iter().map(|table| table.table.as_str()).collect();
    let role: Role = sql_query("select current_user::text as role").get_result(connection)?;
    let rows: Vec<ShapeRow> = sql_query(include_str!("shapes.sql"))
        .bind::<Array<Text>, _>(schemas)
        .bind::<Array<Text>, _>(names)
        .load(connection)?;
    let mut found = BTreeMap::new();
    for row in rows {
        let shape: TableShape = definition(&row.shape, || {
            format!("the shape of {}.{}", row.schema, row.name)
        })?;
        let table = TableName {
            schema: row.schema,
            table: row.name,
        };
        found.insert(table, shape);
    }
    let all_there = asked.iter().all(|table| found.contains_key(*table));
    Ok(Shapes {
        role: role.role,
        tables: found,
        candidates: if all_there {
            Vec::new()
        } else {
            table_candidates(connection)?
        },
    })
}

fn table_candidates(connection: &mut Connection) -> Result<Vec<TableName>, DbError> {
    let rows: Vec<TableRow> = sql_query(
        "select n.nspname::text as schema, c.relname::text as name \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and c.relpersistence <> 't' and not c.relispartition \
             and n.nspname <> all($1) and n.nspname <> $2 and n.nspname not like 'pg\\_%' \
         order by 1, 2 limit $3",
    )
    .bind::<Array<Text>, _>(SYSTEM_SCHEMAS.as_slice())
    .bind::<Text, _>(OWN_SCHEMA)
    .bind::<BigInt, _>(CANDIDATES_MAX)
    .load(connection)?;
    let table = |row: TableRow| TableName {
        schema: row.schema,
        table: row.name,
    };
    Ok(rows.into_iter().map(table).collect())
}
