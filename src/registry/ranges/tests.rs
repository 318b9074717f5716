use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    expr::Verdict,
    registry::candidates::tests::{candidates, row, with_facts},
};

/// What is bounded, and by what; some of it in vain, for its values have no limits.
const BOUNDED: &[(&str, &[&str])] = &[
    (
        "row.amount",
        &["0", "1", "1.00", "2.5", "99.99", "100", "1e2"],
    ),
    ("new.qty", &["-1", "0", "1", "2"]),
    ("row.region", &["''", "'eu'", "'f'", "'us'"]),
    ("row.code", &["'ab'", "'abc'"]),
    ("row.rate", &["0", "1", "1.5"]),
    ("row.doc.a", &["0", "1", "2", "'w'", "'x'"]),
    (
        "row.at",
        &[
            "timestamp('2026-01-01T00:00:00Z')",
            "timestamp('2026-01-01T12:00:00Z')",
        ],
    ),
];

/// A bound, mostly of the amount, that may stand beside others and in what is no conjunction.
fn condition() -> impl Strategy<Value = String> {
    let place = prop_oneof![3 => Just(0), 2 => 0..BOUNDED.len()];
    let bound = place.prop_flat_map(|place| {
        let (name, limits) = BOUNDED[place];
        let how = select(&["<", "<=", ">", ">="]);
        (select(limits), how, any::<bool>()).prop_map(move |(limit, how, is_mirrored)| {
            if is_mirrored {
                format!("{limit} {how} {name}")
            } else {
                format!("{name} {how} {limit}")
            }
        })
    });
    let leaf = prop_oneof![
        8 => bound,
        1 => Just("row.region == 'eu'".to_owned()),
        1 => Just("row.is_paid".to_owned()),
    ];
    leaf.prop_recursive(2, 6, 2, |part| {
        let and = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} && {b})"));
        let or = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} || {b})"));
        let not = part.prop_map(|a| format!("!({a})"));
        prop_oneof![4 => and, 1 => or, 1 => not]
    })
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
        sources in vec(condition(), 60..200),
        rows in vec((option::of(row()), option::of(row())), 1..12),
    ) {
        let list = candidates(&sources);
        let ranges = Ranges::new(list.clone());
        prop_assert_eq!(ranges.all().count(), list.len());
        for (before, after) in &rows {
            with_facts(before.as_deref(), after.as_deref(), |facts| {
                let found = places(&ranges, facts);
                let distinct: BTreeSet<u32> = found.iter().copied().collect();
                prop_assert_eq!(distinct.len(), found.len(), "somebody is found twice");
                for candidate in &list {
                    if !distinct.contains(&candidate.place) {
                        let filter = candidate.filter.as_ref().unwrap();
                        let verdict = filter.evaluate(facts);
                        prop_assert!(verdict == Verdict::False, "{filter:?} is {verdict:?}");
                    }
                }
                Ok(())
            })?;
        }
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
