use std::collections::BTreeSet;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::*;
use crate::{
    expr::Verdict,
    registry::candidates::{
        Candidates,
        tests::{
            candidates,
            rows::{COLUMNS, row},
            with_facts,
        },
    },
};

/// What is bounded, and by what.
const BOUNDED: &[(&str, &[&str])] = &[
    (
        "row.amount",
        &[
            "0",
            "1",
            "1.00",
            "2.5",
            "-99.99",
            "99.99",
            "100",
            "1e2",
            "123456789012345678901234567890.5",
        ],
    ),
    ("new.qty", &["-1", "0", "1", "1.5", "2"]),
    (
        "row.total",
        &["0", "9007199254740992", "9223372036854775807"],
    ),
    (
        "row.region",
        &["''", "'eu'", "'f'", "'us'", "'7'", "'\u{e000}'"],
    ),
    ("old.region", &["'eu'", "'\u{1f600}'"]),
    ("row.code", &["'ab'", "'abc'", "'ab '"]),
    ("row.id", &["'00000000-0000-0000-0000-000000000001'", "'C'"]),
    ("row.is_paid", &["true", "false"]),
    (
        "row.doc.a",
        &[
            "0",
            "1",
            "2",
            "-1.5",
            "'w'",
            "'x'",
            "true",
            "duration('1h')",
            "timestamp('2026-01-01T06:00:00Z')",
        ],
    ),
    ("row.doc['a.b']", &["'w'", "'x'", "1"]),
    ("row.tags[0]", &["'a'", "'b'"]),
    (
        "row.at",
        &[
            "timestamp('2026-01-01T00:00:00Z')",
            "timestamp('2026-01-01T12:00:00Z')",
        ],
    ),
    (
        "row.day",
        &[
            "timestamp('2026-01-01T00:00:00Z')",
            "timestamp('2026-01-01T12:00:00Z')",
        ],
    ),
    (
        "row.lasts",
        &["duration('0s')", "duration('1h')", "duration('24h')"],
    ),
    (
        "event.time",
        &[
            "timestamp('1970-01-01T00:00:00Z')",
            "timestamp('1969-12-31T23:59:59Z')",
        ],
    ),
    ("event.subject", &["'0'", "'1'", "'10'"]),
    ("op", &["'delete'", "'update'"]),
];

/// What is compared with limits in vain: doubles, what differs between subscriptions, and what is
/// calculated.
const IN_VAIN: &[(&str, &[&str])] = &[
    ("row.rate", &["0", "1", "1.5"]),
    ("row.share", &["0.1", "1"]),
    ("row.qty + 1", &["1", "2"]),
    ("size(row.region)", &["1", "2"]),
    ("subscription.name", &["'s'", "'s3'"]),
    ("(row.is_paid ? row.qty : row.amount)", &["1", "2.5"]),
];

fn comparisons(name: &str, limit: &str) -> Vec<String> {
    let signs = ["<", "<=", ">", ">="].into_iter();
    signs
        .flat_map(|sign| {
            [
                format!("{name} {sign} {limit}"),
                format!("{limit} {sign} {name}"),
            ]
        })
        .collect()
}

/// Bounds of few things, so that there are many of each, that may stand beside others and in what
/// is no conjunction.
fn conditions() -> impl Strategy<Value = Vec<String>> {
    let every: Vec<_> = BOUNDED.iter().chain(IN_VAIN).collect();
    subsequence(every, 1..4).prop_flat_map(|chosen| vec(condition(chosen), 60..200))
}

fn condition(
    chosen: Vec<&'static (&'static str, &'static [&'static str])>,
) -> BoxedStrategy<String> {
    let limits = chosen.into_iter();
    let bounds = limits.flat_map(|(name, limits)| {
        let of_limit = |limit: &&str| comparisons(name, limit);
        limits.iter().flat_map(of_limit).collect::<Vec<_>>()
    });
    let leaf = prop_oneof![
        8 => select(bounds.collect::<Vec<_>>()),
        1 => Just("row.region == 'eu'".to_owned()),
        1 => Just("row.qty in [0, 1]".to_owned()),
        1 => Just("row.is_paid".to_owned()),
    ];
    let any = leaf.prop_recursive(2, 6, 2, |part| {
        let and = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} && {b})"));
        let or = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} || {b})"));
        let not = part.clone().prop_map(|a| format!("!({a})"));
        let other = (part.clone(), part).prop_map(|(a, b)| format!("(row.is_paid ? {a} : {b})"));
        prop_oneof![6 => and, 1 => or, 1 => not, 1 => other]
    });
    any.boxed()
}

