//! SQL of the real tables' shapes.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Text},
};

use super::{Elsewhere, OWN_SCHEMA, SYSTEM_SCHEMAS, Shapes, TableShape};
use crate::{
    catalog::{
        model::{ObjectType, SourceName, TableName},
        store::definition,
    },
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
    let found = tables_of(rows)?;
    let all_there = asked.iter().all(|table| found.contains_key(*table));
    Ok(Shapes {
        role: role.role,
        tables: found,
        candidates: if all_there {
            Vec::new()
        } else {
            table_candidates(connection)?
        },
        elsewhere: BTreeMap::new(),
    })
}

fn tables_of(rows: Vec<ShapeRow>) -> Result<BTreeMap<TableName, TableShape>, DbError> {
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
    Ok(found)
}

/// Reads the shapes of the tables of `object_types`: those of this database as they are now, those
/// of others as the repository was told last.
pub fn shapes_of<'a>(
    connection: &mut Connection,
    object_types: impl IntoIterator<Item = &'a ObjectType>,
) -> Result<Shapes, DbError> {
    let (here, others): (Vec<_>, Vec<_>) = object_types
        .into_iter()
        .partition(|object_type| object_type.source.is_default());
    let mut shapes = shape_read(connection, here.into_iter().map(|spec| &spec.table))?;
    let sources: BTreeSet<&SourceName> = others.into_iter().map(|spec| &spec.source).collect();
    for source in sources {
        let tables = shape_stored(connection, source)?;
        let there = Elsewhere {
            shapes: Shapes {
                tables,
                ..Shapes::default()
            },
            ..Elsewhere::default()
        };
        shapes.elsewhere.insert(source.clone(), there);
    }
    Ok(shapes)
}

/// The tables of another source as the repository was told last.
pub fn shape_stored(
    connection: &mut Connection,
    source: &SourceName,
) -> Result<BTreeMap<TableName, TableShape>, DbError> {
    let rows: Vec<ShapeRow> = sql_query(
        "select schema_name as schema, table_name as name, shape::text as shape \
         from rowcall.source_table where source = $1",
    )
    .bind::<Text, _>(&source.0)
    .load(connection)?;
    tables_of(rows)
}

/// Keeps the tables of another source. True if they differ from what was kept: then the caller, who
/// holds the registry's lock, raises its revision.
pub fn shape_write(
    connection: &mut Connection,
    source: &SourceName,
    tables: &BTreeMap<TableName, TableShape>,
) -> Result<bool, DbError> {
    let kept = shape_stored(connection, source)?;
    if kept == *tables {
        return Ok(false);
    }
    sql_query("delete from rowcall.source_table where source = $1")
        .bind::<Text, _>(&source.0)
        .execute(connection)?;
    for (table, shape) in tables {
        let what = || format!("the shape of {table}");
        let json = serde_json::to_string(shape).map_err(|source| DbError::Unreadable {
            what: what(),
            source,
        })?;
        sql_query(
            "insert into rowcall.source_table (source, schema_name, table_name, shape) \
             values ($1, $2, $3, $4::json)",
        )
        .bind::<Text, _>(&source.0)
        .bind::<Text, _>(&table.schema)
        .bind::<Text, _>(&table.table)
        .bind::<Text, _>(json)
        .execute(connection)?;
    }
    Ok(true)
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
