//! The shape of the real tables, as far as object types depend on it. Read by [`shape_read`] from
//! the database where they are. Of those of other databases the repository keeps a copy, so that it
//! can do without them: [`shape_stored`].

mod store;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use store::{shape_read, shape_stored, shape_write, shapes_of};

use super::model::{ObjectType, SourceName, TableName};

/// Schemas whose tables are nobody's business objects.
pub const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "pg_toast"];

/// Rowcall's own schema.
pub const OWN_SCHEMA: &str = "rowcall";

/// What the database has of the tables that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// The role that looked, and that will install the triggers.
    pub role: String,
    /// The relations that are there.
    pub tables: BTreeMap<TableName, TableShape>,
    /// Tables that could have been meant by one that is not there; empty if all are.
    pub candidates: Vec<TableName>,
    /// The other databases that are configured.
    pub elsewhere: BTreeMap<SourceName, Elsewhere>,
}

/// What another database has of the tables that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// The tables as they are now or, if they can't be looked at, as they were once.
    pub shapes: Shapes,
    /// Why they can't be looked at now.
    pub unreachable: Option<String>,
    /// The object types that run as the folder has them.
    pub unchanged: BTreeSet<String>,
}

impl Shapes {
    /// The table of an object type, in whatever database it is.
    #[must_use]
    pub fn table(&self, object_type: &ObjectType) -> Option<&TableShape> {
        let shapes = if object_type.source.is_default() {
            self
        } else {
            &self.elsewhere.get(&object_type.source)?.shapes
        };
        shapes.tables.get(&object_type.table)
    }
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// `pg_class.relkind`.
    pub kind: char,
    /// Whether it is a temporary table.
    pub temporary: bool,
    /// Whether the role may create triggers on it.
    pub can_trigger: bool,
    /// Whether the role owns it, directly or as a member.
    pub owned: bool,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// Its unique indexes, the primary key's first.
    pub uniques: Vec<Unique>,
    /// The columns that say in which partition a row is, those of all levels.
    #[serde(default)]
    pub partitioned_by: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, without quotes.
    pub name: String,
    /// The type with its bounds, such as `numeric(10,2)`.
    pub type_name: String,
    /// The type's OID.
    pub type_oid: u32,
    /// As `type_name`; of a domain the type below it.
    pub value_type: String,
    /// `pg_type.typtype`: `b` base, `d` domain, `e` enum, `c` composite, `r` range.
    pub type_kind: char,
    /// Whether it is declared not null.
    pub not_null: bool,
}

/// A unique index, of a constraint or by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The columns that are unique together; an expression is empty.
    pub columns: Vec<String>,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether each statement leaves it unique. A deferrable one may be broken until the commit.
    pub immediate: bool,
    /// Whether it covers every row: a partial index does not.
    pub whole: bool,
}

/// Whether a list of columns tells one row from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// At every moment.
    Always,
    /// At commit: two rows may share a key for a while, so their order can't be told.
    AtCommit,
    /// Two rows may have the same values.
    Never,
}

impl TableShape {
    /// The primary key's columns; `None` without one.
    #[must_use]
    pub fn primary_key(&self) -> Option<&[String]> {
        self.uniques
            .iter()
            .find(|unique| unique.primary)
            .map(|unique| unique.columns.as_slice())
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether no two rows have the same values in `columns`, which must be not null.
    #[must_use]
    pub fn cover(&self, columns: &[String]) -> Cover {
        let covering = |unique: &&Unique| {
            unique.whole && unique.columns.iter().all(|column| columns.contains(column))
        };
        let mut covers = self.uniques.iter().filter(covering).peekable();
        if covers.peek().is_none() {
            Cover::Never
        } else if covers.any(|unique| unique.immediate) {
            Cover::Always
        } else {
            Cover::AtCommit
        }
    }

    /// The columns that tell rows apart best: the primary key, or else a unique index of not-null
    /// columns.
    #[must_use]
    pub fn natural_key(&self) -> Option<&[String]> {
        let usable = |unique: &&Unique| {
            unique.whole
                && unique
                    .columns
                    .iter()
                    .all(|name| self.column(name).is_some_and(|column| column.not_null))
        };
        self.primary_key().or_else(|| {
            self.uniques
                .iter()
                .find(usable)
                .map(|unique| unique.columns.as_slice())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn table(uniques: &[(&[&str], bool, bool)]) -> TableShape {
        TableShape {
            partitioned_by: Vec::new(),
            kind: 'r',
            temporary: false,
            can_trigger: true,
            owned: true,
            columns: Vec::new(),
            uniques: uniques
                .iter()
                .map(|(columns, immediate, whole)| Unique {
                    columns: strings(columns),
                    primary: false,
                    immediate: *immediate,
                    whole: *whole,
                })
                .collect(),
        }
    }

    #[test]
    fn a_key_is_covered_by_a_unique_index_of_some_of_its_columns() {
        let id: (&[&str], bool, bool) = (&["id"], true, true);
        let pair: (&[&str], bool, bool) = (&["id", "at"], true, true);
        let deferred: (&[&str], bool, bool) = (&["id"], false, true);
        let partial: (&[&str], bool, bool) = (&["id"], true, false);
        let expression: (&[&str], bool, bool) = (&[""], true, true);
        for (uniques, key, expected) in [
            (vec![id], vec!["id"], Cover::Always),
            (vec![id], vec!["at", "id"], Cover::Always),
            (vec![pair], vec!["at", "id"], Cover::Always),
            (vec![pair], vec!["id"], Cover::Never),
            (vec![deferred], vec!["id"], Cover::AtCommit),
            (vec![deferred, id], vec!["id"], Cover::Always),
            (vec![partial, expression], vec!["id"], Cover::Never),
            (vec![], vec!["id"], Cover::Never),
        ] {
            assert_eq!(
                table(&uniques).cover(&strings(&key)),
                expected,
                "{uniques:?} {key:?}"
            );
        }
    }
}