/// Those that were left out; of each the filter has to be false, and not to fail.
fn left_out(list: &[Candidate], ranges: &Ranges, facts: &Facts<'_>) -> Vec<u32> {
    let found = places(ranges, facts);
    let distinct: BTreeSet<u32> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "somebody is found twice");
    let is_left_out = |candidate: &&Candidate| !distinct.contains(&candidate.place);
    let left_out = list.iter().filter(is_left_out);
    let judged = left_out.map(|candidate| {
        let filter = candidate.filter.as_ref().unwrap();
        let verdict = filter.evaluate(facts);
        assert!(verdict == Verdict::False, "{filter:?} is {verdict:?}");
        candidate.place
    });
    judged.collect()
}

fn places(ranges: &Ranges, facts: &Facts<'_>) -> Vec<u32> {
    let mut found = Vec::new();
    ranges.find(facts, &mut found);
    found.iter().map(|candidate| candidate.place).collect()
}

proptest! {
    // What fails is told with its seed, and no file is written.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn what_is_left_out_is_false_and_does_not_fail(
        sources in conditions(),
        rows in vec((option::of(row()), option::of(row())), 1..12),
    ) {
        let list = candidates(&sources);
        let ranges = Ranges::new(list.clone());
        prop_assert_eq!(ranges.all().count(), list.len());
        let index = Candidates::new(list.clone());
        for (before, after) in &rows {
            with_facts(before.as_deref(), after.as_deref(), |facts| {
                left_out(&list, &ranges, facts);
                // Nor does the index of values, which has ranges in it, leave out one that is true.
                let mut found = Vec::new();
                index.find(facts, &mut found);
                let found: BTreeSet<u32> = found.iter().map(|one| one.place).collect();
                for candidate in list.iter().filter(|one| !found.contains(&one.place)) {
                    let filter = candidate.filter.as_ref().unwrap();
                    prop_assert!(!filter.evaluate(facts).is_true(), "{filter:?} is left out");
                }
                Ok(())
            })?;
        }
    }
}

#[test]
fn every_value_finds_every_limit_that_it_keeps() {
    for (name, limits) in BOUNDED.iter().chain(IN_VAIN) {
        // GIVEN each comparison with each limit, often enough to be kept by its limit
        let of_limit = |limit: &&str| comparisons(name, limit);
        let sources: Vec<String> = limits.iter().flat_map(of_limit).collect();
        let list = candidates(&[&sources[..]; 3].concat());
        let ranges = Ranges::new(list.clone());
        // WHEN they are looked for by each value of each column, in each image, and by no row
        let rows = COLUMNS.iter().flat_map(|(column, _, values)| {
            let rows = values
                .iter()
                .map(|value| format!(r#"{{"{column}":{value}}}"#));
            rows.collect::<Vec<_>>()
        });
        let rows: Vec<String> = rows.collect();
        let images = rows.iter().flat_map(|row| {
            let (row, other) = (Some(&**row), Some("{}"));
            [(row, None), (None, row), (row, other), (other, row)]
        });
        let mut count = 0;
        for (before, after) in images.chain([(None, None)]) {
            with_facts(before, after, |facts| {
                count += left_out(&list, &ranges, facts).len();
            });
        }
        // THEN those that are left out are false, and they are some, where limits are of use.
        let is_in_vain = IN_VAIN.iter().any(|(other, _)| other == name);
        assert_eq!(count == 0, is_in_vain, "{name}: {count} are left out");
    }
}

#[test]
fn only_those_are_looked_at_whose_limit_the_value_keeps() {
    // GIVEN many lower and upper limits of one column, each its own
    let source = |n: u32| match n % 2 {
        0 => format!("row.amount > {n} && row.qty > 0"),
        _ => format!("row.qty > 0 && {n} >= row.amount"),
    };
    let ranges = Ranges::new(candidates(&(0..1_000).map(source).collect::<Vec<_>>()));
    let found = |row: &str| {
        let mut found = with_facts(None, Some(row), |facts| places(&ranges, facts));
        found.sort_unstable();
        found
    };
    // THEN of the lower ones those up to the value are found, and of the upper ones the others
    assert_eq!(
        found(r#"{"amount":-1,"qty":1}"#),
        (0..500).map(|n| 2 * n + 1).collect::<Vec<_>>()
    );
    let lower = (0..=10).step_by(2);
    let upper = (11..1_000).step_by(2);
    let mut expected: Vec<u32> = lower.chain(upper).collect();
    expected.sort_unstable();
    assert_eq!(found(r#"{"amount":10.50,"qty":1}"#), expected);
    // AND all of them, where the value is null or none, so that what fails is counted.
    assert_eq!(found(r#"{"amount":null,"qty":1}"#).len(), 1_000);
    assert_eq!(found(r#"{"amount":{},"qty":1}"#).len(), 1_000);
}

#[test]
fn few_are_all_looked_at() {
    let sources: Vec<String> = (0..TRIED_MAX).map(|n| format!("row.qty > {n}")).collect();
    let ranges = Ranges::new(candidates(&sources));
    assert_eq!(ranges.tried().len(), TRIED_MAX);
    let found = with_facts(None, Some(r#"{"qty":0}"#), |facts| places(&ranges, facts));
    assert_eq!(found.len(), TRIED_MAX);
}
