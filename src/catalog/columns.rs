//! The columns of object types, as expressions may name them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    model::{Catalog, ObjectType},
    shape::{Shapes, TableShape, shapes_of},
};
use crate::{
    db::{Connection, DbError},
    expr::{Hidden, ScopeColumn},
};

/// By object type, in the order of the table. An object type whose table is not there is missing.
pub type Columns = BTreeMap<String, Vec<ScopeColumn>>;

/// Reads the columns of every object type from the tables as they are now; of those of another
/// database from what the repository was told last. Blocks.
///
/// # Errors
///
/// Only those of the database.
pub fn columns_load(connection: &mut Connection, catalog: &Catalog) -> Result<Columns, DbError> {
    let shapes = shapes_of(connection, catalog.object_types.values())?;
    Ok(columns(catalog, &shapes))
}

/// As [`columns_load`], of these object types alone.
///
/// # Errors
///
/// Only those of the database.
pub fn columns_load_of(
    connection: &mut Connection,
    catalog: &Catalog,
    object_types: &BTreeSet<String>,
) -> Result<Columns, DbError> {
    if object_types.is_empty() {
        return Ok(Columns::new());
    }
    let named = object_types.iter();
    let specs = named.filter_map(|name| catalog.object_types.get_key_value(name));
    let asked: BTreeMap<&String, &ObjectType> = specs.collect();
    let shapes = shapes_of(connection, asked.values().copied())?;
    let found = asked.into_iter().filter_map(|(name, object_type)| {
        let shape = shapes.table(object_type)?;
        Some((name.clone(), columns_of(object_type, shape)))
    });
    Ok(found.collect())
}

/// The columns of every object type whose table is in `shapes`.
#[must_use]
pub fn columns(catalog: &Catalog, shapes: &Shapes) -> Columns {
    let object_types = catalog.object_types.iter();
    let found = object_types.filter_map(|(name, object_type)| {
        let shape = shapes.table(object_type)?;
        Some((name.clone(), columns_of(object_type, shape)))
    });
    found.collect()
}

fn columns_of(object_type: &ObjectType, shape: &TableShape) -> Vec<ScopeColumn> {
    let hidden = |name: &String| {
        if object_type.exclude.contains(name) {
            Some(Hidden::Excluded)
        } else if object_type.mask.contains(name) {
            Some(Hidden::Masked)
        } else {
            None
        }
    };
    let columns = shape.columns.iter();
    columns
        .map(|column| ScopeColumn {
            hidden: hidden(&column.name),
            name: column.name.clone(),
            sql_type: column.value_type.clone(),
        })
        .collect()
}
