//! What the text of a table's rows depends on: settings that each session may have its own way.
//!
//! The same row must become the same text in every session, or a change that came back would not be
//! seen as such. So the settings that a table's columns need are looked at, or pinned, where its
//! rows become text.

use std::collections::BTreeSet;

/// A column as the function sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As Postgres keeps it.
    pub name: String,
    /// The kinds of values that may be in it: names of Postgres' own types, `enum`, `range`, or
    /// `any`.
    pub kinds: Vec<String>,
    /// Whether somebody defined a cast to json that row_to_json would call, and that could raise,
    /// inside the writer's statement.
    pub has_user_cast: bool,
}

/// A setting on which a value's text depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Of `timestamptz`.
    TimeZone,
    /// Of ranges of dates and times: elsewhere JSON has its own way of writing them.
    DateStyle,
    /// Of `float4` and `float8`, and of what is made of them.
    ExtraFloatDigits,
    /// Of `bytea`.
    ByteaOutput,
    /// Of `interval`.
    IntervalStyle,
    /// Of `money`.
    Monetary,
    /// Of `regclass` and its like, which are names.
    QuoteAllIdentifiers,
}

impl Setting {
    /// Every one, in the order in which they are written.
    pub const ALL: [Self; 7] = [
        Self::TimeZone,
        Self::DateStyle,
        Self::ExtraFloatDigits,
        Self::ByteaOutput,
        Self::IntervalStyle,
        Self::Monetary,
        Self::QuoteAllIdentifiers,
    ];

    /// The clause that pins it for a function's run.
    #[must_use]
    pub fn pinned(self) -> &'static str {
        match self {
            Self::TimeZone => "set timezone = 'UTC'",
            Self::DateStyle => "set datestyle = 'ISO'",
            Self::ExtraFloatDigits => "set extra_float_digits = 1",
            Self::ByteaOutput => "set bytea_output = 'hex'",
            Self::IntervalStyle => "set intervalstyle = 'iso_8601'",
            Self::Monetary => "set lc_monetary = 'C'",
            Self::QuoteAllIdentifiers => "set quote_all_identifiers = off",
        }
    }

    /// Whether the session's own value is as good as the pinned one. To look costs a fifth of
    /// pinning, so it is worth it where sessions usually have such a value. `None`: they have not.
    #[must_use]
    pub fn is_good(self) -> Option<&'static str> {
        match self {
            Self::TimeZone => {
                Some("pg_catalog.current_setting('TimeZone') in ('UTC', 'Etc/UTC', 'GMT')")
            }
            Self::DateStyle => {
                Some("pg_catalog.starts_with(pg_catalog.current_setting('DateStyle'), 'ISO')")
            }
            Self::ExtraFloatDigits => {
                Some("pg_catalog.current_setting('extra_float_digits') in ('1', '2', '3')")
            }
            Self::ByteaOutput => Some("pg_catalog.current_setting('bytea_output') = 'hex'"),
            Self::QuoteAllIdentifiers => {
                Some("pg_catalog.current_setting('quote_all_identifiers') = 'off'")
            }
            Self::IntervalStyle | Self::Monetary => None,
        }
    }
}

impl Column {
    /// The settings on which its text depends.
    fn settings(&self) -> impl Iterator<Item = Setting> + '_ {
        let is_range = self.kinds.iter().any(|kind| kind == "range");
        let of_kinds = self
            .kinds
            .iter()
            .flat_map(move |kind| of_kind(kind, is_range));
        let of_text: &[Setting] = if self.has_user_cast {
            &Setting::ALL
        } else {
            &[]
        };
        of_kinds.chain(of_text).copied()
    }
}

fn of_kind(kind: &str, is_range: bool) -> &'static [Setting] {
    match kind {
        "timestamptz" if is_range => &[Setting::TimeZone, Setting::DateStyle],
        "timestamptz" => &[Setting::TimeZone],
        "date" | "timestamp" if is_range => &[Setting::DateStyle],
        "float4" | "float8" | "point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle" => {
            &[Setting::ExtraFloatDigits]
        }
        "bytea" => &[Setting::ByteaOutput],
        "interval" => &[Setting::IntervalStyle],
        "money" => &[Setting::Monetary],
        "regclass" | "regcollation" | "regconfig" | "regdictionary" | "regnamespace"
        | "regoper" | "regoperator" | "regproc" | "regprocedure" | "regrole" | "regtype" => {
            &[Setting::QuoteAllIdentifiers]
        }
        "bool" | "int2" | "int4" | "int8" | "numeric" | "text" | "varchar" | "bpchar" | "char"
        | "name" | "uuid" | "json" | "jsonb" | "jsonpath" | "date" | "time" | "timetz"
        | "timestamp" | "bit" | "varbit" | "inet" | "cidr" | "macaddr" | "macaddr8"
        | "tsvector" | "tsquery" | "xml" | "oid" | "xid" | "xid8" | "cid" | "tid" | "pg_lsn"
        | "pg_snapshot" | "txid_snapshot" | "enum" | "range" => &[],
        // It may depend on each of them.
        _ => &Setting::ALL,
    }
}

/// The settings on which the text of a row of these columns depends.
#[must_use]
pub fn settings(columns: &[Column]) -> BTreeSet<Setting> {
    columns.iter().flat_map(Column::settings).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::capture::install) fn column(name: &str, kinds: &[&str]) -> Column {
        Column {
            name: name.to_owned(),
            kinds: kinds.iter().map(ToString::to_string).collect(),
            has_user_cast: false,
        }
    }

    #[test]
    fn only_what_the_kinds_need_is_asked_for() {
        let of = |kinds: &[&str]| {
            settings(&[column("x", kinds)])
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&["text", "enum", "int8"]), []);
        assert_eq!(of(&["timestamptz"]), [Setting::TimeZone]);
        assert_eq!(of(&["date"]), [], "JSON has its own way of writing a date");
        assert_eq!(of(&["range", "date"]), [Setting::DateStyle]);
        assert_eq!(of(&["range", "int4"]), []);
        assert_eq!(of(&["point"]), [Setting::ExtraFloatDigits]);
        assert_eq!(of(&["any"]), Setting::ALL);
        assert_eq!(of(&["regclass"]), [Setting::QuoteAllIdentifiers]);
        assert_eq!(
            of(&["ltree"]),
            Setting::ALL,
            "what is not known may need anything"
        );
    }

    #[test]
    fn a_user_defined_cast_needs_all() {
        let mut cast = column("x", &["int4"]);
        cast.has_user_cast = true;
        assert_eq!(settings(&[cast]).len(), Setting::ALL.len());
    }
}
