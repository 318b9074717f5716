//! Nothing panics, whatever the text and whatever the rows hold.

use proptest::prelude::*;
use rowcall::expr::{Expression, Row, Verdict, probe};

use crate::{
    COLUMNS, facts, scope,
    writer::{Writer, cases},
};

/// What a column may hold that its type did not promise, beside what it did.
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-0",
    "1.50",
    "-9223372036854775808",
    "9223372036854775808",
    "1e200000",
    "1e-200000",
    "123456789012345678901234567890.123456789",
    "\"NaN\"",
    "\"-Infinity\"",
    "\"\"",
    "\"open\"",
    "\"ab  \"",
    "\"\\ud800\"",
    "\"\\u0000\\n\"",
    "\"2026-01-31T08:00:00+00:00\"",
    "\"infinity\"",
    "\"294276-12-31T23:59:59.999999+00:00\"",
    "\"4713-01-01T00:00:00+00:00 BC\"",
    "\"P1DT2H\"",
    "\"P9999999999999D\"",
    "[]",
    "[1, null, \"x\", [2], {\"a\": 1e99999}]",
    "{}",
    "{\"a\": {\"b\": [1, 2]}, \"a\": null, \"\": 0}",
];

/// Words that together are often an expression.
const WORDS: &[&str] = &[
    "row",
    "old",
    "new",
    "changed",
    "op",
    "event",
    "now",
    "actor",
    "subscription",
    ".",
    ".",
    ".",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "?",
    ":",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">",
    ">=",
    "&&",
    "||",
    "in",
    " ",
    " ",
    " ",
    "\n",
    "null",
    "true",
    "false",
    "1",
    "0",
    "2.5",
    "1e300",
    "1e999",
    "99999999999999999999",
    "-9223372036854775808",
    "0xFF",
    "1u",
    "'x'",
    "'ü'",
    "\"\\\"\"",
    "r'\\d'",
    "b'x'",
    "'''",
    "//",
    "`",
    "`a`",
    "id",
    "amount",
    "status",
    "doc",
    "tags",
    "rate",
    "at",
    "wait",
    "type",
    "data",
    "labels",
    "mode",
    "has",
    "exists",
    "all",
    "map",
    "size",
    "matches",
    "contains",
    "timestamp",
    "duration",
    "'2026-01-01'",
    "'1h'",
    "getHours",
    "x",
    "_",
    "@result",
    "__result__",
    "\u{0}",
    "é",
    "𝄞",
];

fn number(writer: &mut Writer) -> String {
    let column = writer.pick(&[
        "id", "amount", "paid", "weight", "qty", "small", "rate", "share",
    ]);
    let root = writer.pick(&["row", "old", "new"]);
    match writer.below(6) {
        0 => format!("{root}.{column}"),
        1 => writer.pick(&["0", "-1", "7", "1e3"]).to_owned(),
        2 => format!("({} + {root}.{column})", number(writer)),
        3 => format!("({} * {root}.{column} * 1e300)", number(writer)),
        4 => format!("({root}.doc.total - {root}.{column})"),
        _ => format!("({root}.{column} / ({root}.{column} % 7))"),
    }
}

fn leaf(writer: &mut Writer) -> String {
    let sign = writer.pick(&["==", "!=", "<", "<=", ">", ">="]);
    let root = writer.pick(&["row", "old", "new"]);
    let text = writer.pick(&["status", "note", "code", "kind"]);
    match writer.below(13) {
        0 | 1 => format!("{} {sign} {}", number(writer), number(writer)),
        2 => format!("{root}.{text} {sign} 'open'"),
        3 => format!("{root}.{text}.matches('^o.*$')"),
        4 => format!("{root}.{text} in ['open', 'new', {root}.note]"),
        5 => format!("{root}.created_at + {root}.wait {sign} now"),
        6 => format!("{root}.due - event.time {sign} {root}.wait"),
        7 => format!("{root}.doc.a.b[0] {sign} {root}.doc.total"),
        8 => format!("{root}.doc.exists(x, x == {root}.doc || x {sign} 1)"),
        9 => format!("{root}.counts.all(n, n {sign} {root}.qty)"),
        10 => format!("{root}.due.getDayOfYear('Asia/Tokyo') {sign} {root}.wait.getHours()"),
        11 => format!("has({root}.doc.a) && size({root}.tags) {sign} size({root}.{text} + 'x')"),
        _ => format!("{root}.urgent == {root}.doc.a.vip"),
    }
}

