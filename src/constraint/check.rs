//! What can be judged of a constraint without the catalogue. Pure.

use std::time::Duration;

use super::{
    model::{ConstraintSpec, Otherwise},
    rate::Rate,
    window::Window,
};
use crate::{
    catalog::names::{NAME_HELP, name_fault},
    subscription::check::{LABELS_MAX, PATTERNS_MAX},
};

/// The shortest `hold_at_most`.
pub const HOLD_AT_MOST_MIN: Duration = Duration::from_secs(1);
/// The longest `hold_at_most`: what is held keeps later events of its object waiting.
pub const HOLD_AT_MOST_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Everything that is wrong with `spec` by itself: a JSON pointer into it and what to do; empty if
/// nothing. `uses_now` tells whether its condition does, and is `None` where that is not known,
/// because the condition can't be read.
#[must_use]
pub fn check(name: &str, spec: &ConstraintSpec, uses_now: Option<bool>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut note = |pointer: &str, text: String| problems.push((pointer.to_owned(), text));
    if let Some(fault) = name_fault(name) {
        note("/name", format!("{fault}: {NAME_HELP}"));
    }
    if spec.condition.is_none() && spec.window.is_none() && spec.rate.is_none() {
        let text = "there is nothing that must pass: give a `condition`, a `window` or a `rate`";
        note("", text.to_owned());
    }
    check_applies_to(spec, &mut note);
    if let Some(window) = &spec.window
        && let Err(faults) = Window::compile(window)
    {
        for (pointer, text) in faults {
            note(&format!("/window{pointer}"), text);
        }
    }
    if let Some(rate) = &spec.rate
        && let Err(text) = Rate::parse(rate)
    {
        note("/rate", text);
    }
    check_hold(spec, uses_now, &mut note);
    problems
}

fn check_applies_to(spec: &ConstraintSpec, note: &mut impl FnMut(&str, String)) {
    let applies_to = &spec.applies_to;
    let lists = [
        ("event_types", &applies_to.event_types),
        ("object_types", &applies_to.object_types),
        ("subscriptions", &applies_to.subscriptions),
    ];
    if lists.iter().all(|(_, patterns)| patterns.is_empty()) && applies_to.labels.is_empty() {
        let text = "this would apply to nothing: name event types, object types, subscriptions or \
                    labels; event_types = [\"*\"] is all";
        note("/applies_to", text.to_owned());
    }
    for (field, patterns) in lists {
        if patterns.len() > PATTERNS_MAX {
            let text = format!(
                "{} entries; the limit is {PATTERNS_MAX}, and `*` stands for many",
                patterns.len()
            );
            note(&format!("/applies_to/{field}"), text);
        }
        for (index, _) in patterns.iter().enumerate().filter(|(_, p)| p.is_empty()) {
            let text = "this matches nothing: write a name, or a pattern with `*`";
            note(&format!("/applies_to/{field}/{index}"), text.to_owned());
        }
    }
    if applies_to.labels.len() > LABELS_MAX {
        let text = format!(
            "{} labels; a subscription has {LABELS_MAX} at most",
            applies_to.labels.len()
        );
        note("/applies_to/labels", text);
    }
}

