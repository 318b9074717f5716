//! The examples of docs/EXPRESSIONS.md are true.

use rowcall::expr::Expression;

use crate::{ROW, judged, scope};

const DOCUMENT: &str = include_str!("../../docs/EXPRESSIONS.md");

/// The cells of the lines of the table below a heading, without the backticks around them.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(heading).unwrap();
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("|"))
        .take_while(|line| line.starts_with("|"))
        .skip(2);
    rows.map(|row| {
        // `\|` is how Markdown writes a bar inside a table.
        let row = row.replace("\\|", "\u{0}");
        let cells = row.trim_matches('|').split('|');
        let cell = |cell: &str| {
            cell.replace('\u{0}', "|")
                .trim()
                .trim_matches('`')
                .to_owned()
        };
        cells.map(cell).collect()
    })
    .collect()
}

/// The JSON of the row that the examples are about.
fn row() -> &'static str {
    let (_, rest) = DOCUMENT.split_once("```json\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn every_example_comes_out_as_the_document_says() {
    let examples = table("## Examples");
    assert!(examples.len() >= 30, "{}", examples.len());
    for example in examples {
        let [source, expected, _] = example.as_slice() else {
            panic!("three cells: {example:?}");
        };
        let said = judged(source, Some(ROW), Some(row()));
        let fits = match expected.as_str() {
            "fails" => !matches!(said.as_str(), "true" | "false"),
            _ => said == *expected,
        };
        assert!(fits, "`{source}` is {said}; the document says {expected}");
    }
}

#[test]
fn every_refused_example_is_refused() {
    let examples = table("## What is refused");
    assert!(examples.len() >= 8, "{}", examples.len());
    for example in examples {
        let [source, message, help] = example.as_slice() else {
            panic!("three cells: {example:?}");
        };
        let problems = Expression::compile(source, &scope()).expect_err(source);
        let problem = &problems[0];
        assert!(problem.message.contains(message), "`{source}`: {problem}");
        assert!(problem.help.contains(help), "`{source}`: {problem}");
    }
}

#[test]
fn the_limits_are_those_of_the_program() {
    use rowcall::expr::{
        COST_MAX, LIST_ITEMS_MAX, LOOP_STEPS_MAX, NUMBER_DIGITS_MAX, REGEX_BYTES_MAX,
        SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, TEXT_BYTES_MAX,
    };
    let told: Vec<String> = table("## Limits")
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    let limits = [
        SOURCE_BYTES_MAX as u64,
        SOURCE_DEPTH_MAX as u64,
        COST_MAX,
        REGEX_BYTES_MAX as u64,
        LIST_ITEMS_MAX as u64,
        u64::from(LOOP_STEPS_MAX),
        TEXT_BYTES_MAX as u64,
        NUMBER_DIGITS_MAX as u64,
    ];
    let limits: Vec<String> = limits.iter().map(u64::to_string).collect();
    let told: Vec<String> = told.iter().map(|limit| limit.replace(',', "")).collect();
    assert_eq!(told, limits);
}
