//! What the fuzz target and the property tests run: any bytes as an expression, over rows that hold
//! what rows seldom do.

use chrono::DateTime;

use super::{EventFacts, Expression, Facts, Hidden, Row, Scope, ScopeColumn};

/// Columns of one of each type.
const COLUMNS: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("small", "smallint"),
    ("amount", "numeric(10,2)"),
    ("huge", "numeric"),
    ("ratio", "double precision"),
    ("share", "real"),
    ("name", "text"),
    ("code", "character(4)"),
    ("uid", "uuid"),
    ("status", "public.order_status"),
    ("open", "boolean"),
    ("at", "timestamp with time zone"),
    ("day", "date"),
    ("wait", "interval"),
    ("doc", "jsonb"),
    ("tags", "text[]"),
    ("counts", "integer[]"),
];

const ROWS: [&str; 4] = [
    r#"{"id":1,"small":-3,"amount":250.00,"huge":123456789012345678901234567890.5,"ratio":1.5,
        "share":0.1,"name":"a","code":"ab  ","uid":"00000000-0000-0000-0000-000000000001",
        "status":"open","open":true,"at":"2026-01-31T08:00:00.5+00:00","day":"2026-01-31",
        "wait":"P1DT2H","doc":{"a":{"b":[1,"x",null]},"n":1e2,"s":"t"},"tags":["x","y"],
        "counts":[1,null,3]}"#,
    r#"{"id":null,"small":null,"amount":null,"huge":null,"ratio":null,"share":null,"name":null,
        "code":null,"uid":null,"status":null,"open":null,"at":null,"day":null,"wait":null,
        "doc":null,"tags":null,"counts":null}"#,
    r#"{"id":-9223372036854775808,"small":32767,"amount":"NaN","huge":"Infinity","ratio":"NaN",
        "share":"-Infinity","name":"\ud800","code":"","uid":"x","status":{"row":1},"open":"t",
        "at":"infinity","day":"0044-03-15 BC","wait":"P1M","doc":1e200000,"tags":[["x"],[]],
        "counts":[1e400,"x"]}"#,
    r#"{"doc":[[[[{"a":"\u0000","a":2}]]]],"id":true,"at":"294276-12-31T23:59:59.999999+00:00"}"#,
];

/// Compiles `bytes`, if they are text, and judges what compiled over odd rows. It returns whether
/// they compiled; what it must never do is panic.
#[must_use]
pub fn probe(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else {
        return false;
    };
    let over_rows = Expression::compile(source, &scope());
    let over_data = Expression::compile(source, &Scope::api_event());
    let rows: Vec<Row<'_>> = ROWS.iter().filter_map(|row| Row::parse(row).ok()).collect();
    for expression in [&over_rows, &over_data].into_iter().flatten() {
        for before in [None].into_iter().chain(rows.iter().map(Some)) {
            for after in [None].into_iter().chain(rows.iter().map(Some)) {
                let facts = facts(before, after);
                let _ = expression.evaluate(&facts);
                let _ = expression.values(&facts);
            }
        }
    }
    over_rows.is_ok() || over_data.is_ok()
}

fn scope() -> Scope {
    let columns = COLUMNS.iter().map(|(name, sql_type)| ScopeColumn {
        name: (*name).to_owned(),
        sql_type: (*sql_type).to_owned(),
        hidden: None,
    });
    let hidden = ScopeColumn {
        name: "card".to_owned(),
        sql_type: "text".to_owned(),
        hidden: Some(Hidden::Masked),
    };
    Scope::rows(columns.chain([hidden]).collect())
}

fn facts<'a>(before: Option<&'a Row<'a>>, after: Option<&'a Row<'a>>) -> Facts<'a> {
    Facts {
        before,
        after,
        changed: &["status", "amount"],
        op: "update",
        event: EventFacts {
            id: "1",
            event_type: "sales.order.updated",
            object_type: Some("sales.order"),
            source: "default",
            subject: None,
            time: DateTime::UNIX_EPOCH,
            data: Some(r#"{"a":[1,{"b":null}]}"#),
        },
        subscription: None,
        now: DateTime::UNIX_EPOCH,
        actor: None,
    }
}
