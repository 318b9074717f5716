//! What is worth writing down of an object type that is captured with `capture = "defined"`: for
//! each operation, the conditions of its event types as SQL. Pure.
//!
//! In the function's body the conditions are guarded twice, because they name columns and the
//! writer's statement must never fail: a column that has another type than it had when they were
//! lowered makes the change captured, and so does whatever is raised, as where a column was dropped
//! or renamed. Nothing is written inside of the guard, so it costs no transaction id.

pub mod store;

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    catalog::model::{CaptureMode, Catalog, EventType, ObjectType, Operation},
    expr::{Expression, Hidden, Root, Scope, ScopeColumn, SqlColumn, identifier},
};

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// As conditions are lowered for it.
    pub sql: SqlColumn,
    /// `pg_attribute.attnum`
    pub place: i32,
    /// Its type's oid.
    pub type_oid: i64,
    /// The type as `format_type` spells it; of a domain the type below.
    pub value_type: String,
}

/// What is known of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// In its order.
    pub columns: Vec<TableColumn>,
    /// Whether a row may move from one partition to another.
    pub is_partitioned: bool,
    /// Whether text is UTF-8; else nothing is lowered.
    pub is_utf8: bool,
}

/// Whether changes of one operation are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No event type is on it.
    Never,
    /// Every one.
    Always,
    /// Those of which a condition is true.
    If {
        /// A boolean expression over `old` and `new`; false and null are alike.
        sql: String,
        /// The columns that it names, each with a row that it is taken from.
        columns: BTreeMap<String, Root>,
    },
}

/// The verdicts on the three operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts([Verdict; 3]);

impl Verdicts {
    /// Of an object type of the catalogue.
    #[must_use]
    pub fn of(name: &str, object_type: &ObjectType, catalog: &Catalog, table: &Table) -> Self {
        if object_type.capture == CaptureMode::All {
            return Self([Verdict::Always, Verdict::Always, Verdict::Always]);
        }
        let scope = Scope::rows(scope_columns(object_type, table)).without_subscription();
        let of_rows: Vec<&EventType> = catalog
            .event_types
            .values()
            .filter(|event_type| event_type.object_type.as_deref() == Some(name))
            .collect();
        let is_on_update = of_rows
            .iter()
            .any(|event_type| event_type.operations().contains(&Operation::Update));
        Self(Operation::ALL.map(|operation| {
            // A row that moves to another partition is deleted here and inserted there. Publishing
            // makes the update of the two that it is, and needs both.
            if table.is_partitioned && is_on_update && operation != Operation::Update {
                return Verdict::Always;
            }
            let on = of_rows
                .iter()
                .filter(|event_type| event_type.operations().contains(&operation));
            one_of(on.map(|event_type| condition(event_type, operation, &scope, table)))
        }))
    }

    /// The verdict on an operation.
    #[must_use]
    pub fn on(&self, operation: Operation) -> &Verdict {
        &self.0[operation as usize]
    }

    /// What the function does before everything else: a block that returns if the change is not
    /// worth it. `None` if all are.
    #[must_use]
    pub fn body(&self, table: &Table) -> Option<String> {
        if self.0.iter().all(|verdict| *verdict == Verdict::Always) {
            return None;
        }
        let mut branches = String::new();
        // The most frequent first.
        for (operation, word) in [
            (Operation::Update, "UPDATE"),
            (Operation::Create, "INSERT"),
            (Operation::Delete, "DELETE"),
        ] {
            let is_wanted = match self.on(operation) {
                Verdict::Always => continue,
                Verdict::Never => "false".to_owned(),
                Verdict::If { sql, columns } => format!(
                    "({} and ({sql}) is not true) is not true",
                    is_as_it_was(columns, table)
                ),
            };
            let _ = writeln!(
                branches,
                "            when tg_op operator(pg_catalog.=) '{word}'::pg_catalog.text then {is_wanted}"
            );
        }
        Some(format!(
            "    -- What no event type can match is not written down. A column may be dropped, renamed or retyped
    -- at any time, which raises here, and then the change is captured. It is one expression, because a
    -- transaction makes each of them ready anew.
    begin
        if not (case
{branches}            else true end) then
            return null;
        end if;
    exception when others then
        null;
    end;
"
        ))
    }

    /// The conditions for triggers' WHEN, on each operation that is captured at all.
    pub fn when_clauses(&self) -> impl Iterator<Item = (Operation, Option<&str>)> {
        Operation::ALL
            .into_iter()
            .filter_map(|operation| match self.on(operation) {
                Verdict::Never => None,
                Verdict::Always => Some((operation, None)),
                Verdict::If { sql, .. } => Some((operation, Some(sql.as_str()))),
            })
    }
}

/// Whether the columns have the types for which the condition was lowered.
fn is_as_it_was(columns: &BTreeMap<String, Root>, table: &Table) -> String {
    let tests: Vec<String> = columns
        .iter()
        .filter_map(|(name, root)| {
            let column = table.columns.iter().find(|c| c.sql.name == *name)?;
            Some(format!(
                "pg_catalog.pg_typeof({}.{}) operator(pg_catalog.=) '{}'::pg_catalog.oid",
                root.name(),
                identifier(name),
                column.type_oid
            ))
        })
        .collect();
    if tests.is_empty() {
        "true".to_owned()
    } else {
        tests.join(" and ")
    }
}

fn condition(
    event_type: &EventType,
    operation: Operation,
    scope: &Scope,
    table: &Table,
) -> Verdict {
    let Some(source) = &event_type.when else {
        return Verdict::Always;
    };
    // A condition that fits the table no more may fit it again when these changes are published.
    let Ok(expression) = Expression::compile(source, scope) else {
        return Verdict::Always;
    };
    if !table.is_utf8 {
        return Verdict::Always;
    }
    let columns: Vec<SqlColumn> = table.columns.iter().map(|c| c.sql.clone()).collect();
    let lowered = expression.lower(operation, &columns);
    match lowered.sql.as_str() {
        "true" => Verdict::Always,
        "false" | "null::pg_catalog.bool" => Verdict::Never,
        _ => Verdict::If {
            sql: lowered.sql,
            columns: lowered.columns,
        },
    }
}

fn one_of(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let (mut either, mut named) = (Vec::new(), BTreeMap::new());
    for verdict in verdicts {
        match verdict {
            Verdict::Always => return Verdict::Always,
            Verdict::Never => {}
            Verdict::If { sql, columns } => {
                if !either.contains(&sql) {
                    either.push(sql);
                }
                named.extend(columns);
            }
        }
    }
    let sql = either.join(" or ");
    if either.is_empty() {
        Verdict::Never
    } else if sql.len() > VERDICT_BYTES_MAX {
        Verdict::Always
    } else {
        Verdict::If {
            sql,
            columns: named,
        }
    }
}

/// Bytes of the conditions of one operation together; beyond it, every change is captured.
pub const VERDICT_BYTES_MAX: usize = 256 * 1024;

fn scope_columns(object_type: &ObjectType, table: &Table) -> Vec<ScopeColumn> {
    let hidden = |name: &String| {
        if object_type.exclude.contains(name) {
            Some(Hidden::Excluded)
        } else {
            let is_masked = object_type.mask.contains(name);
            is_masked.then_some(Hidden::Masked)
        }
    };
    let columns = table.columns.iter();
    columns
        .map(|column| ScopeColumn {
            hidden: hidden(&column.sql.name),
            name: column.sql.name.clone(),
            sql_type: column.value_type.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
