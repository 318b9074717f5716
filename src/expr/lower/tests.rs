use super::*;
use crate::expr::{Scope, ScopeColumn};

const COLUMNS: &[(&str, &str, SqlType)] = &[
    ("status", "text", SqlType::Text),
    ("qty", "integer", SqlType::Int),
    ("price", "numeric(10,2)", SqlType::Numeric(Some((8, 2)))),
    ("weight", "numeric", SqlType::Numeric(None)),
    ("urgent", "boolean", SqlType::Bool),
    ("rate", "double precision", SqlType::Double),
    ("at", "timestamp with time zone", SqlType::Timestamptz),
    ("due", "date", SqlType::Date),
    ("doc", "jsonb", SqlType::Jsonb),
    ("o\"x", "text", SqlType::Text),
];

fn lowered(source: &str, operation: Operation) -> Lowered {
    let column = |(name, sql_type, _): &(&str, &str, SqlType)| ScopeColumn {
        name: (*name).to_owned(),
        sql_type: (*sql_type).to_owned(),
        hidden: None,
    };
    let scope = Scope::rows(COLUMNS.iter().map(column).collect());
    let columns: Vec<SqlColumn> = COLUMNS
        .iter()
        .map(|(name, _, r#type)| SqlColumn {
            name: (*name).to_owned(),
            r#type: *r#type,
        })
        .collect();
    let expression = Expression::compile(source, &scope).unwrap();
    expression.lower(operation, &columns)
}

/// Without what makes it long: schemas, and the collation of texts.
fn short(lowered: &Lowered) -> String {
    let mut sql = lowered.sql.replace("pg_catalog.", "");
    for (long, short) in [
        (" collate \"C\"", ""),
        ("::text", ""),
        ("operator(=)", "="),
        ("operator(<)", "<"),
        ("operator(>)", ">"),
        ("operator(*)", "*"),
        ("operator(<>)", "<>"),
    ] {
        sql = sql.replace(long, short);
    }
    sql
}

#[test]
fn what_an_operation_does_not_have_is_known() {
    let released = "old.status != 'released' && new.status == 'released'";
    let on = |operation| short(&lowered(released, operation));
    assert_eq!(on(Operation::Create), "((new.\"status\") = 'released')");
    assert_eq!(
        on(Operation::Update),
        "((((old.\"status\") = 'released') is not true) and ((new.\"status\") = 'released'))"
    );
    assert_eq!(on(Operation::Delete), "false");
    for (source, create, update, delete) in [
        ("op == 'update'", "false", "true", "false"),
        ("old == null", "true", "false", "false"),
        ("row == null || new == null", "false", "false", "true"),
        ("'qty' in changed && false", "false", "false", "false"),
        (
            "new.qty > 5",
            "(new.\"qty\" > '5'::int8)",
            "(new.\"qty\" > '5'::int8)",
            "null::bool",
        ),
    ] {
        let on = |operation| short(&lowered(source, operation));
        assert_eq!(on(Operation::Create), create, "{source}");
        assert_eq!(on(Operation::Update), update, "{source}");
        assert_eq!(on(Operation::Delete), delete, "{source}");
    }
}

#[test]
fn everything_is_named_with_its_schema() {
    for source in [
        "row.status.lowerAscii() in ['a', 'b'] && row.status.contains('x')",
        "'price' in changed && new.price < old.price * 0.9",
        "row.at > timestamp('2026-01-31') && row.due < timestamp('2026-02-01')",
        "row.rate > 0.5 && row.doc == null && size(row.status) > 2 && row.status.endsWith('x')",
    ] {
        let made = lowered(source, Operation::Update);
        assert!(made.is_exact, "{source}");
        let sql = &made.sql;
        for (at, _) in sql.match_indices("::") {
            assert!(sql[at..].starts_with("::pg_catalog."), "{sql}");
        }
        for sign in [" = ", " < ", " > ", " * ", " <> ", " || "] {
            assert!(!sql.contains(sign), "{sql}");
        }
        for function in [
            "lower(",
            "strpos(",
            "length(",
            "right(",
            "numeric_out(",
            "textin(",
        ] {
            for (at, _) in sql.match_indices(function) {
                assert!(sql[..at].ends_with("pg_catalog."), "{sql}");
            }
        }
    }
}

#[test]
fn columns_are_told() {
    let made = lowered(
        "old.status != new.status && (row.qty > 1 || row.doc.a == 1)",
        Operation::Update,
    );
    assert!(!made.is_exact);
    assert_eq!(made.columns.keys().collect::<Vec<_>>(), ["status"]);
    let odd = lowered("row['o\"x'] == null", Operation::Delete);
    assert_eq!(odd.sql, "(old.\"o\"\"x\" is not distinct from null)");
    assert_eq!(odd.columns["o\"x"], Root::Old);
}

#[test]
fn of_what_has_no_sql_nothing_is_said() {
    for (source, expected) in [
        ("row.status.matches('x')", "true"),
        ("!row.status.matches('x')", "true"),
        ("row.qty / 2 > 1", "true"),
        ("row.rate + 1.0 > 2.0", "true"),
        ("row.weight * 2 > 2", "true"),
        ("row.weight > row.rate", "true"),
        ("now > row.at", "true"),
        ("actor == null", "true"),
        ("row.at > timestamp('12026-01-01')", "true"),
        (
            "row.urgent && row.status.matches('x')",
            "(new.\"urgent\"::bool)",
        ),
        ("row.urgent || row.status.matches('x')", "true"),
        (
            "!(row.urgent || row.status.matches('x'))",
            "(not (new.\"urgent\"::bool))",
        ),
        ("!(row.urgent && row.status.matches('x'))", "true"),
        (
            "row.status.matches('x') ? row.urgent : row.qty > 1",
            "((new.\"urgent\"::bool) or (new.\"qty\" > '1'::int8))",
        ),
    ] {
        let made = lowered(source, Operation::Create);
        assert_eq!((short(&made).as_str(), made.is_exact), (expected, false));
    }
}

#[test]
fn a_condition_that_would_grow_too_long_is_not_lowered() {
    let mut source = "row.urgent".to_owned();
    for _ in 0..14 {
        source = format!("({source} ? row.qty > 1 : row.qty > 2)");
    }
    let made = lowered(&source, Operation::Update);
    assert!(
        made.sql.len() <= 2 * LOWERED_BYTES_MAX,
        "{}",
        made.sql.len()
    );
    assert!(!made.is_exact);
}

#[test]
fn what_text_of_postgres_cannot_hold_is_not_written() {
    let made = lowered(r"row.status == '\u0000'", Operation::Update);
    assert_eq!((made.sql.as_str(), made.is_exact), ("true", false));
    let quoted = lowered(r"row.status == 'a\'b\\'", Operation::Update);
    assert!(quoted.sql.contains(r"E'a''b\\'"), "{}", quoted.sql);
}
