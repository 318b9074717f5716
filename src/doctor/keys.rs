//! Keys and hidden columns against the tables as they are now. Pure.

use super::{finding::Finding, quoted};
use crate::{
    capture::install::function::identifier,
    catalog::{
        model::{Catalog, ObjectType},
        shape::{Cover, Shapes, TableShape},
    },
};

pub(super) fn check(catalog: &Catalog, shapes: &Shapes) -> Vec<Finding> {
    let object_types = catalog.object_types.iter();
    let there = object_types.filter_map(|(name, object_type)| {
        let shape = shapes.tables.get(&object_type.table)?;
        Some((name, object_type, shape))
    });
    there
        .flat_map(|(name, object_type, shape)| {
            let mut findings = key(name, object_type, shape);
            findings.extend(hidden(name, object_type, shape));
            findings
        })
        .collect()
}

fn key(name: &str, object_type: &ObjectType, shape: &TableShape) -> Vec<Finding> {
    let ObjectType { table, key, .. } = object_type;
    let subject = quoted(table);
    let mut findings = Vec::new();
    for column in key {
        match shape.column(column) {
            None => {
                let text = format!(
                    "the key column `{column}` of `{name}` was renamed or dropped: its changes \
                     become gaps, events without an object"
                );
                let remedy = "name the key's columns as they are now in the metadata and apply it, \
                              or rename the column back";
                findings.push(Finding::error("key-column-gone", &subject, text).remedy(remedy));
            }
            Some(found) if !found.not_null => {
                let text = format!(
                    "the key column `{column}` of `{name}` may be null, and a row without a key \
                     becomes a gap, an event without an object"
                );
                let remedy = format!(
                    "ALTER TABLE {subject} ALTER COLUMN {} SET NOT NULL;",
                    identifier(column)
                );
                findings.push(Finding::error("key-nullable", &subject, text).remedy(remedy));
            }
            Some(_) => {}
        }
    }
    if !findings.is_empty() {
        return findings;
    }
    let columns: Vec<String> = key.iter().map(|column| identifier(column)).collect();
    let remedy = format!("ALTER TABLE {subject} ADD UNIQUE ({});", columns.join(", "));
    match shape.cover(key) {
        Cover::Always => {}
        Cover::AtCommit => {
            let text = format!(
                "the key of `{name}` is unique only at commit (deferrable), so two objects may \
                 share a key for a while, and the order of their events is not promised"
            );
            findings.push(Finding::warning("key-deferrable", &subject, text).remedy(remedy));
        }
        Cover::Never => {
            let text = format!(
                "no unique index covers the key of `{name}` any more, so objects can't be told \
                 apart, and the order of their events is not promised"
            );
            findings.push(Finding::error("key-not-unique", &subject, text).remedy(remedy));
        }
    }
    findings
}

/// A column that is to be hidden and is not there: if it was renamed, it is told.
fn hidden<'a>(
    name: &'a str,
    object_type: &'a ObjectType,
    shape: &'a TableShape,
) -> impl Iterator<Item = Finding> + 'a {
    let lists = [
        ("exclude", &object_type.exclude),
        ("mask", &object_type.mask),
    ];
    let named = lists
        .into_iter()
        .flat_map(|(list, columns)| columns.iter().map(move |column| (list, column)));
    named
        .filter(|(_, column)| shape.column(column).is_none())
        .map(move |(list, column)| {
            let text = format!(
                "`{list}` of `{name}` names the column `{column}`, which the table does not have: \
                 if it was renamed, its values are told now"
            );
            let remedy = format!(
                "name the column as it is now in `{list}` and apply the metadata, or take it off \
                 the list if it was dropped"
            );
            let subject = quoted(&object_type.table);
            Finding::error("hidden-column-gone", subject, text).remedy(remedy)
        })
}
