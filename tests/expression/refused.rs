//! What is refused, where, and what it is told.

use rowcall::expr::{Expression, Problem, Scope};

use crate::scope;

fn problems(source: &str) -> Vec<Problem> {
    match Expression::compile(source, &scope()) {
        Ok(_) => panic!("`{source}` is not refused"),
        Err(problems) => problems,
    }
}

/// Asserts for each text the place of the one problem, and words of its message and help.
fn assert_refused(table: &[(&str, (usize, usize), &str, &str)]) {
    let mut wrong = Vec::new();
    for (source, place, message, help) in table {
        match Expression::compile(source, &scope()) {
            Ok(_) => wrong.push(format!("`{source}` is not refused")),
            Err(problems) => {
                let fits = matches!(problems.as_slice(), [problem]
                    if (problem.line, problem.column) == *place
                        && problem.message.contains(message)
                        && problem.help.contains(help));
                if !fits {
                    let told: Vec<_> = problems.iter().map(Problem::to_string).collect();
                    wrong.push(format!("`{source}`: {}", told.join("; ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unknown_names_are_told_with_the_nearest_one() {
    assert_refused(&[
        (
            "row.statu == 'open'",
            (1, 5),
            "no column `statu`",
            "`status`",
        ),
        (
            "true &&\n  new . amuont > 5",
            (2, 9),
            "no column `amuont`",
            "`amount`",
        ),
        (
            "row.zzzzzz == 1",
            (1, 5),
            "no column `zzzzzz`",
            "its columns are id, status",
        ),
        (
            "status == 'open'",
            (1, 1),
            "nothing is named `status`",
            "`row.status`",
        ),
        (
            "rows.status == 'open'",
            (1, 1),
            "nothing is named `rows`",
            "`row`",
        ),
        ("open", (1, 1), "nothing is named `open`", "'open'"),
        (
            "event.tpye == 'x'",
            (1, 7),
            "no field `tpye`",
            "`event.type`",
        ),
        (
            "subscription.owner == 'x'",
            (1, 14),
            "no field `owner`",
            "name, mode, labels",
        ),
        (
            "'statsu' in changed",
            (1, 1),
            "no column `statsu`",
            "`status`",
        ),
        (
            "changed.exists(c, c == 'statsu')",
            (1, 24),
            "no column `statsu`",
            "`status`",
        ),
        ("op == 'updated'", (1, 7), "never 'updated'", "'update'"),
        (
            "subscription.mode == 'batched'",
            (1, 22),
            "never 'batched'",
            "'batch'",
        ),
        (
            "row.status.startswith('a')",
            (1, 12),
            "no function",
            "`startsWith`",
        ),
        (
            "tody() == now",
            (1, 1),
            "no function is named `tody`",
            "known are",
        ),
        (
            "row['statu'] == 'x'",
            (1, 5),
            "no column `statu`",
            "`status`",
        ),
        (
            "row.created_at.getHours('Europe/Berln') == 1",
            (1, 25),
            "no time zone",
            "Europe/Berlin",
        ),
        (
            "event.data.x == 1",
            (1, 7),
            "only for events that the API",
            "`row`",
        ),
    ]);
}

#[test]
fn hidden_columns_can_not_be_named() {
    assert_refused(&[
        ("row.internal_note == 'x'", (1, 5), "excluded", "`exclude`"),
        ("old.card_number != null", (1, 5), "masked", "`mask`"),
        ("has(row.card_number)", (1, 1), "masked", "`mask`"),
        ("'card_number' in changed", (1, 1), "masked", "`mask`"),
        (
            "row['internal_note'] == null",
            (1, 5),
            "excluded",
            "`exclude`",
        ),
    ]);
    // Nor are they suggested.
    let help = &problems("row.card_numbr == 'x'")[0].help;
    assert!(!help.contains("card_number"), "{help}");
}

#[test]
fn types_that_do_not_fit_are_refused() {
    assert_refused(&[
        (
            "row.amount > 'x'",
            (1, 14),
            "a number with text",
            "write a number",
        ),
        (
            "row.amount > '5'",
            (1, 14),
            "a number with text",
            "5 without quotes",
        ),
        (
            "row.status == 5",
            (1, 15),
            "text with a whole number",
            "'5' in quotes",
        ),
        (
            "row.urgent == 'true'",
            (1, 15),
            "true or false with text",
            "without quotes",
        ),
        (
            "row.created_at > '2026-01-01'",
            (1, 18),
            "timestamp with text",
            "timestamp('2026",
        ),
        (
            "row.wait > '1h'",
            (1, 12),
            "duration with text",
            "duration('1h')",
        ),
        (
            "row.status == row.amount",
            (1, 12),
            "text with a number",
            "",
        ),
        ("row.tags == 'new'", (1, 13), "a list with text", "in"),
        (
            "row.urgent && row.status",
            (1, 19),
            "takes true or false",
            "compare",
        ),
        ("!row.status", (1, 6), "takes true or false, not text", ""),
        (
            "row.status ? true : false",
            (1, 5),
            "takes true or false",
            "",
        ),
        ("row.urgent ? 1 : 'x'", (1, 12), "one side of `:`", ""),
        ("row.amount + 'x' == 1", (1, 12), "`+` does not take", ""),
        (
            "row.created_at + 5 > now",
            (1, 16),
            "`+` does not take",
            "duration(",
        ),
        ("row.amount == old", (1, 12), "`old` is a row", "null"),
        ("old == new", (1, 5), "is a row", "size(changed)"),
        ("row == 5", (1, 5), "is a row", "null"),
        ("row.amount < null", (1, 14), "no order", "== null"),
        ("row.status.amount == 1", (1, 12), "text has no field", ""),
        (
            "row.tags.name == 1",
            (1, 10),
            "a list has no field",
            "exists",
        ),
        ("row.status[0] == 'o'", (1, 11), "text has no items", ""),
        ("row.tags['a'] == 'x'", (1, 10), "whole number", ""),
        (
            "'x' in row.status",
            (1, 12),
            "`in` takes a list, not text",
            "contains",
        ),
        (
            "5 in row.tags",
            (1, 3),
            "looks for a whole number in a list of text",
            "",
        ),
        (
            "row.status in ['a', 5]",
            (1, 21),
            "does not take a whole number",
            "",
        ),
        ("row.paid in [1, null]", (1, 17), "never found", "== null"),
        ("null in row.tags", (1, 1), "does not take null", ""),
        (
            "row.amount.contains('x')",
            (1, 5),
            "`contains` takes text",
            "",
        ),
        (
            "row.tags.contains('x')",
            (1, 5),
            "`contains` takes text",
            "in list",
        ),
        ("row.amount.exists(x, true)", (1, 5), "takes a list", ""),
        ("row.tags.exists(t, t)", (1, 20), "takes true or false", ""),
        ("event == null", (1, 1), "`event` as a whole", "fields"),
        ("size(row.amount) == 1", (1, 10), "`size` takes text", ""),
        (
            "row.status.getHours() == 1",
            (1, 5),
            "takes a timestamp",
            "",
        ),
        (
            "duration('1h').getDate() == 1",
            (1, 1),
            "takes a timestamp",
            "",
        ),
        ("-row.status == 'x'", (1, 6), "takes a number", ""),
    ]);
}

#[test]
fn the_result_is_a_condition() {
    assert_refused(&[
        (
            "row.amount",
            (1, 5),
            "is a number, not true or false",
            "compare",
        ),
        ("'x'", (1, 1), "is text", "compare"),
        ("old", (1, 1), "is a row", "null"),
        ("1 + 2", (1, 3), "is a whole number", "compare"),
        ("row.tags", (1, 5), "is a list", "condition"),
    ]);
}

#[test]
fn literals_that_a_column_can_not_hold_are_refused() {
    assert_refused(&[
        ("row.qty == 1.5", (1, 12), "never 1.5", "`<` or `>`"),
        ("row.qty in [1, 1.5]", (1, 16), "never 1.5", ""),
        (
            "row.small > 40000",
            (1, 13),
            "range of smallint",
            "-32768 to 32767",
        ),
        ("row.qty == -3000000000", (1, 12), "range of integer", ""),
        (
            "row.amount == 1.005",
            (1, 15),
            "2 digits behind the point",
            "",
        ),
        ("row.share == 1e300", (1, 14), "out of the range", ""),
        ("row.uid == 'abc'", (1, 12), "not a UUID", ""),
        (
            "row.created_at > timestamp('today')",
            (1, 28),
            "not a timestamp",
            "2026-01-31",
        ),
        (
            "now - row.due > duration('1 hour')",
            (1, 26),
            "not a duration",
            "1h30m",
        ),
        ("row.qty / 0 == 1", (1, 11), "division by zero", ""),
    ]);
    // An order is meaningful with any number.
    for source in ["row.qty > 1.5", "row.amount > 1.005", "row.qty == 1.0"] {
        assert!(Expression::compile(source, &scope()).is_ok(), "{source}");
    }
}

#[test]
fn patterns_are_literals_that_can_be_read() {
    assert_refused(&[
        (
            "row.status.matches(row.note)",
            (1, 24),
            "is a text literal",
            "quotes",
        ),
        ("row.status.matches('(')", (1, 20), "can't be read", ""),
        (
            "row.status.matches('(?=a)')",
            (1, 20),
            "look-around",
            "no look-around",
        ),
        (
            "row.status.matches('(\\\\w{1,1000}){1,1000}')",
            (1, 20),
            "when compiled",
            "smaller",
        ),
        // A megabyte or so, which the regex crate itself would allow.
        (
            "row.status.matches('\\\\w{100}')",
            (1, 20),
            "262144 bytes when compiled",
            "smaller",
        ),
    ]);
}

#[test]
fn what_cel_has_and_this_language_has_not_is_refused() {
    assert_refused(&[
        ("{'a': 1} == null", (1, 1), "maps", ""),
        (
            "row.tags.map(t, t) == ['x']",
            (1, 10),
            "`exists`, `all`",
            "",
        ),
        (
            "row.tags.exists_one(t, t == 'x')",
            (1, 10),
            "`exists`, `all`",
            "",
        ),
        ("b'abc' == row.status", (1, 1), "bytes", ""),
        ("Msg{a: 1} == null", (1, 1), "messages", ""),
        (
            "row.tags.exists(t)",
            (1, 10),
            "not called like this",
            "exists(item,",
        ),
        (
            "timestamp() < now",
            (1, 1),
            "not called like this",
            "timestamp('2026",
        ),
        (
            "contains(row.status, 'x')",
            (1, 1),
            "not called like this",
            "text.contains",
        ),
        (
            "row.tags.exists(row, row == 'x')",
            (1, 10),
            "name that is taken",
            "",
        ),
    ]);
}

#[test]
fn syntax_errors_have_a_place() {
    assert_refused(&[
        ("row.amount >", (1, 13), "ends too early", ""),
        (
            "row.urgent and row.qty > 1",
            (1, 12),
            "`and` is not expected",
            "`&&`",
        ),
        ("row.qty = 1", (1, 9), "`=` is not expected", "`==`"),
        ("'ü' == 'ü' x", (1, 12), "`x` is not expected", ""),
        ("row.status == 'open", (1, 15), "unterminated", ""),
        (
            "row.qty == 99999999999999999999",
            (1, 12),
            "invalid int",
            ".0",
        ),
    ]);
    assert!(!problems("").is_empty());
    assert!(!problems("  // nothing\n").is_empty());
}

#[test]
fn several_problems_are_told_together_in_the_order_of_the_text() {
    let problems = problems("row.statu == 'x' ||\n row.amount > 'y' || tody");
    let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(1, 5), (2, 15), (2, 22)]);
}

#[test]
fn what_is_too_long_deep_or_costly_is_refused() {
    let long = format!("row.status == '{}'", "x".repeat(5_000));
    let refused = problems(&long);
    assert!(
        refused[0].message.contains("5016 bytes; the limit is 4096"),
        "{refused:?}"
    );

    let deep = |open: &str, close: &str, levels: usize| {
        format!("{}true{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("(", ")"), ("!(", ")"), ("true ? false : ", ""), ("[", "]")] {
        let refused = problems(&deep(open, close, 200));
        assert!(
            refused[0].message.contains("deeper than 32"),
            "{open}: {refused:?}"
        );
    }
    for chain in [".a", "[0]", " + 1", ".f()", " == 1"] {
        let refused = problems(&format!("row.doc{}", chain.repeat(200)));
        assert!(
            refused[0].message.contains("deeper than 32"),
            "{chain}: {refused:?}"
        );
    }
    // A tree can be deep although no bracket is.
    let mut leaning = "1".to_owned();
    for level in 0..30 {
        leaning = format!("({leaning}{})", "+1".repeat(30 - level));
    }
    let refused = problems(&format!("{leaning} == 1"));
    assert!(refused[0].message.contains("deeper than 32"), "{refused:?}");
    for (terms, is_fine) in [(29, true), (40, false)] {
        let sum = format!("row.qty{} > 0", " + row.qty".repeat(terms));
        assert_eq!(
            Expression::compile(&sum, &scope()).is_ok(),
            is_fine,
            "{terms}"
        );
    }
    // Beside each other they are no depth.
    let wide = vec!["row.qty == 1"; 200].join(" || ");
    assert!(Expression::compile(&wide, &scope()).is_ok());
    assert!(Expression::compile(&deep("(", ")", 25), &scope()).is_ok());

    let costly = "row.doc.all(a, row.doc.all(b, row.doc.all(c, a == c)))";
    let refused = problems(costly);
    assert!(
        refused[0].message.contains("the limit is 250000"),
        "{refused:?}"
    );
    let nested = "row.doc.all(a, row.doc.all(b, a == b))";
    let cost = Expression::compile(nested, &scope()).unwrap().cost();
    assert!(cost > 10_000, "{cost}");
}

#[test]
fn scopes_know_what_they_have() {
    let told = |source: &str, scope: &Scope| {
        let problems = Expression::compile(source, scope).expect_err(source);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    };
    let api = Scope::api_event();
    assert!(told("row.status == 'x'", &api).contains("no object type"));
    assert!(told("'a' in changed", &api).contains("event.data"));
    let early = scope().without_subscription();
    assert!(told("subscription.name == 'x'", &early).contains("does not depend"));
    assert!(Expression::compile("event.data.total > 5", &api).is_ok());
}
