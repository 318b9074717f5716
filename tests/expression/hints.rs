//! What an expression tells of itself: the index's equality, whether it is constant, what it saw.

use rowcall::expr::{Root, Row};

use crate::{ROW, compiled, facts};

#[test]
fn the_index_gets_an_equality_that_must_hold() {
    let equality = |source: &str| {
        let equality = compiled(source).equality()?;
        Some((equality.root, equality.column, equality.json))
    };
    let found = |root, column: &str, json: &str| Some((root, column.to_owned(), json.to_owned()));
    assert_eq!(
        equality("row.status == 'a\"b'"),
        found(Root::Row, "status", r#""a\"b""#)
    );
    assert_eq!(
        equality("row.status == 'a\\u0001\\tü/'"),
        found(Root::Row, "status", r#""a\u0001\tü/""#)
    );
    assert_eq!(
        equality("5 == new.qty && old.urgent"),
        found(Root::New, "qty", "5")
    );
    assert_eq!(equality("row.qty == 5.0"), found(Root::Row, "qty", "5"));
    assert_eq!(
        equality("row.amount == 250"),
        found(Root::Row, "amount", "250.00")
    );
    assert_eq!(
        equality(
            "row.qty > 3 && (row.urgent && row.uid == '0190A1B2-0000-7000-8000-00000000ABCD')"
        ),
        found(Root::Row, "uid", "\"0190a1b2-0000-7000-8000-00000000abcd\"")
    );
    assert_eq!(
        equality("row.urgent && row.qty > 1"),
        found(Root::Row, "urgent", "true")
    );
    assert_eq!(equality("!old.urgent"), found(Root::Old, "urgent", "false"));
    for none in [
        "row.qty > 5",
        "row.status == 'a' || row.qty == 5",
        "!(row.status == 'a')",
        "row.status != 'a'",
        "row.status == row.note",
        "row.paid == null",
        // Spelled in more than one way, or in a way that is not known.
        "row.weight == 5",
        "row.rate == 5",
        "row.code == 'ab'",
        "row.kind == 'retail'",
        "row.due == timestamp('2026-01-01')",
        "row.doc.a == 'x'",
        "row.tags == ['a']",
    ] {
        assert_eq!(equality(none), None, "{none}");
    }
}

/// An equality is right if rows on which the expression holds spell the column like that.
#[test]
fn the_equality_is_how_the_image_spells_it() {
    let row = Row::parse(ROW).unwrap();
    for source in [
        "row.status == 'open'",
        "row.note == 'a \"b\" ü'",
        "row.amount == 250",
        "row.qty == 7",
        "row.small == -3",
        "row.id == 42",
        "row.urgent",
        "row.uid == '0190a1b2-0000-7000-8000-00000000abcd'",
    ] {
        let expression = compiled(source);
        assert!(
            expression.evaluate(&facts(None, Some(&row))).is_true(),
            "{source}"
        );
        let equality = expression.equality().unwrap();
        assert_eq!(
            row.get(&equality.column).unwrap().get(),
            equality.json,
            "{source}"
        );
    }
}

#[test]
fn what_is_always_or_never_true_is_seen() {
    let table = [
        (Some(true), "true"),
        (Some(false), "false"),
        (Some(true), "1 + 1 == 2"),
        (Some(false), "row.qty == 1 && row.qty == 2"),
        (Some(false), "row.qty == 1 && (row.urgent && row.qty == 2)"),
        (Some(false), "row.qty > 5 && row.qty < 3"),
        (Some(false), "row.qty > 5 && 5 >= row.qty"),
        (Some(false), "row.status in ['a', 'b'] && row.status == 'c'"),
        (Some(false), "row.status in ['a', 'b'] && row.status > 'c'"),
        (Some(false), "row.paid == null && row.paid > 5"),
        (Some(false), "row.paid == null && row.paid != null"),
        (Some(false), "row.urgent && !row.urgent"),
        (Some(false), "row.qty == 1 && row.qty != 1"),
        (Some(false), "row.urgent && false"),
        (Some(true), "row.urgent || true"),
        (Some(true), "row.status != 'a' || row.status != 'b'"),
        (Some(true), "row.qty == 1 || row.qty != 1"),
        (Some(true), "row.paid == null || row.paid != null"),
        (Some(false), "row == null"),
        (Some(false), "false ? row.urgent : false"),
        (None, "row.qty == 1"),
        (None, "row.qty == 1 || row.qty == 2"),
        (None, "row.qty == 1 && new.qty == 2"),
        (None, "row.qty >= 5 && row.qty <= 5"),
        (None, "row.qty > 3 && row.qty < 5"),
        // Null makes both fail.
        (None, "row.qty > 5 || row.qty <= 5"),
        (None, "row.status != 'a' && row.status != 'b'"),
        (None, "row.status in ['a', 'b'] && row.status != 'a'"),
        (None, "old == null"),
        (None, "!(row.paid > 5 && false) && row.urgent"),
        (None, "row.paid == null && row.qty == 1"),
        (None, "row.doc.a == 1 && row.doc.a == 2.5"),
        (None, "op == 'create'"),
        (None, "row.paid != 1 && row.paid != null"),
        (None, "row.paid == null && row.paid != 1"),
    ];
    let wrong: Vec<_> = table
        .iter()
        .filter(|(expected, source)| compiled(source).constant() != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn values_are_what_it_looked_at() {
    let long = format!(
        r#"{{"status":"{}","amount":250.00,"paid":null}}"#,
        "ü".repeat(500)
    );
    let before = Row::parse(ROW).unwrap();
    let after = Row::parse(&long).unwrap();
    let facts = facts(Some(&before), Some(&after));
    let values = |source: &str| compiled(source).values(&facts);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        values(
            "row.amount > 5 && old.doc.customer.name == 'x' && row.amount < 9 && op == 'x'.lowerAscii()"
        ),
        [
            pair("row.amount", "250.00"),
            pair("old.doc.customer.name", "\"Ada\""),
            pair("op", "\"update\""),
        ]
    );
    assert_eq!(
        values("'status' in changed && row.paid == null && old.tags[0] == 'new' && old.due < now"),
        [
            pair("changed", r#"["status","amount"]"#),
            pair("row.paid", "null"),
            pair("old.tags[0]", "\"new\""),
            pair("old.due", "\"2026-02-03T00:00:00Z\""),
            pair("now", "\"2026-02-01T00:00:00Z\""),
        ]
    );
    let shown = &values("row.status == 'x'")[0].1;
    assert_eq!(shown.chars().count(), 200);
    assert!(shown.ends_with('…'));
    // What is gone is left out.
    assert_eq!(values("new.note == 'x'"), []);
}

#[test]
fn it_knows_whether_time_changes_it() {
    assert!(compiled("row.urgent && (row.qty > 1 || now - row.due > duration('1h'))").uses_now());
    assert!(!compiled("event.time > row.due").uses_now());
    let expression = compiled("row.qty > 1");
    assert_eq!(expression.source(), "row.qty > 1");
    // It is judged by several threads at once.
    let other = expression.clone();
    let judged = std::thread::spawn(move || {
        let row = Row::parse(ROW).unwrap();
        other.evaluate(&facts(None, Some(&row))).is_true()
    });
    assert!(judged.join().unwrap());
    assert_eq!(expression, compiled("row.qty > 1"));
}
