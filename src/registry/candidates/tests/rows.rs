//! Rows that filters are judged on.

use proptest::{option, prelude::*, sample::select};

use crate::expr::{Scope, ScopeColumn};

/// Columns, with what may stand in an image: what their types promise, in several spellings, and
/// what they don't.
pub(in crate::registry) const COLUMNS: &[(&str, &str, &[&str])] = &[
    (
        "region",
        "text",
        &[
            "null",
            r#""eu""#,
            r#""us""#,
            r#""\u0065u""#,
            r#""""#,
            r#""EU""#,
            r#""a\"b""#,
            // In UTF-16 the second would stand before the first.
            r#""\ue000""#,
            r#""\ud83d\ude00""#,
            "7",
        ],
    ),
    (
        "amount",
        "numeric",
        &[
            "null",
            "1",
            "1.0",
            "1.000000000000000000000",
            "1e0",
            "100",
            "1e2",
            "2.50",
            "-0.0",
            "-99.990",
            "99.989999999999999999999999999999",
            "123456789012345678901234567890.5",
            "1e500",
            "1e200000",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\"",
            "{}",
        ],
    ),
    (
        "qty",
        "integer",
        &["null", "1", "2", "1.0", "-0", "0", "\"1\"", "[]"],
    ),
    (
        "total",
        "bigint",
        &[
            "null",
            "0",
            "9007199254740993",
            "9223372036854775806",
            "9223372036854775807",
            "-9223372036854775808",
        ],
    ),
    ("is_paid", "boolean", &["null", "true", "false", "0"]),
    (
        "code",
        "character(4)",
        &["null", r#""ab  ""#, r#""ab""#, r#""abc ""#],
    ),
    (
        "id",
        "uuid",
        &[
            "null",
            r#""00000000-0000-0000-0000-000000000001""#,
            r#""c0000000-0000-0000-0000-000000000000""#,
        ],
    ),
    (
        "rate",
        "double precision",
        &[
            "null",
            "1",
            "1.0",
            "2",
            "-0.0",
            "0",
            "\"NaN\"",
            "\"-Infinity\"",
        ],
    ),
    (
        "share",
        "real",
        &["null", "0.1", "1", "\"NaN\"", "\"Infinity\""],
    ),
    (
        "tags",
        "text[]",
        &["null", "[]", r#"["a"]"#, r#"["b", null]"#, "[null]", "{}"],
    ),
    (
        "doc",
        "jsonb",
        &[
            "null",
            r#"{"a": 1}"#,
            r#"{"a": 1.0, "a.b": "x"}"#,
            r#"{"a": "x"}"#,
            r#"{"a": {"b": "x"}}"#,
            r#"{"a": true}"#,
            r#"{"a": [1]}"#,
            r#"{"a": null}"#,
            r#"{"a": -1.50}"#,
            r#"{"a": 1e400}"#,
            r#"{"a": "2026-01-01T06:00:00Z"}"#,
            "7",
            "[1]",
        ],
    ),
    (
        "at",
        "timestamp with time zone",
        &[
            "null",
            r#""2026-01-01T00:00:00+00:00""#,
            r#""2026-01-01T01:00:00+01:00""#,
            r#""2026-01-02T00:00:00+00:00""#,
            r#""2025-12-31T23:59:59.999999+00:00""#,
            r#""0044-03-15T00:00:00+00:00 BC""#,
            r#""infinity""#,
            r#""-infinity""#,
            r#""never""#,
        ],
    ),
    (
        "day",
        "date",
        &[
            "null",
            r#""2025-12-31""#,
            r#""2026-01-01""#,
            r#""2026-01-02""#,
            r#""infinity""#,
        ],
    ),
    (
        "lasts",
        "interval",
        &[
            "null",
            r#""PT0S""#,
            r#""PT1H""#,
            r#""PT60M""#,
            r#""P1DT1H""#,
            r#""PT-1S""#,
            r#""P1M""#,
        ],
    ),
];

pub(super) fn scope() -> Scope {
    let columns = COLUMNS.iter().map(|(name, sql_type, _)| ScopeColumn {
        name: (*name).to_owned(),
        sql_type: (*sql_type).to_owned(),
        hidden: None,
    });
    Scope::rows(columns.collect())
}

/// A row in which now and then a column is missing.
pub(in crate::registry) fn row() -> impl Strategy<Value = String> {
    let columns: Vec<_> = COLUMNS
        .iter()
        .map(|(name, _, values)| {
            let value = option::weighted(0.95, select(*values));
            value.prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
        })
        .collect();
    columns.prop_map(|columns| {
        let columns: Vec<String> = columns.into_iter().flatten().collect();
        format!("{{{}}}", columns.join(","))
    })
}
