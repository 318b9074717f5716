//! What expressions mean.

use rowcall::expr::{Expression, Failure, Row, Scope, Verdict};

use crate::{ROW, assert_table, compiled, facts, judged, told};

#[test]
fn comparisons_are_by_value_and_exact() {
    assert_table(&[
        ("row.amount == 250", "true"),
        ("row.amount == 250.0", "true"),
        ("row.amount > 249.99 && row.amount < 250.01", "true"),
        ("row.amount >= 250.01", "false"),
        ("250 == row.amount", "true"),
        ("row.weight == 12.345", "true"),
        (
            "row.weight == 12.3450000000000000000000000000000000001",
            "false",
        ),
        (
            "row.weight < 12.3450000000000000000000000000000000001",
            "true",
        ),
        ("row.qty > 6.5", "true"),
        ("row.small < -2 && row.small >= -3", "true"),
        ("row.status == 'open'", "true"),
        ("row.status < 'oper'", "true"),
        ("row.status != \"closed\"", "true"),
        ("row.note == 'a \"b\" ü'", "true"),
        ("row.kind == 'retail'", "true"),
        ("row.urgent", "true"),
        ("!row.urgent", "false"),
        ("row.urgent == true", "true"),
        ("row.code == 'ab'", "true"),
        ("row.code == 'ab '", "true"),
        ("row.uid == '0190A1B2-0000-7000-8000-00000000ABCD'", "true"),
        ("row['status'] == 'open'", "true"),
        ("row.tags == ['new', 'eu']", "true"),
        ("row.tags == ['eu', 'new']", "false"),
        ("row.tags[1] == 'eu'", "true"),
        ("row.tags[5] == null", "true"),
        ("row.counts == [1, 2, 3]", "false"),
    ]);
}

