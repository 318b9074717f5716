//! The statement that reads the next rows of a table. Pure: what it needs to know of the table is
//! passed in.
//!
//! One statement is one snapshot, and it gives that snapshot with the rows: what it reads is the
//! table as of then. Rows come in the order of the key, each column compared as the column is, so
//! the next statement goes on behind the last row, by the key's index. A row becomes JSON by the
//! expression that the capture triggers use.

pub(super) mod store;

use crate::{
    capture::install::{
        function::{Function, identifier},
        rendering::Column,
    },
    catalog::model::ObjectType,
    expr::literal,
};

/// A table that rows are read of: the object type's, or one that inherits from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its oid.
    pub(super) oid: i64,
    /// Quoted, with its schema.
    pub(super) name: String,
    /// It is read with its partitions, as opposed to by itself.
    pub(super) is_partitioned: bool,
}

/// A key column, in the order in which rows are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// As Postgres keeps it.
    pub(super) name: String,
    /// The type as SQL writes it.
    pub(super) type_name: String,
    /// Quoted, with its schema, if texts of the column are compared by one.
    pub(super) collation: Option<String>,
    /// The schema of the type's own operators, quoted, if they are not Postgres' own: by name they
    /// would not be found, and others taken in their place.
    pub(super) operators: Option<String>,
}

/// What is read.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) part: &'a Part,
    pub(super) key: &'a [KeyColumn],
    pub(super) object_type: &'a ObjectType,
    pub(super) columns: &'a [Column],
    /// The key of the last row before, as text, in the order of `key`.
    pub(super) after: Option<&'a [String]>,
    /// Only rows with these keys, each in the order of `key`; `None`: all.
    pub(super) only: Option<&'a [Vec<String>]>,
    pub(super) rows_max: usize,
    /// Of images, unless the first is larger.
    pub(super) bytes_max: usize,
    /// Larger images are left out.
    pub(super) value_bytes_max: u32,
    /// False: images are left out, because one can't be made.
    pub(super) has_images: bool,
}

impl Query<'_> {
    /// The statement. It always gives one row at least, for the snapshot.
    pub(super) fn sql(&self) -> String {
        let key_columns: Vec<String> = self
            .key
            .iter()
            .map(|column| format!("t.{}", identifier(&column.name)))
            .collect();
        let key_texts: Vec<String> = key_columns
            .iter()
            .map(|column| format!("format('%s', {column})"))
            .collect();
        let order = key_columns.join(", ");
        let function = Function {
            target: 0,
            rotation: 0,
            object_type: self.object_type,
            columns: self.columns,
            value_bytes_max: self.value_bytes_max,
            bell: None,
            verdict: None,
        };
        let (image, key_image) = if self.has_images {
            (function.image("t"), self.key_of_image())
        } else {
            ("null::json".to_owned(), "c.key_image".to_owned())
        };
        let key_row = if self.has_images {
            "null::json".to_owned()
        } else {
            self.key_of_row()
        };
        format!(
            "with chunk as materialized ( \
                 select row_number() over (order by {order}) as place, \
                     array[{key_texts}]::text[] as key, {image} as image, {key_row} as key_image \
                 from {only}{table} as t{conditions} order by {order} limit {rows_max} \
             ), sized as ( \
                 select place, key, image, key_image, pg_column_size(image)::bigint as bytes, \
                     coalesce(sum(pg_column_size(image)) over (order by place \
                         rows between unbounded preceding and 1 preceding), 0) as ahead \
                 from chunk \
             ) \
             select pg_current_snapshot()::text as snapshot, statement_timestamp() as at, \
                 (select count(*) from chunk) as found, c.key, c.bytes, \
                 case when c.bytes <= {value_bytes_max} then c.image::text end as image, \
                 case when c.bytes > {value_bytes_max} or c.bytes is null \
                     then {key_image}::text end as key_image \
             from (select 1) as one left join sized as c on c.ahead < {bytes_max} \
             order by c.place",
            key_texts = key_texts.join(", "),
            only = if self.part.is_partitioned {
                ""
            } else {
                "only "
            },
            table = self.part.name,
            conditions = self.conditions(&order),
            rows_max = self.rows_max,
            bytes_max = self.bytes_max,
            value_bytes_max = self.value_bytes_max,
        )
    }

    fn conditions(&self, order: &str) -> String {
        let mut conditions = Vec::new();
        if let Some(after) = self.after {
            conditions.push(self.behind(order, after));
        }
        if let Some(only) = self.only {
            let keys: Vec<String> = only
                .iter()
                .map(|key| {
                    let columns = self.key.iter().zip(key);
                    let equal: Vec<String> =
                        columns.map(|(column, text)| column.is("=", text)).collect();
                    format!("({})", equal.join(" and "))
                })
                .collect();
            conditions.push(format!("({})", keys.join(" or ")));
        }
        if conditions.is_empty() {
            return String::new();
        }
        format!(" where {}", conditions.join(" and "))
    }

    /// That a row comes after the one with the key `after`.
    fn behind(&self, order: &str, after: &[String]) -> String {
        let columns: Vec<(&KeyColumn, &String)> = self.key.iter().zip(after).collect();
        if self.key.iter().all(|column| column.operators.is_none()) {
            let values: Vec<String> = columns
                .iter()
                .map(|(column, text)| column.value(text))
                .collect();
            return format!("({order}) > ({})", values.join(", "));
        }
        // Rows can't be compared by operators of several schemas. The first condition is for the
        // index.
        let mut ahead = Vec::new();
        let mut cases = Vec::new();
        for (column, text) in &columns {
            let mut case = ahead.clone();
            case.push(column.is(">", text));
            cases.push(format!("({})", case.join(" and ")));
            ahead.push(column.is("=", text));
        }
        let first = columns.first();
        let bound = first.map_or(String::new(), |(column, text)| column.is(">=", text));
        format!("{bound} and ({})", cases.join(" or "))
    }

    /// The key of a row whose image is there, as the triggers make it.
    fn key_of_image(&self) -> String {
        let members = self.object_type.key.iter().map(|column| {
            let name = literal(column);
            format!("{name}, c.image -> {name}")
        });
        object(members)
    }

    /// The key of a row whose image can't be made.
    fn key_of_row(&self) -> String {
        let members = self.object_type.key.iter().map(|name| {
            let is_cast = self
                .columns
                .iter()
                .any(|column| column.name == *name && column.has_user_cast);
            let column = format!("t.{}", identifier(name));
            // By the type's own output: a cast that somebody defined would run with our rights.
            let value = if is_cast {
                format!("format('%s', {column})")
            } else {
                column
            };
            format!("{}, {value}", literal(name))
        });
        object(members)
    }
}

