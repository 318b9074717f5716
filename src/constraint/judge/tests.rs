use serde_json::json;

use super::*;
use crate::{
    catalog::model::Constraint,
    constraint::{
        counters::{BatchRates, Counted},
        model::ConstraintSpec,
    },
    expr::{EventFacts, SubscriptionFacts},
    subscription::labels::Labels,
};

pub(super) const TRUE: &str = "event.type == 'sales.x'";
pub(super) const FALSE: &str = "event.type == 'other'";
pub(super) const FALSE_YET: &str = "now < timestamp('2000-01-01T00:00:00Z')";
pub(super) const FAILS: &str = "event.data.amount > 1";

pub(super) const SUBSCRIPTION: Uuid = Uuid::from_u128(7);

pub(super) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A Thursday.
pub(super) fn noon() -> DateTime<Utc> {
    time("2026-01-29T12:00:00Z")
}

pub(super) fn compiled(name: &str, spec: Value) -> Compiled {
    let spec: ConstraintSpec = serde_json::from_value(spec).unwrap();
    Compiled::compile(name, &Constraint { version: 3, spec }, []).unwrap()
}

fn facts(labels: &Labels) -> Facts<'_> {
    Facts {
        before: None,
        after: None,
        changed: &[],
        op: "create",
        event: EventFacts {
            id: "019c132c-0000-7000-8000-000000000001",
            event_type: "sales.x",
            object_type: None,
            source: "/rowcall/default",
            subject: None,
            time: DateTime::<Utc>::UNIX_EPOCH,
            data: Some("{}"),
        },
        subscription: Some(SubscriptionFacts {
            name: "erp",
            mode: "synchronous",
            labels,
        }),
        // What is judged by is passed beside it.
        now: DateTime::<Utc>::UNIX_EPOCH,
        actor: None,
    }
}

pub(super) fn judged(
    constraints: &[Compiled],
    moment: Moment,
    at: DateTime<Utc>,
    rates: &mut dyn Rates,
) -> Judged {
    let constraints: Vec<&Compiled> = constraints.iter().collect();
    judge(&constraints, moment, &facts(&Labels::default()), at, rates)
}

