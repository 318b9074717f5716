//! The SQL of what many tables are, and of what is on them.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Bool, Text},
};

use crate::{
    capture::install::{
        rendering::Column,
        store::{Relation, Trigger},
        verdict::store::Present,
    },
    catalog::model::TableName,
};

/// A table that is there.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub(super) struct Found {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    table: String,
    #[diesel(sql_type = BigInt)]
    pub(super) oid: i64,
    #[diesel(sql_type = Bool)]
    pub(super) is_partitioned: bool,
}

/// The tables that are there, by their names.
pub(super) fn tables_find(
    connection: &mut PgConnection,
    tables: &[&TableName],
) -> QueryResult<BTreeMap<TableName, Found>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = tables
        .iter()
        .map(|table| (table.schema.as_str(), table.table.as_str()))
        .unzip();
    let rows: Vec<Found> = sql_query(
        "select n.nspname::text as schema, c.relname::text as table, c.oid::bigint as oid, \
             c.relkind = 'p' as is_partitioned \
         from (select distinct * from unnest($1::text[], $2::text[])) as w (schema, name) \
         join pg_catalog.pg_namespace n on n.nspname = w.schema \
         join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name \
         where c.relkind in ('r', 'p')",
    )
    .bind::<Array<Text>, _>(schemas)
    .bind::<Array<Text>, _>(names)
    .load(connection)?;
    let named = |found: Found| {
        let (schema, table) = (found.schema.clone(), found.table.clone());
        (TableName { schema, table }, found)
    };
    Ok(rows.into_iter().map(named).collect())
}

/// Each table with everything that inherits from it: partitions and children. A temporary child is
/// its session's own.
pub(super) fn relations_of(
    connection: &mut PgConnection,
    relations: &[i64],
) -> QueryResult<BTreeMap<i64, Vec<Relation>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        root: i64,
        #[diesel(embed)]
        relation: Relation,
    }
    let rows: Vec<Row> = sql_query(
        "with recursive tree (root, oid) as ( \
             select w.oid, w.oid from unnest($1::bigint[]::oid[]) as w (oid) union \
             select tree.root, i.inhrelid \
             from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid) \
         select tree.root::bigint as root, c.oid::bigint as oid, \
             format('%I.%I', n.nspname, c.relname) as name, c.relispartition as is_partition \
         from tree join pg_catalog.pg_class c on c.oid = tree.oid \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and c.relpersistence <> 't' order by c.oid",
    )
    .bind::<Array<BigInt>, _>(relations)
    .load(connection)?;
    let mut found: BTreeMap<i64, Vec<Relation>> = BTreeMap::new();
    for row in rows {
        found.entry(row.root).or_default().push(row.relation);
    }
    Ok(found)
}

/// The columns of each table and its children with the kinds of their values.
pub(in crate::capture::install) fn columns_of(
    connection: &mut PgConnection,
    relations: &[i64],
) -> QueryResult<BTreeMap<i64, Vec<Column>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        root: i64,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Array<Text>)]
        kinds: Vec<String>,
        #[diesel(sql_type = Bool)]
        has_json_cast: bool,
    }
    let rows: Vec<Row> = sql_query(include_str!("columns.sql"))
        .bind::<Array<BigInt>, _>(relations)
        .load(connection)?;
    let mut found: BTreeMap<i64, Vec<Column>> = BTreeMap::new();
    for row in rows {
        found.entry(row.root).or_default().push(Column {
            name: row.name,
            kinds: row.kinds,
            has_user_cast: row.has_json_cast,
        });
    }
    Ok(found)
}

/// The trigger functions that are there.
pub(super) fn functions_read(connection: &mut PgConnection) -> QueryResult<BTreeSet<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "select p.proname::text as name \
         from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
         where n.nspname = 'rowcall' and p.proname like 'capture\\_%' and p.pronargs = 0",
    )
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// The triggers that call each trigger function, with the tables they are on; clones on partitions
/// are left out.
pub(super) fn triggers_of_all(
    connection: &mut PgConnection,
) -> QueryResult<BTreeMap<String, Vec<(Relation, Present)>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        function: String,
        #[diesel(embed)]
        relation: Relation,
        #[diesel(sql_type = Text)]
        trigger: String,
        #[diesel(sql_type = Text)]
        mark: String,
    }
    let rows: Vec<Row> = sql_query(
        "select p.proname::text as function, c.oid::bigint as oid, \
             format('%I.%I', n.nspname, c.relname) as name, c.relispartition as is_partition, \
             t.tgname::text as trigger, \
             split_part(encode(t.tgargs, 'escape'), '\\000', 1) as mark \
         from pg_catalog.pg_proc p \
         join pg_catalog.pg_namespace ours on ours.oid = p.pronamespace \
         join pg_catalog.pg_trigger t on t.tgfoid = p.oid and t.tgparentid = 0 \
         join pg_catalog.pg_class c on c.oid = t.tgrelid \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where ours.nspname = 'rowcall' and p.proname like 'capture\\_%' and p.pronargs = 0 \
         order by c.oid, t.tgname",
    )
    .load(connection)?;
    let mut found: BTreeMap<String, Vec<(Relation, Present)>> = BTreeMap::new();
    for row in rows {
        let present = Present::new(Trigger::parse(&row.trigger), &row.mark);
        let of_function = found.entry(row.function).or_default();
        of_function.push((row.relation, present));
    }
    Ok(found)
}
