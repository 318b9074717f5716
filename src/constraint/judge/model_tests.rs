//! Judging against a model that lists everything that fails.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

use super::{
    tests::{FAILS, FALSE, FALSE_YET, SUBSCRIPTION, TRUE, compiled, judged, noon, time},
    *,
};
use crate::constraint::counters::BatchRates;

/// The decision, the constraint that made it, `hold_until` and `again_at`.
type Expected = (
    Decision,
    Option<usize>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
);

/// A constraint of the property test, as the model sees it.
#[derive(Clone, Debug)]
struct Rule {
    condition: Option<&'static str>,
    /// A window that is open, or closed.
    window: Option<bool>,
    rate: Option<i64>,
    judge: Judge,
    /// `None`: it suppresses.
    hold_h: Option<i64>,
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        option::of(select(&[TRUE, TRUE, TRUE, FALSE, FALSE_YET, FAILS][..])),
        option::of(prop::bool::weighted(0.7)),
        option::of(1..4_i64),
        select(&[Judge::AtEvent, Judge::AtSend, Judge::Both][..]),
        option::of(1..60_i64),
    )
        .prop_map(|(condition, window, rate, judge, hold_h)| Rule {
            condition,
            window,
            rate,
            judge,
            hold_h,
        })
}

impl Rule {
    /// At noon and for an hour, both windows are as they are told to be.
    fn window_times(is_open: bool) -> (&'static str, &'static str) {
        if is_open {
            ("09:00", "18:00")
        } else {
            ("18:00", "09:00")
        }
    }

    fn spec(&self) -> Value {
        let window = self.window.map(|is_open| {
            let (from, to) = Self::window_times(is_open);
            json!({"from": from, "to": to})
        });
        let limit = self.hold_h.map(|hours| format!("{hours}h"));
        json!({
            "applies_to": {"event_types": ["*"]},
            "condition": self.condition,
            "window": window,
            "rate": self.rate.map(|count| format!("{count}/h")),
            "judge": self.judge,
            "otherwise": if limit.is_some() { "hold" } else { "suppress" },
            "hold_at_most": limit,
        })
    }

    /// Until when condition and window fail; `None`: they pass.
    fn fails_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut until = Vec::new();
        match self.condition {
            Some(FALSE | FAILS) => until.push(DateTime::<Utc>::MAX_UTC),
            Some(FALSE_YET) => until.push(at + TimeDelta::minutes(1)),
            _ => {}
        }
        if self.window == Some(false) {
            until.push(time("2026-01-29T18:00:00Z"));
        }
        until.into_iter().max()
    }
}

/// Judges by listing everything that fails.
fn model(
    rules: &[Rule],
    moment: Moment,
    at: DateTime<Utc>,
    spent: &mut BTreeMap<usize, i64>,
) -> Expected {
    let other = match moment {
        Moment::Event => Judge::AtSend,
        Moment::Send => Judge::AtEvent,
    };
    let judged = || {
        rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.judge != other)
    };
    let failing: Vec<(usize, &Rule, DateTime<Utc>)> = judged()
        .filter_map(|(index, rule)| Some((index, rule, rule.fails_until(at)?)))
        .collect();
    let verdict = |failing: Vec<(usize, &Rule, DateTime<Utc>)>| {
        if let Some((index, _, _)) = failing.iter().find(|(_, rule, _)| rule.hold_h.is_none()) {
            return Some((Decision::Suppress, Some(*index), None, None));
        }
        let first = failing.first()?.0;
        let limits = failing.iter().filter_map(|(_, rule, _)| rule.hold_h);
        let until = at + TimeDelta::hours(limits.min()?);
        let again = failing.iter().map(|(_, _, until)| *until).max()?;
        Some((
            Decision::Hold,
            Some(first),
            Some(until),
            Some(again.min(until)),
        ))
    };
    if let Some(verdict) = verdict(failing) {
        return verdict;
    }
    let counted =
        || judged().filter(|(_, rule)| moment == Moment::Event || rule.judge == Judge::AtSend);
    let used_up = |spent: &BTreeMap<usize, i64>| {
        let next = time("2026-01-29T13:00:00Z");
        let mut used_up: Vec<_> = counted()
            .filter(|(index, rule)| rule.rate.is_some_and(|max| spent[index] >= max))
            .map(|(index, rule)| (index, rule, next))
            .collect();
        // Only one of those that hold is known to be used up: no other was asked.
        let is_held = used_up.iter().all(|(_, rule, _)| rule.hold_h.is_some());
        used_up.truncate(if is_held { 1 } else { used_up.len() });
        used_up
    };
    if let Some(verdict) = verdict(used_up(spent)) {
        return verdict;
    }
    for (index, _) in counted().filter(|(_, rule)| rule.rate.is_some()) {
        *spent.entry(index).or_default() += 1;
    }
    (Decision::Publish, None, None, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Several deliveries one after the other, so that rates are used up on the way.
    #[test]
    fn judging_is_the_models(
        rules in vec(rule(), 0..4),
        deliveries in vec((prop::bool::ANY, 0..60_i64), 1..8),
    ) {
        let constraints: Vec<Compiled> = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| compiled(&format!("c{index}"), rule.spec()))
            .collect();
        let all: Vec<&Compiled> = constraints.iter().collect();
        let keys = [Moment::Event, Moment::Send]
            .into_iter()
            .flat_map(|moment| rate_keys(&all, moment, SUBSCRIPTION, noon()));
        let mut rates = BatchRates::new(keys.map(|key| (key, 0)));
        let mut spent: BTreeMap<usize, i64> = (0..rules.len()).map(|index| (index, 0)).collect();
        for (is_event, minute) in deliveries {
            let moment = if is_event { Moment::Event } else { Moment::Send };
            let at = noon() + TimeDelta::minutes(minute);
            let found = judged(&constraints, moment, at, &mut rates.of(SUBSCRIPTION));
            let by = found.by.map(|by| by.name[1..].parse::<usize>().unwrap());
            let expected = model(&rules, moment, at, &mut spent);
            prop_assert_eq!((found.decision, by, found.hold_until, found.again_at), expected);
        }
        let counted: BTreeMap<usize, i64> = rates
            .changed()
            .into_iter()
            .map(|(key, count)| (key.constraint[1..].parse().unwrap(), count))
            .collect();
        spent.retain(|_, count| *count > 0);
        prop_assert_eq!(counted, spent);
    }
}