#[test]
fn every_pair_of_outcomes_at_each_moment() {
    const JUDGES: [&str; 3] = ["at_event", "at_send", "both"];
    let outcomes = [Decision::Publish, Decision::Hold, Decision::Suppress];
    let constraint = |name, outcome, judge| {
        let (condition, otherwise) = match outcome {
            Decision::Publish => (TRUE, "suppress"),
            Decision::Hold => (FALSE_YET, "hold"),
            Decision::Suppress => (FALSE, "suppress"),
        };
        let limit = (otherwise == "hold").then_some("1h");
        let applies_to = json!({"event_types": ["*"]});
        compiled(
            name,
            json!({"applies_to": applies_to, "condition": condition, "judge": judge,
                "otherwise": otherwise, "hold_at_most": limit}),
        )
    };
    let mut cases = 0;
    for (first, second) in outcomes
        .into_iter()
        .flat_map(|first| outcomes.map(|second| (first, second)))
    {
        for (judge_1, judge_2) in JUDGES
            .into_iter()
            .flat_map(|first| JUDGES.map(|second| (first, second)))
        {
            for (moment, other) in [(Moment::Event, "at_send"), (Moment::Send, "at_event")] {
                let pair = [
                    constraint("first", first, judge_1),
                    constraint("second", second, judge_2),
                ];
                let counted: Vec<(&str, Decision)> =
                    [("first", first, judge_1), ("second", second, judge_2)]
                        .into_iter()
                        .filter(|(_, _, judge)| *judge != other)
                        .map(|(name, outcome, _)| (name, outcome))
                        .collect();
                let decisive = [Decision::Suppress, Decision::Hold]
                    .into_iter()
                    .find_map(|wanted| counted.iter().find(|(_, outcome)| *outcome == wanted));

                let found = judged(
                    &pair,
                    moment,
                    noon(),
                    &mut BatchRates::default().of(SUBSCRIPTION),
                );
                let by = found.by.as_ref().map(|by| (&*by.name, found.decision));
                assert_eq!(by, decisive.copied(), "{pair:?} at {moment:?}");
                let is_held = found.decision == Decision::Hold;
                assert_eq!(found.hold_until.is_some(), is_held);
                assert_eq!(found.again_at.is_some(), is_held);
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 162);
}

#[test]
fn the_ground_says_why_in_words() {
    let all = json!({"event_types": ["*"]});
    let window = json!({"days": "mon-fri", "from": "08:00", "to": "11:00",
        "time_zone": "Europe/Berlin"});
    for (spec, reason, values) in [
        (
            json!({"condition": FALSE}),
            "the condition is false",
            json!({"event.type": "sales.x"}),
        ),
        (
            json!({"window": window}),
            "the window mon-fri 08:00-11:00 Europe/Berlin is closed; it opens at \
             2026-01-30T07:00:00Z",
            json!({"now": "2026-01-29T12:00:00Z"}),
        ),
        (
            json!({"rate": "5/h"}),
            "the rate 5/h is used up until 2026-01-29T13:00:00Z",
            json!({"now": "2026-01-29T12:00:00Z"}),
        ),
    ] {
        let mut spec = spec;
        spec["applies_to"] = all.clone();
        spec["otherwise"] = json!("suppress");
        let constraint = [compiled("c", spec)];
        let mut rates = BatchRates::default();
        let by = judged(
            &constraint,
            Moment::Event,
            noon(),
            &mut rates.of(SUBSCRIPTION),
        )
        .by;
        let by = by.unwrap();
        assert_eq!(
            (&*by.name, by.version, by.reason.as_str()),
            ("c", 3, reason)
        );
        let found: Value = serde_json::from_str(&by.values).unwrap();
        assert_eq!(found, values);
    }
    let failing = json!({"applies_to": all, "condition": FAILS, "otherwise": "suppress"});
    let failing = [compiled("c", failing)];
    let mut rates = BatchRates::default();
    let found = judged(&failing, Moment::Event, noon(), &mut rates.of(SUBSCRIPTION));
    assert_eq!(found.decision, Decision::Suppress);
    let by = found.by.unwrap();
    assert!(by.reason.starts_with("failed: "), "{by:?}");
}

#[test]
fn values_are_json_even_if_they_were_shortened() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let text = object([
        pair("row.a", "10.50"),
        pair("row.\"b", "\"a long te…"),
        pair("x", "null"),
    ]);
    assert_eq!(text, r#"{"row.a":10.50,"row.\"b":"\"a long te…","x":null}"#);
    assert!(serde_json::from_str::<Value>(&text).is_ok());
    assert_eq!(object([]), "{}");
}

#[test]
fn what_it_applies_to() {
    let labels = Labels::from([("desk", "eu")]);
    for (applies_to, event, object, expected) in [
        (
            json!({"event_types": ["sales.order.*"]}),
            "sales.order.created",
            Some("sales.order"),
            true,
        ),
        (
            json!({"event_types": ["sales.order.*"]}),
            "sales.part.created",
            Some("sales.part"),
            false,
        ),
        (
            json!({"object_types": ["sales.*"]}),
            "sales.part.created",
            Some("sales.part"),
            true,
        ),
        (
            json!({"object_types": ["*"]}),
            "sales.campaign.opened",
            None,
            false,
        ),
        (
            json!({"event_types": ["x"], "object_types": ["sales.part"]}),
            "y",
            Some("sales.part"),
            true,
        ),
        (json!({"subscriptions": ["er*"]}), "x", None, true),
        (json!({"subscriptions": ["crm"]}), "x", None, false),
        (json!({"labels": {"desk": "eu"}}), "x", None, true),
        (json!({"labels": {"desk": "us"}}), "x", None, false),
        (
            json!({"labels": {"desk": "eu", "team": "a"}}),
            "x",
            None,
            false,
        ),
        (
            json!({"event_types": ["x"], "labels": {"desk": "us"}}),
            "x",
            None,
            false,
        ),
    ] {
        let spec = json!({"applies_to": applies_to, "rate": "1/h", "otherwise": "suppress"});
        let found = compiled("c", spec).applies(event, object, "erp", &labels);
        assert_eq!(found, expected, "{applies_to} for {event}");
    }
}

#[test]
fn parts_that_cannot_be_read_are_told_with_their_places() {
    let spec = json!({"applies_to": {"event_types": ["*"]}, "otherwise": "suppress", "rate": "x",
        "window": {"from": "9", "to": "10:00"}});
    let spec: ConstraintSpec = serde_json::from_value(spec).unwrap();
    let problems = Compiled::compile("c", &Constraint { version: 1, spec }, []).unwrap_err();
    let pointers: Vec<&str> = problems.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(pointers, ["/window/from", "/rate"]);
}

#[test]
fn a_condition_is_judged_with_the_columns_of_its_events() {
    let spec = json!({"applies_to": {"event_types": ["*"]}, "condition": TRUE,
        "otherwise": "suppress"});
    let constraint = compiled("c", spec);
    let labels = Labels::default();
    let mut facts = facts(&labels);
    facts.event.object_type = Some("sales.new");
    let found = judge(&[&constraint], Moment::Event, &facts, noon(), &mut Counted);
    assert_eq!(found.decision, Decision::Suppress);
    assert!(
        found
            .by
            .unwrap()
            .reason
            .contains("columns of the object type")
    );
}

#[test]
fn windows_and_rates_are_judged_by_the_time_that_is_passed() {
    let spec = json!({"applies_to": {"event_types": ["*"]}, "otherwise": "suppress",
        "window": {"from": "09:00", "to": "18:00"}, "rate": "1/h"});
    let constraint = [compiled("c", spec)];
    let (ten, eleven) = (time("2026-01-29T10:30:00Z"), time("2026-01-29T11:30:00Z"));
    let all: Vec<&Compiled> = constraint.iter().collect();
    let keys = [ten, eleven]
        .into_iter()
        .flat_map(|at| rate_keys(&all, Moment::Event, SUBSCRIPTION, at));
    let mut rates = BatchRates::new(keys.map(|key| (key, 0)));
    let mut at = |at| judged(&constraint, Moment::Event, at, &mut rates.of(SUBSCRIPTION)).decision;
    assert_eq!(at(ten), Decision::Publish);
    assert_eq!(at(ten), Decision::Suppress);
    assert_eq!(at(eleven), Decision::Publish);
    assert_eq!(at(time("2026-01-29T18:00:00Z")), Decision::Suppress);
}