fn check_hold(spec: &ConstraintSpec, uses_now: Option<bool>, note: &mut impl FnMut(&str, String)) {
    match (spec.otherwise, spec.hold_at_most) {
        (Otherwise::Suppress, Some(_)) => {
            let text = "nothing is held with otherwise = \"suppress\": leave `hold_at_most` out, \
                        or write otherwise = \"hold\"";
            note("/hold_at_most", text.to_owned());
        }
        (Otherwise::Hold, None) => {
            let text = "what is held must not wait for ever: add `hold_at_most`, such as \"72h\"; \
                        after it the delivery is withdrawn";
            note("/hold_at_most", text.to_owned());
        }
        (Otherwise::Hold, Some(limit))
            if !(HOLD_AT_MOST_MIN..=HOLD_AT_MOST_MAX).contains(&limit) =>
        {
            let text = format!(
                "{} is out of bounds: {} second to {} days",
                humantime::format_duration(limit),
                HOLD_AT_MOST_MIN.as_secs(),
                HOLD_AT_MOST_MAX.as_secs() / (24 * 3600)
            );
            note("/hold_at_most", text);
        }
        _ => {}
    }
    let may_pass_later = spec.window.is_some() || spec.rate.is_some() || uses_now != Some(false);
    // Without a condition the fault is another one: that there is nothing to pass.
    if spec.otherwise == Otherwise::Hold && spec.condition.is_some() && !may_pass_later {
        let text = "what does not pass now never will, because time changes nothing in it: add a \
                    `window` or a `rate`, use `now` in the condition, or write otherwise = \
                    \"suppress\"";
        note("/otherwise", text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(changes: Value, uses_now: Option<bool>) -> Vec<(String, String)> {
        let mut spec = json!({
            "applies_to": {"event_types": ["sales.*"]},
            "condition": "row.amount > 1",
            "otherwise": "suppress",
        });
        let Value::Object(changes) = changes else {
            panic!("an object of changes")
        };
        for (name, value) in changes {
            spec[name] = value;
        }
        let spec: ConstraintSpec = serde_json::from_value(spec).unwrap();
        check("large-orders", &spec, uses_now)
    }

    #[test]
    fn each_rule_has_its_place() {
        let window = json!({"from": "08:00", "to": "18:00"});
        for (changes, uses_now, pointer, says) in [
            (json!({}), Some(false), None, ""),
            (
                json!({"condition": null}),
                Some(false),
                Some(""),
                "nothing that must pass",
            ),
            (
                json!({"applies_to": {}}),
                None,
                Some("/applies_to"),
                "apply to nothing",
            ),
            (
                json!({"applies_to": {"subscriptions": ["x", ""]}}),
                None,
                Some("/applies_to/subscriptions/1"),
                "matches nothing",
            ),
            (
                json!({"applies_to": {"event_types": vec!["x"; 101]}}),
                None,
                Some("/applies_to/event_types"),
                "101 entries",
            ),
            (
                json!({"applies_to": {"labels": {"desk": "eu"}}}),
                None,
                None,
                "",
            ),
            (json!({"rate": "1/x"}), None, Some("/rate"), "s, m, h and d"),
            (
                json!({"window": {"from": "8", "to": "18:00"}}),
                None,
                Some("/window/from"),
                "two digits",
            ),
            (
                json!({"hold_at_most": "1h"}),
                None,
                Some("/hold_at_most"),
                "nothing is held",
            ),
            (
                json!({"otherwise": "hold", "rate": "1/h"}),
                None,
                Some("/hold_at_most"),
                "72h",
            ),
            (
                json!({"otherwise": "hold", "rate": "1/h", "hold_at_most": "32days"}),
                None,
                Some("/hold_at_most"),
                "out of bounds",
            ),
            (
                json!({"otherwise": "hold", "rate": "1/h", "hold_at_most": "0s"}),
                None,
                Some("/hold_at_most"),
                "0s is out of bounds: 1 second to 31 days",
            ),
            (
                json!({"otherwise": "hold", "hold_at_most": "1h"}),
                Some(false),
                Some("/otherwise"),
                "never will",
            ),
            (
                json!({"otherwise": "hold", "hold_at_most": "1h"}),
                Some(true),
                None,
                "",
            ),
            (
                json!({"otherwise": "hold", "hold_at_most": "1h"}),
                None,
                None,
                "",
            ),
            (
                json!({"otherwise": "hold", "hold_at_most": "1h", "window": window}),
                Some(false),
                None,
                "",
            ),
        ] {
            let found = faults(changes.clone(), uses_now);
            let pointers: Vec<&str> = found.iter().map(|(at, _)| at.as_str()).collect();
            assert_eq!(pointers, Vec::from_iter(pointer), "{changes}: {found:?}");
            let is_told = found.iter().all(|(_, text)| text.contains(says));
            assert!(is_told, "{changes}: {found:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_catalogue() {
        let spec = serde_json::from_value(json!({
            "applies_to": {"labels": {"a": "b"}}, "rate": "1/h", "otherwise": "suppress",
        }))
        .unwrap();
        assert_eq!(check("office-hours", &spec, Some(false)), []);
        let found = check("Office hours", &spec, Some(false));
        assert!(found[0].0 == "/name" && found[0].1.contains("lower-case letters"));
    }
}