impl KeyColumn {
    /// A value of the column as SQL, of its type and compared by its collation.
    fn value(&self, text: &str) -> String {
        let collation = self
            .collation
            .as_ref()
            .map_or(String::new(), |collation| format!(" collate {collation}"));
        format!("{}::{}{collation}", literal(text), self.type_name)
    }

    /// The column compared with a value.
    fn is(&self, operator: &str, text: &str) -> String {
        let schema = self.operators.as_deref().unwrap_or("pg_catalog");
        let (column, value) = (identifier(&self.name), self.value(text));
        format!("t.{column} operator({schema}.{operator}) {value}")
    }
}

fn object(members: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = members.collect();
    format!("json_build_object({})", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted_whatever_they_hold() {
        // GIVEN a table, a column and a key that try to be more than names and values
        let object_type: ObjectType =
            serde_json::from_str(r#"{"table": "a.b", "key": ["o\"x", "n"]}"#).unwrap();
        let part = Part {
            oid: 1,
            name: "a.b".to_owned(),
            is_partitioned: false,
        };
        let column = |name: &str, type_name: &str, collation: Option<&str>| KeyColumn {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            collation: collation.map(str::to_owned),
            operators: None,
        };
        let key = [
            column("o\"x", "text", Some("pg_catalog.\"C\"")),
            column("n", "integer", None),
        ];
        let after = ["it's \\ ".to_owned(), "7".to_owned()];
        // WHEN the statement is made
        let sql = Query {
            part: &part,
            key: &key,
            object_type: &object_type,
            columns: &[],
            after: Some(&after),
            only: None,
            rows_max: 10,
            bytes_max: 100,
            value_bytes_max: 50,
            has_images: true,
        }
        .sql();
        // THEN they are only that, and each value has its column's type and collation
        let expected = "where (t.\"o\"\"x\", t.\"n\") > \
            (E'it''s \\\\ '::text collate pg_catalog.\"C\", '7'::integer) order by";
        assert!(sql.contains(expected), "{sql}");
        assert!(sql.contains("from only a.b as t"), "{sql}");
    }
}
