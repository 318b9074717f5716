//! The tables of the catalogue as they are, and the triggers and functions that are there: read for
//! all of them at once, with one statement for each kind of thing. Upkeep looks at them every half
//! a minute, and an instance may have hundreds of object types.

pub(super) mod store;

use std::collections::{BTreeMap, BTreeSet};

use self::store::{Found, columns_of, functions_read, relations_of, tables_find, triggers_of_all};
use super::{
    rendering::Column,
    store::Relation,
    verdict::{
        Table,
        store::{Present, database_is_utf8, table_columns},
    },
};
use crate::{
    catalog::model::{CaptureMode, ObjectType, TableName},
    db::{Connection, QueryError},
};

/// What there is, as of the reading.
#[derive(PartialEq, Eq)]
pub(super) struct Tables {
    found: BTreeMap<TableName, Found>,
    columns: BTreeMap<i64, Vec<Column>>,
    relations: BTreeMap<i64, Vec<Relation>>,
    /// Of the tables whose changes are judged.
    judged: BTreeMap<i64, Table>,
    functions: BTreeSet<String>,
    triggers: BTreeMap<String, Vec<(Relation, Present)>>,
}

impl Tables {
    /// Reads it for these object types.
    pub(super) fn read(
        connection: &mut Connection,
        object_types: &[&ObjectType],
    ) -> Result<Self, QueryError> {
        let names: Vec<&TableName> = object_types.iter().map(|one| &one.table).collect();
        let found = tables_find(connection, &names)?;
        let oids: Vec<i64> = found.values().map(|table| table.oid).collect();
        // Two object types may be of one table.
        let judged: BTreeMap<i64, bool> = object_types
            .iter()
            .filter(|one| one.capture == CaptureMode::Defined)
            .filter_map(|one| found.get(&one.table))
            .map(|table| (table.oid, table.is_partitioned))
            .collect();
        Ok(Self {
            columns: columns_of(connection, &oids)?,
            relations: relations_of(connection, &oids)?,
            judged: judged_read(connection, &judged)?,
            functions: functions_read(connection)?,
            triggers: triggers_of_all(connection)?,
            found,
        })
    }

    /// The table's oid; none if there is no such table.
    pub(super) fn oid(&self, table: &TableName) -> Option<i64> {
        self.found.get(table).map(|found| found.oid)
    }

    /// The columns of a table and its children.
    pub(super) fn columns(&self, oid: i64) -> &[Column] {
        self.columns.get(&oid).map_or(&[], Vec::as_slice)
    }

    /// A table with everything that inherits from it.
    pub(super) fn relations(&self, oid: i64) -> &[Relation] {
        self.relations.get(&oid).map_or(&[], Vec::as_slice)
    }

    /// The table as conditions are lowered for it; none if no object type of it is judged.
    pub(super) fn judged(&self, oid: i64) -> Option<&Table> {
        self.judged.get(&oid)
    }

    /// Whether the trigger function is there.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }

    /// The triggers that call a function, with the tables they are on.
    pub(super) fn triggers(&self, function: &str) -> &[(Relation, Present)] {
        self.triggers.get(function).map_or(&[], Vec::as_slice)
    }
}

/// The tables by oid, each with whether it is partitioned, as conditions see them.
fn judged_read(
    connection: &mut Connection,
    tables: &BTreeMap<i64, bool>,
) -> Result<BTreeMap<i64, Table>, QueryError> {
    if tables.is_empty() {
        return Ok(BTreeMap::new());
    }
    let oids: Vec<i64> = tables.keys().copied().collect();
    let mut columns = table_columns(connection, &oids)?;
    let is_utf8 = database_is_utf8(connection)?;
    let table = |(&oid, &is_partitioned): (&i64, &bool)| {
        let table = Table {
            columns: columns.remove(&oid).unwrap_or_default(),
            is_partitioned,
            is_utf8,
        };
        (oid, table)
    };
    Ok(tables.iter().map(table).collect())
}
