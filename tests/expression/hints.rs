//! What an expression tells of itself: equalities for the index, whether it is constant, what it
//! saw.

use rowcall::expr::{EQUALITY_VALUES_MAX, Row, Seen};

use crate::{ROW, compiled, facts};

#[test]
fn the_index_gets_the_equalities_that_must_hold() {
    let found = |source: &str| -> Vec<String> {
        let equalities = compiled(source).equalities().into_iter();
        let found = equalities.map(|equality| (equality.looked, equality.values.len()));
        found
            .map(|(looked, values)| format!("{looked:?} {values}"))
            .collect()
    };
    for (source, expected) in [
        ("row.status == 'a\"b'", vec!["row.\"status\" 1"]),
        (
            "5 == new.qty && old.urgent",
            vec!["new.\"qty\" 1", "old.\"urgent\" 1"],
        ),
        (
            "row.qty > 3 && (!row.urgent && row.amount == 250)",
            vec!["row.\"urgent\" 1", "row.\"amount\" 1"],
        ),
        ("row.status in ['a', 'b', 'a']", vec!["row.\"status\" 2"]),
        ("row.qty in [1, 2, 1.0]", vec!["row.\"qty\" 2"]),
        (
            "row.qty == 1 && row.status == 'a' || row.status in ['b', 'a'] && row.urgent",
            vec!["row.\"status\" 2"],
        ),
        ("row.doc.a.b == 'x'", vec!["row.\"doc\"[\"a\"][\"b\"] 1"]),
        ("row.doc['a.b'][0] == 1", vec!["row.\"doc\"[\"a.b\"][0] 1"]),
        ("row.due == timestamp('2026-01-01')", vec!["row.\"due\" 1"]),
        (
            "op == 'update' && event.subject == '7'",
            vec!["op 1", "event.subject 1"],
        ),
    ] {
        assert_eq!(found(source), expected, "{source}");
    }
    let many: Vec<String> = (0..=EQUALITY_VALUES_MAX).map(|n| n.to_string()).collect();
    for none in [
        "row.qty > 5",
        "row.status == 'a' || row.qty == 5",
        "!(row.status == 'a')",
        "row.status != 'a'",
        "row.status == row.note",
        "row.paid == null",
        "row.tags == ['a']",
        "(row.urgent ? row.status : row.note) == 'a'",
        // It may be the same as a number of another kind.
        "row.rate == 5",
        // It differs among those who are told.
        "subscription.name == 'a'",
        "subscription.labels.desk == 'a'",
        &format!("row.qty in [{}]", many.join(", ")),
    ] {
        assert_eq!(found(none), Vec::<String>::new(), "{none}");
    }
}

/// Equalities are right if what is seen of rows on which the expression holds is among them.
#[test]
fn what_is_seen_of_a_row_is_what_the_equality_means() {
    let row = Row::parse(ROW).unwrap();
    let before = Row::parse(r#"{"status":null,"qty":"seven"}"#).unwrap();
    let facts = facts(Some(&before), Some(&row));
    let seen = |source: &str| {
        let equality = compiled(source).equalities().remove(0);
        (equality.looked.seen(&facts), equality.values)
    };
    for source in [
        "row.status == 'open'",
        "row.note == 'a \"b\" ü'",
        "row.amount == 250",
        "row.qty in [6, 7]",
        "row.weight == 12.345",
        "row.code == 'ab '",
        "row.kind == 'retail'",
        "row.urgent",
        "row.uid == '0190A1B2-0000-7000-8000-00000000ABCD'",
        "row.doc.total == 12.5",
        "row.doc.customer.vip == true",
        "row.ships_at == timestamp('2026-02-01T09:00:00+01:00')",
        "row.wait == duration('26h')",
    ] {
        assert!(compiled(source).evaluate(&facts).is_true(), "{source}");
        let (Seen::Value(value), values) = seen(source) else {
            panic!("nothing is seen of {source}");
        };
        assert!(values.contains(&value), "{source}");
    }
    assert_eq!(seen("old.status == 'open'").0, Seen::Nothing);
    assert_eq!(seen("row.doc.customer.email == 'x'").0, Seen::Nothing);
    assert_eq!(seen("old.qty == 7").0, Seen::Unclear);
    assert_eq!(seen("old.note == 'gone'").0, Seen::Unclear);
    assert_eq!(seen("row.doc.lines == 7").0, Seen::Unclear);
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
