//! One object type of the folder against the table it names. Pure.

use super::{
    load::Item,
    model::{CaptureMode, ObjectType, TableName},
    problem::{Problem, Warning},
    shape::{Cover, OWN_SCHEMA, SYSTEM_SCHEMAS, Shapes, TableShape},
    suggestion::suggestion,
};
use crate::nearest::nearest;

/// Key columns of an object type; a Postgres index has no more.
const KEY_COLUMNS_MAX: usize = 32;

/// Adds what is wrong with `item` to `problems`, and what will surprise to `warnings`.
pub(super) fn check(
    item: &Item<ObjectType>,
    shapes: &Shapes,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) {
    let table = &item.spec.table;
    if item.spec.when_clause && item.spec.capture == CaptureMode::All {
        let message = "`when_clause` judges what is captured, and `capture = \"all\"` captures \
                       every change";
        problems.push(
            at(item, "/when_clause", message)
                .help("write capture = \"defined\" as well, or leave `when_clause` out"),
        );
    }
    if let Some(problem) = forbidden_schema(item) {
        problems.push(problem);
        return;
    }
    let Some(shape) = shapes.tables.get(table) else {
        problems.push(absent(item, &shapes.candidates));
        return;
    };
    if let Some((what, help)) = refused_kind(table, shape) {
        problems.push(at(item, "/table", what).help(help));
        return;
    }
    if !shape.can_trigger {
        let message = format!(
            "the role `{}` may not create triggers on `{table}`",
            shapes.role
        );
        let grant = format!(
            "as its owner: GRANT TRIGGER ON {} TO {};",
            sql_name(table),
            identifier(&shapes.role)
        );
        problems.push(at(item, "/table", message).help(grant));
    }
    check_columns(item, shape, problems);
    check_key(item, shape, problems, warnings);
}

fn at(item: &Item<ObjectType>, pointer: &str, message: impl Into<String>) -> Problem {
    Problem::new(item.places.at(pointer), message)
}

fn forbidden_schema(item: &Item<ObjectType>) -> Option<Problem> {
    let table = &item.spec.table;
    let schema = table.schema.as_str();
    let message = if schema == OWN_SCHEMA {
        format!("`{table}` is Rowcall's own")
    } else if SYSTEM_SCHEMAS.contains(&schema) || schema.starts_with("pg_") {
        format!("`{table}` is in a schema of Postgres itself")
    } else {
        return None;
    };
    Some(at(item, "/table", message).help("an object type presents a table of your application"))
}

fn absent(item: &Item<ObjectType>, candidates: &[TableName]) -> Problem {
    let table = &item.spec.table;
    // A slip in the table's name, or the right table in the wrong schema. The names are compared by
    // themselves: a schema that is right would make any two of its tables look alike.
    let here = candidates
        .iter()
        .filter(|known| known.schema == table.schema);
    let slip = nearest(&table.table, here.map(|known| known.table.as_str()));
    let near = match slip {
        Some(name) => Some(format!("{}.{name}", table.schema)),
        None => candidates
            .iter()
            .find(|known| known.table == table.table)
            .or_else(|| near_anywhere(table, candidates))
            .map(ToString::to_string),
    };
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write the schema and the table as the database has them, upper and lower case \
                 included, and create the table before its metadata is applied"
            .to_owned(),
    };
    at(item, "/table", format!("there is no table `{table}`")).help(help)
}

/// The table of any schema whose name is most like that of `table`.
fn near_anywhere<'a>(table: &TableName, candidates: &'a [TableName]) -> Option<&'a TableName> {
    let name = nearest(
        &table.table,
        candidates.iter().map(|known| known.table.as_str()),
    )?;
    candidates.iter().find(|known| known.table == name)
}

fn refused_kind(table: &TableName, shape: &TableShape) -> Option<(String, &'static str)> {
    if shape.temporary {
        return Some((
            format!("`{table}` is a temporary table"),
            "name a table that other sessions see",
        ));
    }
    let (what, help) = match shape.kind {
        'r' | 'p' => return None,
        'v' => (
            "a view, whose rows don't change by themselves",
            "name the table that the view reads",
        ),
        'm' => (
            "a materialized view, whose rows are only ever made anew",
            "name the table that the view reads",
        ),
        'f' => (
            "a foreign table, whose changes happen in another database",
            "run Rowcall with the database where the table is",
        ),
        _ => ("not a table", "name a table, partitioned or not"),
    };
    Some((format!("`{table}` is {what}"), help))
}

