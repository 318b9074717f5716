use std::collections::BTreeSet;

use chrono::DateTime;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    expr::{EventFacts, Row, SubscriptionFacts},
    subscription::labels::Labels,
};

pub(in crate::registry) mod rows;

use rows::{row, scope};

const CONDITIONS: &[&str] = &[
    "row.region == 'eu'",
    "'us' == new.region",
    "old.region == 'eu'",
    "row.region in ['eu', 'us', 'eu']",
    "row.region != 'eu'",
    "row.region == ''",
    "row.region == 'a\"b'",
    "row.region == null",
    "row.region == new.region",
    "row.amount == 1",
    "row.amount == 1.00",
    "new.amount == 100",
    "row.amount in [1, 2.50, 1.0]",
    "row.amount > 1",
    "row.amount < 3.0",
    "1 <= row.amount",
    "old.qty >= 1",
    "row.region > 'eu'",
    "row.doc.a >= 1",
    "row.at < timestamp('2026-01-02T00:00:00Z')",
    "row.lasts <= duration('1h')",
    "row.qty == 1",
    "row.qty in [0, 1]",
    "old.qty == 2",
    "row.qty + 1 == 2",
    "row.is_paid",
    "!new.is_paid",
    "row.is_paid == true",
    "row.code == 'ab'",
    "row.code == 'abc  '",
    "row.rate == 1",
    "row.rate in [0, 1]",
    "row.doc.a == 1",
    "row.doc.a == 'x'",
    "row.doc['a.b'] == 'x'",
    "row.doc.a.b == 'x'",
    "row.doc.a == true",
    "row.doc.a[0] == 1",
    "row.at == timestamp('2026-01-01T00:00:00Z')",
    "op == 'update'",
    "event.subject == '1'",
    "subscription.name == 's3'",
    "subscription.labels.desk == 'eu'",
    "'region' in changed",
];

fn condition() -> impl Strategy<Value = String> {
    let leaf = select(CONDITIONS).prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |part| {
        let and = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} && {b})"));
        let or = (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} || {b})"));
        let not = part.prop_map(|a| format!("!({a})"));
        prop_oneof![4 => and, 2 => or, 1 => not]
    })
}

pub(in crate::registry) fn with_facts<T>(
    before: Option<&str>,
    after: Option<&str>,
    run: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let [before, after] = [before, after].map(|row| row.map(|row| Row::parse(row).unwrap()));
    run(&Facts {
        before: before.as_ref(),
        after: after.as_ref(),
        changed: &["region"],
        op: "update",
        event: EventFacts {
            id: "1",
            event_type: "sales.order.updated",
            object_type: Some("sales.order"),
            source: "/rowcall/default",
            subject: Some("1"),
            time: DateTime::UNIX_EPOCH,
            data: None,
        },
        subscription: None,
        now: DateTime::UNIX_EPOCH,
        actor: None,
    })
}

/// The places of those whose filter is true, of these candidates.
fn told<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    facts: &Facts<'_>,
) -> BTreeSet<u32> {
    let labels = Labels::from([("desk", "eu")]);
    let wants = |candidate: &&Candidate| {
        let name = format!("s{}", candidate.place);
        let facts = Facts {
            subscription: Some(SubscriptionFacts {
                name: &name,
                mode: "synchronous",
                labels: &labels,
            }),
            ..*facts
        };
        let filter = candidate.filter.as_ref();
        filter.is_none_or(|filter| filter.evaluate(&facts).is_true())
    };
    let told = candidates.into_iter().filter(wants);
    told.map(|candidate| candidate.place).collect()
}

pub(in crate::registry) fn candidates(sources: &[String]) -> Vec<Candidate> {
    let scope = scope();
    let candidate = |(source, place): (&String, u32)| Candidate {
        place,
        filter: Some(Expression::compile(source, &scope).unwrap()),
    };
    sources.iter().zip(0..).map(candidate).collect()
}

proptest! {
    // What fails is told with its seed, and no file is written.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn who_is_found_is_who_would_be_found_by_judging_all(
        sources in vec(condition(), TRIED_MAX + 1..60),
        rows in vec((option::of(row()), option::of(row())), 1..12),
    ) {
        let list = candidates(&sources);
        let index = Candidates::new(list.clone());
        for (before, after) in &rows {
            with_facts(before.as_deref(), after.as_deref(), |facts| {
                let mut found = Vec::new();
                index.find(facts, &mut found);
                let places: BTreeSet<u32> = found.iter().map(|one| one.place).collect();
                prop_assert_eq!(places.len(), found.len(), "somebody is found twice");
                prop_assert_eq!(told(found, facts), told(&list, facts));
                Ok(())
            })?;
        }
    }
}

#[test]
fn only_those_are_looked_at_that_want_the_value() {
    // GIVEN many filters that also say what few values of another column they want
    let source = |n| format!("row.qty in [1, 2] && row.amount > 5 && row.region == 'r{n}'");
    let list = candidates(&(0..1_000).map(source).collect::<Vec<_>>());
    let index = Candidates::new(list);
    let found = |row: &str| {
        with_facts(None, Some(row), |facts| {
            let mut found = Vec::new();
            index.find(facts, &mut found);
            found.iter().map(|one| one.place).collect::<Vec<_>>()
        })
    };
    // THEN they are found by the column on which they differ most
    assert_eq!(found(r#"{"region":"r17","qty":9,"amount":9}"#), [17]);
    assert_eq!(
        found(r#"{"region":"r1000","qty":1,"amount":9}"#),
        [0_u32; 0]
    );
    assert_eq!(found(r#"{"region":null,"qty":1,"amount":9}"#), [0_u32; 0]);
    // AND where it can't be read, all are judged, so that what fails is counted.
    assert_eq!(found(r#"{"qty":1,"amount":9}"#).len(), 1_000);
}

#[test]
fn alternatives_and_lists_are_found_by_each_of_their_values() {
    let mut sources = vec![
        "row.region == 'a' || row.region in ['b', 'c']".to_owned(),
        "row.region == 'a' || row.qty == 1".to_owned(),
    ];
    sources.extend((0..20).map(|n| format!("row.region == 'r{n}'")));
    let index = Candidates::new(candidates(&sources));
    let found = |region: &str| {
        with_facts(
            None,
            Some(&format!(r#"{{"region":"{region}"}}"#)),
            |facts| {
                let mut found = Vec::new();
                index.find(facts, &mut found);
                found.iter().map(|one| one.place).collect::<Vec<_>>()
            },
        )
    };
    // The second can be true of any region.
    assert_eq!(found("b"), [1, 0]);
    assert_eq!(found("c"), [1, 0]);
    assert_eq!(found("x"), [1]);
    assert_eq!(found("r3"), [1, 5]);
}

#[test]
fn equal_filters_stand_side_by_side() {
    let sources: Vec<String> = (0..100)
        .map(|n| format!("row.region == 'eu' && row.qty > {}", n % 3))
        .collect();
    let index = Candidates::new(candidates(&sources));
    with_facts(None, Some(r#"{"region":"eu","qty":9}"#), |facts| {
        let mut found = Vec::new();
        index.find(facts, &mut found);
        assert_eq!(found.len(), 100);
        let filters = found
            .iter()
            .map(|one| one.filter.as_ref().unwrap().source());
        let mut runs: Vec<&str> = filters.collect();
        runs.dedup();
        assert_eq!(runs.len(), 3);
    });
}
