//! Columns by their real types, and whether one has changed.

use super::{
    Lowering,
    cond::Cond,
    operand::{Class, NumberForm, Operand, Sql, TimeForm},
    quote::identifier,
};
use crate::{
    catalog::model::Operation,
    expr::{
        program::{Column, Root},
        value::Kind,
    },
};

/// A column as Postgres has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type; of a domain the type below it.
    pub r#type: SqlType,
}

/// The types that conditions are lowered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlType {
    /// `boolean`
    Bool,
    /// `smallint`, `integer`, `bigint`
    Int,
    /// `numeric`; with its digits before and behind the point, if they are bounded.
    Numeric(Option<(u16, u16)>),
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `text`, `varchar`, `name`, and others that become `text` without a function, as `citext`.
    Text,
    /// `char(n)`
    Padded,
    /// `uuid`
    Uuid,
    /// An enum; a domain over one is [`Other`](Self::Other).
    Enum,
    /// `timestamp with time zone`
    Timestamptz,
    /// `timestamp`
    Timestamp,
    /// `date`
    Date,
    /// `interval`
    Interval,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// Anything else: only whether it is null can be said.
    Other,
}

impl Lowering<'_> {
    /// Whether a column of any type is null.
    pub(super) fn column_is_null(&self, column: &Column) -> Option<Cond> {
        let place = self.reference(column)?;
        let known = self.columns.iter().find(|c| c.name == *column.name)?;
        let type_of = |function| {
            // JSON's null is null.
            format!(
                "coalesce(pg_catalog.{function}({place}) operator(pg_catalog.=) \
                 'null'::pg_catalog.text, true)"
            )
        };
        let test = Cond::of(match known.r#type {
            SqlType::Json => type_of("json_typeof"),
            SqlType::Jsonb => type_of("jsonb_typeof"),
            // This form needs no operator, and takes a row of nulls for a value.
            _ => format!("({place} is not distinct from null)"),
        });
        // What can't be read fails here, too.
        Some(match self.column(column) {
            Some(operand) => test.given(operand.needed()),
            None => test,
        })
    }

    /// `new."name"`, of a column that this operation has; it is noted as named.
    fn reference(&self, column: &Column) -> Option<String> {
        let root = self.present(column.root)?;
        self.columns.iter().find(|c| c.name == *column.name)?;
        Some(self.named(root, &column.name))
    }

    fn named(&self, root: Root, name: &str) -> String {
        self.named.borrow_mut().insert((name.to_owned(), root));
        place(root, name)
    }

    /// The value of a column in a form that can be calculated and compared with.
    pub(super) fn column(&self, column: &Column) -> Option<Operand> {
        if column.is_array {
            return None;
        }
        let known = self.columns.iter().find(|c| c.name == *column.name)?;
        let sql_type = known.r#type;
        let (class, cast) = match (column.kind, sql_type) {
            (Kind::Bool, SqlType::Bool) => (Class::Bool, "::pg_catalog.bool"),
            (Kind::Number, SqlType::Int) => (Class::Number(NumberForm::Int), ""),
            (Kind::Number, SqlType::Numeric(digits)) => (
                Class::Number(NumberForm::Numeric(digits)),
                "::pg_catalog.numeric",
            ),
            (Kind::Real, SqlType::Real) => (Class::Double, "::pg_catalog.float8"),
            (Kind::Double, SqlType::Double) => (Class::Double, "::pg_catalog.float8"),
            (Kind::Text, SqlType::Text) | (Kind::Padded, SqlType::Padded) => {
                (Class::Text, "::pg_catalog.text")
            }
            (Kind::Text, SqlType::Uuid | SqlType::Enum) => (Class::Text, ""),
            (Kind::Time, SqlType::Timestamptz) => (
                Class::Time(TimeForm::Timestamptz),
                "::pg_catalog.timestamptz",
            ),
            (Kind::Time, SqlType::Timestamp) => {
                (Class::Time(TimeForm::Timestamp), "::pg_catalog.timestamp")
            }
            (Kind::Time, SqlType::Date) => (Class::Time(TimeForm::Date), "::pg_catalog.date"),
            (Kind::Interval, SqlType::Interval) => (Class::Duration, "::pg_catalog.interval"),
            _ => return None,
        };
        let place = self.reference(column)?;
        let mut needed = Vec::new();
        let text = match sql_type {
            SqlType::Uuid | SqlType::Enum => spelled(sql_type, &place)?,
            _ => format!("{place}{cast}"),
        };
        if sql_type == SqlType::Interval {
            // One with months has no exact length.
            needed.push(format!(
                "({place} is null or not pg_catalog.isfinite({text}) \
                 or (pg_catalog.date_part('month'::pg_catalog.text, {text}) \
                 operator(pg_catalog.=) '0'::pg_catalog.float8 \
                 and pg_catalog.date_part('year'::pg_catalog.text, {text}) \
                 operator(pg_catalog.=) '0'::pg_catalog.float8))"
            ));
        }
        Some(Operand::Sql(Sql {
            text,
            class,
            needed,
            is_nullable: true,
        }))
    }

    /// Whether a column's value is spelled otherwise in the image after than in the one before.
    pub(super) fn has_changed(&self, name: &str) -> Option<Cond> {
        if self.operation != Operation::Update {
            return Some(Cond::FALSE);
        }
        let sql_type = self.columns.iter().find(|c| c.name == name)?.r#type;
        spelled(sql_type, "x")?;
        let side = |root| spelled(sql_type, &self.named(root, name));
        let (old, new) = (side(Root::Old)?, side(Root::New)?);
        Some(Cond::of(format!(
            "(not coalesce({old} operator(pg_catalog.=) {new}, {old} is null and {new} is null))"
        )))
    }
}

pub(super) fn place(root: Root, name: &str) -> String {
    format!("{}.{}", root.name(), identifier(name))
}

/// What is the same if and only if the values are spelled the same; `None` for types whose
/// spelling depends on settings, or whose equal values may be spelled in several ways.
fn spelled(sql_type: SqlType, place: &str) -> Option<String> {
    let out = |function| format!("pg_catalog.textin(pg_catalog.{function}({place}))");
    Some(match sql_type {
        SqlType::Bool => format!("{place}::pg_catalog.bool"),
        SqlType::Int => place.to_owned(),
        SqlType::Numeric(_) => out("numeric_out"),
        SqlType::Text => format!("({place}::pg_catalog.text collate pg_catalog.\"C\")"),
        SqlType::Uuid => out("uuid_out"),
        SqlType::Enum => out("enum_out"),
        SqlType::Timestamptz => format!("{place}::pg_catalog.timestamptz"),
        SqlType::Timestamp => format!("{place}::pg_catalog.timestamp"),
        SqlType::Date => format!("{place}::pg_catalog.date"),
        // JSON's null is spelled as a null is, and what is around a document is no part of it.
        SqlType::Json => format!(
            "coalesce(pg_catalog.btrim({}, E' \\t\\n\\r'::pg_catalog.text), 'null'::pg_catalog.text)",
            out("json_out")
        ),
        SqlType::Jsonb => format!("coalesce({}, 'null'::pg_catalog.text)", out("jsonb_out")),
        SqlType::Padded | SqlType::Real | SqlType::Double | SqlType::Interval | SqlType::Other => {
            return None;
        }
    })
}