fn check_columns(item: &Item<ObjectType>, shape: &TableShape, problems: &mut Vec<Problem>) {
    let ObjectType {
        table,
        key,
        exclude,
        mask,
        ..
    } = &item.spec;
    let known: Vec<&str> = shape
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    for (list, columns) in [("key", key), ("exclude", exclude), ("mask", mask)] {
        for (index, column) in columns.iter().enumerate() {
            let pointer = format!("/{list}/{index}");
            if shape.column(column).is_none() {
                problems.push(
                    at(
                        item,
                        &pointer,
                        format!("`{table}` has no column `{column}`"),
                    )
                    .help(suggestion(column, &known)),
                );
            } else if columns[..index].contains(column) {
                problems.push(at(
                    item,
                    &pointer,
                    format!("`{column}` is named twice in `{list}`"),
                ));
            } else if list != "key" && key.contains(column) {
                problems.push(
                    at(
                        item,
                        &pointer,
                        format!("`{column}` is a key column and can't be in `{list}`"),
                    )
                    .help(
                        "subscribers are told the key; to hide this column, name another unique \
                         key",
                    ),
                );
            } else if list == "mask" && exclude.contains(column) {
                problems.push(
                    at(
                        item,
                        &pointer,
                        format!("`{column}` is both in `exclude` and in `mask`"),
                    )
                    .help("exclude leaves the column out, mask carries it as `***`: keep one"),
                );
            }
        }
    }
}

fn check_key(
    item: &Item<ObjectType>,
    shape: &TableShape,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) {
    let ObjectType { table, key, .. } = &item.spec;
    if key.is_empty() {
        let (message, help) = missing_key(table, shape);
        problems.push(at(item, "/key", message).help(help));
        return;
    }
    if key.len() > KEY_COLUMNS_MAX {
        let message = format!("the key has more than {KEY_COLUMNS_MAX} columns");
        problems.push(at(item, "/key", message));
        return;
    }
    let mut is_sound = true;
    for (index, name) in key.iter().enumerate() {
        let Some(column) = shape.column(name) else {
            is_sound = false;
            continue;
        };
        if !column.not_null {
            is_sound = false;
            let help = format!(
                "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL;{}",
                sql_name(table),
                identifier(name),
                or_natural_key(key, shape)
            );
            let message = format!("the key column `{name}` of `{table}` may be null");
            problems.push(at(item, &format!("/key/{index}"), message).help(help));
        }
    }
    if !is_sound {
        return;
    }
    match shape.cover(key) {
        Cover::Always => {}
        Cover::AtCommit => warnings.push(Warning {
            place: Some(item.places.at("/key")),
            message: format!(
                "the key of {} is unique only at commit (deferrable), so two of its objects may \
                 share a key for a while, and the order of their events is not promised",
                item.name
            ),
        }),
        Cover::Never => {
            let columns: Vec<String> = key.iter().map(|name| identifier(name)).collect();
            let help = format!(
                "ALTER TABLE {} ADD UNIQUE ({});{}",
                sql_name(table),
                columns.join(", "),
                or_natural_key(key, shape)
            );
            let message = format!(
                "no unique index of `{table}` covers the key {}, so objects could not be told apart",
                list(key)
            );
            problems.push(at(item, "/key", message).help(help));
        }
    }
}

fn missing_key(table: &TableName, shape: &TableShape) -> (String, String) {
    if let Some(primary) = shape.primary_key() {
        let message = "`key` is missing: the columns that tell one object from another";
        let help = format!(
            "the primary key of `{table}` is meant? write key = {}",
            list(primary)
        );
        return (message.to_owned(), help);
    }
    let message = format!("`key` is missing, and table `{table}` has no primary key");
    let help = match shape.natural_key() {
        Some(natural) => format!("it has a unique key: write key = {}", list(natural)),
        None => format!(
            "give it one (ALTER TABLE {} ADD PRIMARY KEY (...);), or name the columns of a unique \
             not-null key",
            sql_name(table)
        ),
    };
    (message, help)
}

/// The way out that needs no change of the table, if there is one.
fn or_natural_key(key: &[String], shape: &TableShape) -> String {
    match shape.natural_key() {
        Some(natural) if natural != key => format!(" or write key = {}", list(natural)),
        _ => String::new(),
    }
}

/// `["order_id", "line"]`.
fn list(names: &[String]) -> String {
    format!("{names:?}")
}

fn sql_name(table: &TableName) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.table))
}

/// A name as SQL takes it: in quotes, unless it needs none.
fn identifier(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(at, byte)| {
        byte.is_ascii_lowercase() || byte == b'_' || at > 0 && byte.is_ascii_digit()
    });
    // A plain name may still be a keyword; quotes would be right then too, but these are for
    // people.
    if plain && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Reserved words that people do name tables and columns after.
const KEYWORDS: [&str; 12] = [
    "order",
    "user",
    "group",
    "table",
    "column",
    "end",
    "from",
    "to",
    "check",
    "default",
    "limit",
    "references",
];
