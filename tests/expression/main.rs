//! The expression language: what expressions mean, what is refused and how that is told, that
//! nothing panics, that the parser's own interpreter agrees, and that the document's examples hold.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod agreement;
mod document;
mod hints;
mod lowered;
mod meaning;
mod postgres;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod survival;
mod writer;

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use rowcall::{
    expr::{
        EventFacts, Expression, Facts, Hidden, Problem, Row, Scope, ScopeColumn, SubscriptionFacts,
        Verdict,
    },
    subscription::labels::Labels,
};

const COLUMNS: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("status", "text"),
    ("note", "text"),
    ("amount", "numeric(10,2)"),
    ("paid", "numeric(10,2)"),
    ("weight", "numeric"),
    ("qty", "integer"),
    ("small", "smallint"),
    ("rate", "double precision"),
    ("share", "real"),
    ("urgent", "boolean"),
    ("code", "character(5)"),
    ("uid", "uuid"),
    ("kind", "public.order_kind"),
    ("created_at", "timestamp with time zone"),
    ("ships_at", "timestamp without time zone"),
    ("due", "date"),
    ("wait", "interval"),
    ("doc", "jsonb"),
    ("tags", "text[]"),
    ("counts", "integer[]"),
];

/// The row of most examples.
pub(crate) const ROW: &str = r#"{"id":42,"status":"open","note":"a \"b\" ü","amount":250.00,
    "paid":null,"weight":12.345,"qty":7,"small":-3,"rate":1.5,"share":0.1,"urgent":true,
    "code":"ab   ","uid":"0190a1b2-0000-7000-8000-00000000abcd","kind":"retail",
    "created_at":"2026-01-31T23:30:00.25+00:00","ships_at":"2026-02-01T08:00:00",
    "due":"2026-02-03","wait":"P1DT2H",
    "doc":{"customer":{"name":"Ada","vip":true,"email":null},"lines":[{"sku":"A","qty":2},
        {"sku":"B","qty":10}],"total":12.50,"odd key":1,"at":"2026-01-01T00:00:00Z"},
    "tags":["new","eu"],"counts":[1,null,3]}"#;

static LABELS: LazyLock<Labels> = LazyLock::new(|| Labels::from([("desk", "eu")]));

pub(crate) fn scope() -> Scope {
    let mut columns: Vec<ScopeColumn> = COLUMNS
        .iter()
        .map(|(name, sql_type)| column(name, sql_type, None))
        .collect();
    // As the catalogue has them: an excluded column is in no image, a masked one is.
    columns.insert(1, column("internal_note", "text", Some(Hidden::Excluded)));
    columns.push(column("card_number", "text", Some(Hidden::Masked)));
    Scope::rows(columns)
}

pub(crate) fn column(name: &str, sql_type: &str, hidden: Option<Hidden>) -> ScopeColumn {
    ScopeColumn {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        hidden,
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_769_904_000, 0).unwrap() // 2026-02-01T00:00:00Z
}

pub(crate) fn compiled(source: &str) -> Expression {
    Expression::compile(source, &scope()).unwrap_or_else(|problems| {
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        panic!("`{source}` is refused: {}", problems.join("; "));
    })
}

/// Facts of a change from one row to the other.
pub(crate) fn facts<'a>(before: Option<&'a Row<'a>>, after: Option<&'a Row<'a>>) -> Facts<'a> {
    Facts {
        before,
        after,
        changed: &["status", "amount"],
        op: match (before, after) {
            (None, _) => "create",
            (_, None) => "delete",
            _ => "update",
        },
        event: EventFacts {
            id: "0190a1b2-0000-7000-8000-000000000001",
            event_type: "sales.order.updated",
            object_type: Some("sales.order"),
            source: "/rowcall/default",
            subject: Some("42"),
            time: now(),
            data: None,
        },
        subscription: Some(SubscriptionFacts {
            name: "erp",
            mode: "batch",
            labels: &LABELS,
        }),
        now: now(),
        actor: None,
    }
}

/// `true`, `false`, or why it failed.
pub(crate) fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::True => "true".to_owned(),
        Verdict::False => "false".to_owned(),
        Verdict::Failed(failure) => failure.to_string(),
    }
}

/// What an expression says of a change of `before` into `after`.
pub(crate) fn judged(source: &str, before: Option<&str>, after: Option<&str>) -> String {
    let before = before.map(|text| Row::parse(text).unwrap());
    let after = after.map(|text| Row::parse(text).unwrap());
    told(&compiled(source).evaluate(&facts(before.as_ref(), after.as_ref())))
}

/// Asserts what expressions say of [`ROW`].
pub(crate) fn assert_table(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(source, expected)| {
            let said = judged(source, Some(ROW), Some(ROW));
            (said != *expected).then(|| format!("`{source}`: {said}, expected {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