fn row(writer: &mut Writer) -> String {
    let columns = COLUMNS.iter().map(|(name, _)| {
        // Now and then a column is gone.
        let name = if writer.below(20) == 0 { "gone" } else { name };
        format!("\"{name}\":{}", writer.pick(VALUES))
    });
    let columns: Vec<_> = columns.collect();
    format!("{{{}}}", columns.join(","))
}

/// A thread of a server has 2 MiB, and may be some way down already; these are built without
/// optimisation as well.
#[test]
fn a_small_stack_is_enough() {
    let mut texts: Vec<String> = Vec::new();
    for part in [
        "(",
        "[",
        "{",
        "!",
        "-",
        "!(",
        "-(",
        "a?",
        "a?b:",
        "a.",
        "a[",
        "a(",
        "a.f(",
        "1+",
        "a&&",
        "(a||",
        "[[",
        "has(",
        "x.exists(a,",
        "x.all(a,(",
        "a in ",
        "a==",
        "size(",
        "'",
        "//",
        "`",
    ] {
        texts.push(part.repeat(4_096 / part.len()));
        texts.push(format!("{}row.urgent", part.repeat(4_000 / part.len())));
    }
    for (open, close) in [
        ("(", ")"),
        ("!(", ")"),
        ("[", "]"),
        ("size(", ")"),
        ("-(", ")"),
    ] {
        for levels in [20, 31, 32, 200, 400] {
            texts.push(format!(
                "{}true{}",
                open.repeat(levels),
                close.repeat(levels)
            ));
        }
    }
    for part in [
        ".a", "[0]", ".f()", "+1", "==1", "?1:1", "{}", ".a{}", " in a", "&&a", ",a",
    ] {
        texts.push(format!("row.doc{}", part.repeat(4_000 / part.len())));
    }
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let thread = small.spawn(move || texts.iter().filter(|text| probe(text.as_bytes())).count());
    let compiled = thread.unwrap().join().unwrap();
    assert!(compiled > 0);
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_bytes_are_compiled_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = probe(&bytes);
    }

    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC{0,200}") {
        let _ = probe(text.as_bytes());
    }

    #[test]
    fn any_words_are_compiled_or_refused(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40),
    ) {
        let text = words.concat();
        let _ = probe(text.as_bytes());
        // Of a place that is told, the text must have it.
        if let Err(problems) = Expression::compile(&text, &scope()) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                let line = text.split('\n').nth(problem.line - 1);
                let columns = line.map(|line| line.chars().count() + 1);
                prop_assert!(Some(problem.column) <= columns, "{}: {:?}", problem, text);
            }
        }
    }

    #[test]
    fn no_row_makes_an_expression_panic(seed in any::<u64>()) {
        let mut writer = Writer(seed);
        let source = writer.condition(2, &leaf);
        let (before, after) = (row(&mut writer), row(&mut writer));
        let expression = Expression::compile(&source, &scope());
        let problems = expression.as_ref().err();
        prop_assert!(problems.is_none(), "seed {}, `{}`: {:?}", seed, source, problems);
        let expression = expression.unwrap();
        let (before, after) = (Row::parse(&before).unwrap(), Row::parse(&after).unwrap());
        for facts in [
            facts(Some(&before), Some(&after)),
            facts(None, Some(&after)),
            facts(Some(&before), None),
        ] {
            let verdict = expression.evaluate(&facts);
            let constant = expression.constant();
            let agrees = match constant {
                Some(false) => !verdict.is_true(),
                // What fails is no row that its types promise.
                Some(true) => verdict != Verdict::False,
                None => true,
            };
            prop_assert!(agrees, "seed {}, `{}`: {:?}, {:?}", seed, source, constant, verdict);
            for (name, value) in expression.values(&facts) {
                prop_assert!(value.chars().count() <= 200, "seed {seed}: {name}");
            }
        }
    }
}