#[test]
fn doubles_are_doubles_and_literals_take_their_type() {
    assert_table(&[
        ("row.rate == 1.5", "true"),
        ("row.rate * 2 == 3.0", "true"),
        ("row.rate < row.amount", "true"),
        // 0.1 as `real` is not 0.1 as double, as in Postgres.
        ("row.share == 0.1", "true"),
        ("row.share in [0.1, 5]", "true"),
        ("row.share + 0.0 == 0.1 + 0.0 * row.rate", "false"),
        ("row.share > 0.1", "false"),
    ]);
    let judge = |source, value: &str| {
        let row = format!(r#"{{"rate":{value},"amount":{value}}}"#);
        judged(source, None, Some(&row))
    };
    // As Postgres: NaN equals itself and is greater than all.
    assert_eq!(
        judge("row.rate == row.rate && row.rate > 1e300", "\"NaN\""),
        "true"
    );
    assert_eq!(
        judge("row.amount == row.amount && row.amount > 5", "\"NaN\""),
        "true"
    );
    assert_eq!(judge("row.rate < -1e308", "\"-Infinity\""), "true");
    assert_eq!(judge("row.amount > 5", "\"Infinity\""), "true");
    assert_eq!(
        judge("row.amount + 1 > 5", "\"Infinity\""),
        "a number is out of range"
    );
    assert_eq!(
        judge("row.rate * 10 > 5", "1e308"),
        "a number is out of range"
    );
}

#[test]
fn null_is_a_value_to_equality_and_a_failure_to_the_rest() {
    assert_table(&[
        ("row.paid == null", "true"),
        ("row.paid != null", "false"),
        ("null == row.paid", "true"),
        ("row.paid == 5", "false"),
        ("row.paid != 5", "true"),
        ("row.paid == new.paid", "true"),
        ("row.paid > 5", "`>` met a null"),
        ("row.paid + 1 == 2", "`+` met a null"),
        ("row.paid in [1, 2]", "`in` met a null"),
        ("!(row.paid > 5)", "`>` met a null"),
        ("-row.paid == 1", "`-` met a null"),
        ("row.paid > 5 || true", "true"),
        ("true || row.paid > 5", "true"),
        ("row.paid > 5 && false", "false"),
        ("false && row.paid > 5", "false"),
        ("row.paid > 5 && true", "`>` met a null"),
        ("row.paid > 5 || false", "`>` met a null"),
        ("row.paid == null ? row.amount > 1 : row.paid > 1", "true"),
        ("row.paid > 1 ? true : true", "`>` met a null"),
        ("actor == null", "true"),
        ("actor.startsWith('a')", "`startsWith` met a null"),
        ("has(row.paid)", "false"),
        ("has(row.amount)", "true"),
        ("null == null", "true"),
    ]);
    let null = r#"{"urgent":null}"#;
    assert_eq!(
        judged("row.urgent", None, Some(null)),
        "`the condition` met a null"
    );
    assert_eq!(judged("!row.urgent", None, Some(null)), "`!` met a null");
    assert_eq!(
        judged("row.urgent && true", None, Some(null)),
        "`&&` met a null"
    );
}

#[test]
fn absent_rows_are_null_and_so_are_their_fields() {
    let judge = |source, before, after| judged(source, before, after);
    let row = Some(ROW);
    assert_eq!(judge("old == null && new != null", None, row), "true");
    assert_eq!(judge("old != null && new == null", row, None), "true");
    assert_eq!(judge("old.status == null", None, row), "true");
    assert_eq!(judge("old.status != new.status", None, row), "true");
    assert_eq!(
        judge("old.amount < new.amount", None, row),
        "`<` met a null"
    );
    assert_eq!(
        judge("row.status == 'open' && op == 'delete'", row, None),
        "true"
    );
    assert_eq!(judge("has(old.status)", None, row), "false");
    let later = ROW.replace("\"open\"", "\"released\"");
    let released = "old.status != 'released' && new.status == 'released'";
    assert_eq!(judge(released, row, Some(&later)), "true");
    assert_eq!(judge(released, Some(&later), Some(&later)), "false");
    assert_eq!(judge("row.status == 'released'", row, Some(&later)), "true");
    assert_eq!(judge("row == null", row, None), "false");
}

#[test]
fn arithmetic_is_exact_and_says_when_it_can_not() {
    assert_table(&[
        ("row.amount * 3 == 750", "true"),
        ("row.amount - 0.01 == 249.99", "true"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("row.qty / 2 == 3", "true"),
        ("-row.qty / 2 == -3", "true"),
        ("row.qty % 4 == 3", "true"),
        ("row.amount / 3 > 83.33 && row.amount / 3 < 83.34", "true"),
        ("row.amount % 100 == 50", "true"),
        ("row.qty / (row.small + 3) == 1", "division by zero"),
        ("row.rate / (row.rate - 1.5) > 0", "division by zero"),
        ("row.id * 9223372036854775807 > row.id", "true"),
        ("-(row.small) == 3", "true"),
        ("row.status + '!' == 'open!'", "true"),
        (
            "1e300 * row.qty * 1e300 * 1e300 * 1e300 > 1",
            "a number is out of range",
        ),
    ]);
}

#[test]
fn lists_are_searched_and_looped_over() {
    assert_table(&[
        ("row.status in ['new', 'open']", "true"),
        ("row.status in ['new', 'closed']", "false"),
        ("!(row.status in [])", "true"),
        ("row.amount in [1, 250]", "true"),
        ("row.rate in [1, 1.5]", "true"),
        ("row.status in [row.kind, 'open']", "true"),
        ("row.status in row.tags", "false"),
        ("'eu' in row.tags", "true"),
        ("3 in row.counts", "true"),
        ("'status' in changed", "true"),
        ("'note' in changed", "false"),
        ("changed == ['status', 'amount']", "true"),
        ("changed.exists(c, c == 'status')", "true"),
        ("changed.exists(c, c in ['note', 'qty'])", "false"),
        ("changed.all(c, c in ['status', 'amount'])", "true"),
        ("size(changed) == 2 && changed.size() == 2", "true"),
        ("row.tags.exists(t, t.startsWith('n'))", "true"),
        ("row.tags.all(t, size(t) == 2)", "false"),
        ("[].exists(t, true) || ![].all(t, false)", "false"),
        // A hit wins over an item that fails, wherever it stands.
        ("row.counts.exists(n, n > 2)", "true"),
        ("row.counts.exists(n, n > 5)", "`>` met a null"),
        ("row.counts.all(n, n < 2)", "false"),
        ("row.counts.all(n, n < 5)", "`<` met a null"),
        ("row.tags.exists(t, row.tags.exists(u, t != u))", "true"),
        ("row.tags.exists(t, row.tags.all(u, t == u))", "false"),
        ("row.counts.exists(n, n == null)", "true"),
    ]);
}

#[test]
fn json_is_looked_into_and_typed_when_seen() {
    assert_table(&[
        ("row.doc.customer.name == 'Ada'", "true"),
        ("row.doc.customer.vip", "true"),
        ("row.doc['odd key'] == 1", "true"),
        ("row.doc.total == 12.5", "true"),
        ("row.doc.total > row.rate", "true"),
        ("row.doc.lines[1].qty == 10", "true"),
        ("row.doc.lines[9].qty == null", "true"),
        (
            "row.doc.lines[-1] == null",
            "`[...]` does not take a value of this kind",
        ),
        (
            "row.doc.nothing == null && row.doc.no.thing == null",
            "true",
        ),
        ("row.doc.customer.email == null", "true"),
        (
            "has(row.doc.customer.email) && !has(row.doc.customer.phone)",
            "true",
        ),
        ("has(row.doc.nothing.at.all)", "false"),
        (
            "row.doc.lines.sku == null && row.doc.customer[0] == null",
            "true",
        ),
        (
            "row.doc[row.doc.customer] == null",
            "`[...]` does not take a value of this kind",
        ),
        // Equality of different kinds is false, an order is a failure.
        ("row.doc.total == 'x'", "false"),
        (
            "row.doc.customer.name < 5",
            "`<` does not take a value of this kind",
        ),
        ("row.doc.nothing < 5", "`<` met a null"),
        (
            "row.doc.customer",
            "`the condition` does not take a value of this kind",
        ),
        ("row.doc.lines.exists(l, l.sku == 'B' && l.qty > 5)", "true"),
        ("row.doc.lines.all(l, has(l.sku))", "true"),
        ("row.doc.customer.exists(key, key == 'vip')", "true"),
        (
            "row.doc.total.exists(t, true)",
            "`exists` does not take a value of this kind",
        ),
        ("'vip' in row.doc.customer", "true"),
        (
            "size(row.doc.lines) == 2 && size(row.doc.customer) == 3",
            "true",
        ),
        ("row.doc.customer == row.doc.customer", "true"),
        ("row.doc.lines[0] == row.doc.lines[1]", "false"),
        ("row.doc.total + 1 == 13.5", "true"),
        ("row.doc.lines[0].sku + 'x' == 'Ax'", "true"),
        ("timestamp(row.doc.at) < now", "true"),
        (
            "timestamp(row.doc.customer.name) < now",
            "a value can't be read as a timestamp",
        ),
        ("row.doc.customer.name.matches('^A')", "true"),
    ]);
    let huge = r#"{"doc":{"n":1e200000}}"#;
    assert_eq!(
        judged("row.doc.n > 5", None, Some(huge)),
        "a value can't be read as a number of bounded size"
    );
    assert_eq!(judged("has(row.doc.n)", None, Some(huge)), "true");
}

#[test]
fn text_is_searched() {
    assert_table(&[
        ("row.status.contains('pe')", "true"),
        (
            "row.status.startsWith('op') && row.status.endsWith('en')",
            "true",
        ),
        ("row.status.startsWith('pen')", "false"),
        ("row.note.contains('\"b\"')", "true"),
        ("row.status.matches('^o.*n$')", "true"),
        ("row.status.matches(r'\\d')", "false"),
        ("row.note.matches('ü$')", "true"),
        ("size(row.note) == 7", "true"),
        ("row.status.upperAscii() == 'OPEN'", "true"),
        ("'OPEN'.lowerAscii() == row.status", "true"),
    ]);
}

#[test]
fn times_and_durations_are_calculated_with() {
    assert_table(&[
        ("row.created_at < now", "true"),
        (
            "row.created_at == timestamp('2026-02-01T00:30:00.25+01:00')",
            "true",
        ),
        ("now - row.created_at > duration('29m')", "true"),
        ("now - row.created_at < duration('1799s')", "false"),
        ("row.created_at + duration('30m') > now", "true"),
        ("row.due == timestamp('2026-02-03')", "true"),
        ("row.due - duration('2d') == now", "true"),
        ("row.ships_at == timestamp('2026-02-01T08:00:00Z')", "true"),
        ("row.wait == duration('26h')", "true"),
        ("row.wait + duration('1h') > duration('1d')", "true"),
        ("row.created_at + row.wait > row.due", "false"),
        ("row.created_at.getHours() == 23", "true"),
        ("row.created_at.getHours('Europe/Berlin') == 0", "true"),
        ("row.created_at.getDate('Europe/Berlin') == 1", "true"),
        ("row.created_at.getDayOfWeek() == 6", "true"),
        ("(now - row.created_at).getMinutes() == 29", "true"),
        ("event.time == now", "true"),
        ("-duration('1h') < duration('0')", "true"),
    ]);
    let months = r#"{"wait":"P1M"}"#;
    assert_eq!(
        judged("row.wait > duration('1d')", None, Some(months)),
        "a value can't be read as an interval without months"
    );
    let infinite = r#"{"created_at":"infinity"}"#;
    assert_eq!(judged("row.created_at > now", None, Some(infinite)), "true");
    assert_eq!(
        judged(
            "row.created_at - now > duration('1d')",
            None,
            Some(infinite)
        ),
        "a duration is out of range"
    );
}

#[test]
fn the_event_and_the_subscription_are_known() {
    assert_table(&[
        ("event.type == 'sales.order.updated'", "true"),
        ("event.object_type == 'sales.order'", "true"),
        (
            "event.subject == '42' && event.source.endsWith('default')",
            "true",
        ),
        ("event.id != ''", "true"),
        ("op == 'update'", "true"),
        ("op in ['create', 'delete']", "false"),
        (
            "subscription.name == 'erp' && subscription.mode == 'batch'",
            "true",
        ),
        ("subscription.labels['desk'] == 'eu'", "true"),
        ("subscription.labels.desk == 'eu'", "true"),
        ("subscription.labels.floor == null", "true"),
        (
            "has(subscription.labels.desk) && !has(subscription.labels.floor)",
            "true",
        ),
        ("'desk' in subscription.labels", "true"),
    ]);
    let row = Row::parse(ROW).unwrap();
    let mut facts = facts(None, Some(&row));
    facts.subscription = None;
    let verdict = compiled("subscription.labels.desk == null").evaluate(&facts);
    assert_eq!(told(&verdict), "true");
}

#[test]
fn events_of_the_api_have_data_and_no_rows() {
    let mut facts = facts(None, None);
    facts.event.data = Some(r#"{"total": 12, "lines": [1, 2]}"#);
    let judge = |source: &str| {
        let expression = Expression::compile(source, &Scope::api_event()).unwrap();
        told(&expression.evaluate(&facts))
    };
    assert_eq!(judge("event.data.total > 10"), "true");
    assert_eq!(judge("event.data.lines.exists(n, n == 2)"), "true");
    assert_eq!(judge("has(event.data.missing)"), "false");
    facts.event.data = None;
    let expression = Expression::compile("event.data.a == null", &Scope::api_event()).unwrap();
    assert_eq!(told(&expression.evaluate(&facts)), "true");
}

#[test]
fn a_column_that_is_gone_fails_and_one_that_moved_is_found() {
    let moved = r#"{"status":"open","id":1,"amount":1.00}"#;
    assert_eq!(judged("row.status == 'open'", None, Some(moved)), "true");
    assert_eq!(
        judged("row.note == null", None, Some(moved)),
        "the row has no column `note`"
    );
    assert_eq!(
        judged("row.note == null || row.id == 1", None, Some(moved)),
        "true"
    );
}

#[test]
fn values_of_other_kinds_than_their_type_promises_fail() {
    let wrong = r#"{"amount":"many","urgent":"t","created_at":5,"counts":["x"],"tags":"none"}"#;
    for source in [
        "row.amount > 1",
        "row.urgent",
        "row.created_at < now",
        "row.counts.exists(n, n == 1)",
        "size(row.tags) == 1",
    ] {
        let row = Row::parse(wrong).unwrap();
        let verdict = compiled(source).evaluate(&facts(None, Some(&row)));
        let is_unreadable = matches!(verdict, Verdict::Failed(Failure::Unreadable { .. }));
        assert!(is_unreadable, "`{source}`: {verdict:?}");
    }
}

#[test]
fn loops_are_bounded() {
    let list = |length: usize| format!("[{}]", vec!["1"; length].join(","));
    let judge = |source, length| {
        let row = format!(r#"{{"doc":{0},"counts":{0}}}"#, list(length));
        judged(source, None, Some(&row))
    };
    let nested = "row.doc.all(a, row.doc.all(b, a == b))";
    assert_eq!(judge(nested, 50), "true");
    assert_eq!(judge(nested, 1_000), "its loops took more than 20000 steps");
    let ordered = "row.doc.all(a, row.doc.all(b, a <= b))";
    assert_eq!(
        judge(ordered, 1_000),
        "its loops took more than 20000 steps"
    );
    assert_eq!(judge("row.doc.all(a, a < 2)", 10_000), "true");
    assert_eq!(
        judge("row.doc.all(a, a < 2)", 10_001),
        "a list has more than 10000 items"
    );
    assert_eq!(
        judge("2 in row.counts", 10_001),
        "a list has more than 10000 items"
    );
}
