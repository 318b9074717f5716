//! The static types: what the checker knows of a part of an expression before any row is seen.

use std::fmt;

use super::value::Kind;

/// The type of a part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    /// A whole number; of a column, with the type's bounds.
    Int(Option<Width>),
    /// An exact number; of a column with a scale, that many digits behind the point.
    Decimal(Option<u16>),
    /// `real`.
    Real,
    Double,
    Text(Words),
    Time,
    Duration,
    List(Box<Type>),
    /// Known only when a row is seen.
    Json,
    /// `old`, `new`, `row`: has columns, and may be null.
    Row,
    /// `subscription.labels`.
    Labels,
    /// `event`, `subscription`: only their fields are values.
    Namespace(&'static str),
    /// Of what was already reported: fits everywhere.
    Unknown,
}

/// The bounds of an integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Small,
    Int,
    Big,
}

impl Width {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Int => "integer",
            Self::Big => "bigint",
        }
    }

    pub(super) fn bounds(self) -> (i64, i64) {
        match self {
            Self::Small => (i16::MIN.into(), i16::MAX.into()),
            Self::Int => (i32::MIN.into(), i32::MAX.into()),
            Self::Big => (i64::MIN, i64::MAX),
        }
    }
}

/// What is known of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Anything, spelled in an image as it is.
    Any,
    /// `char(n)`: spelled in an image with padding.
    Padded,
    /// Of a type that this program does not know: spelled as Postgres likes.
    Other,
    Uuid,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// The name of a column.
    Columns,
}

impl Type {
    /// The type of a column, by Postgres' name for it.
    pub(super) fn of_sql(name: &str) -> Self {
        let name = name.trim();
        if let Some(items) = name.strip_suffix("[]") {
            return Self::List(Box::new(Self::of_sql(items.trim_end_matches("[]"))));
        }
        let (base, modifier, rest) = match (name.find('('), name.find(')')) {
            (Some(open), Some(close)) if open < close => {
                (&name[..open], &name[open + 1..close], &name[close + 1..])
            }
            _ => (name, "", ""),
        };
        match format!("{}{rest}", base.trim_end()).as_str() {
            "boolean" | "bool" => Self::Bool,
            "smallint" | "int2" => Self::Int(Some(Width::Small)),
            "integer" | "int" | "int4" => Self::Int(Some(Width::Int)),
            "bigint" | "int8" => Self::Int(Some(Width::Big)),
            "numeric" | "decimal" => Self::Decimal(scale(modifier)),
            "real" | "float4" => Self::Real,
            "double precision" | "float8" => Self::Double,
            "text" | "character varying" | "varchar" | "name" | "citext" => Self::Text(Words::Any),
            "character" | "bpchar" | "char" => Self::Text(Words::Padded),
            "uuid" => Self::Text(Words::Uuid),
            "timestamp with time zone"
            | "timestamp without time zone"
            | "timestamptz"
            | "timestamp"
            | "date" => Self::Time,
            "json" | "jsonb" => Self::Json,
            other if other == "interval" || other.starts_with("interval ") => Self::Duration,
            _ => Self::Text(Words::Other),
        }
    }

    /// How a column's values of this type are read.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Bool => Kind::Bool,
            Self::Int(_) | Self::Decimal(_) => Kind::Number,
            Self::Real => Kind::Real,
            Self::Double => Kind::Double,
            Self::Text(Words::Padded) => Kind::Padded,
            Self::Time => Kind::Time,
            Self::Duration => Kind::Interval,
            Self::Json => Kind::Json,
            _ => Kind::Text,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Int(_) | Self::Decimal(_) | Self::Real | Self::Double
        )
    }

    /// Whether its kind shows only when a row is seen, or it was already reported.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Json | Self::Unknown)
    }

    /// Whether values of both can be the same.
    pub(super) fn is_comparable_with(&self, other: &Self) -> bool {
        match (self, other) {
            _ if self.is_open() || other.is_open() => true,
            (Self::Null, _) | (_, Self::Null) => true,
            (Self::List(a), Self::List(b)) => a.is_comparable_with(b),
            _ => self.is_ordered_with(other),
        }
    }

    /// Whether one can be less than the other.
    pub(super) fn is_ordered_with(&self, other: &Self) -> bool {
        match (self, other) {
            _ if self.is_number() && other.is_number() => true,
            (Self::Unknown, _) | (_, Self::Unknown) => true,
            (Self::Json, other) | (other, Self::Json) => other.has_order(),
            (Self::Text(_), Self::Text(_))
            | (Self::Bool, Self::Bool)
            | (Self::Time, Self::Time)
            | (Self::Duration, Self::Duration) => true,
            _ => false,
        }
    }

    fn has_order(&self) -> bool {
        let is_plain = matches!(
            self,
            Self::Text(_) | Self::Bool | Self::Time | Self::Duration
        );
        is_plain || self.is_number() || self.is_open()
    }
}

impl fmt::Display for Type {
    /// As it stands after "is" or "takes": `a whole number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int(_) => "a whole number",
            Self::Decimal(_) | Self::Real | Self::Double => "a number",
            Self::Text(_) => "text",
            Self::Time => "a timestamp",
            Self::Duration => "a duration",
            Self::List(_) => "a list",
            Self::Json => "JSON",
            Self::Row => "a row",
            Self::Labels => "labels",
            Self::Namespace(name) => return write!(f, "`{name}` as a whole"),
            Self::Unknown => "unknown",
        })
    }
}

/// The scale of `numeric(precision, scale)`, or of `numeric(precision)`, which is 0. A negative one
/// (which rounds to tens) has no digits behind the point either.
fn scale(modifier: &str) -> Option<u16> {
    if modifier.is_empty() {
        return None;
    }
    let scale = modifier.split_once(',').map_or("0", |(_, scale)| scale);
    let scale: i32 = scale.trim().parse().ok()?;
    u16::try_from(scale.max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_postgres_names() {
        let list = |of| Type::List(Box::new(of));
        for (name, expected) in [
            ("boolean", Type::Bool),
            ("smallint", Type::Int(Some(Width::Small))),
            ("numeric(10,2)", Type::Decimal(Some(2))),
            ("numeric(10)", Type::Decimal(Some(0))),
            ("numeric(3,-2)", Type::Decimal(Some(0))),
            ("numeric", Type::Decimal(None)),
            ("character varying(20)", Type::Text(Words::Any)),
            ("character(3)", Type::Text(Words::Padded)),
            ("timestamp(3) with time zone", Type::Time),
            ("timestamp without time zone", Type::Time),
            ("date", Type::Time),
            ("time without time zone", Type::Text(Words::Other)),
            ("interval(3)", Type::Duration),
            ("interval day to second", Type::Duration),
            ("text[]", list(Type::Text(Words::Any))),
            ("numeric(4,1)[]", list(Type::Decimal(Some(1)))),
            ("jsonb", Type::Json),
            ("sales.order_status", Type::Text(Words::Other)),
            ("\"odd(name\"", Type::Text(Words::Other)),
        ] {
            assert_eq!(Type::of_sql(name), expected, "{name}");
        }
    }
}
