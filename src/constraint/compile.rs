//! A constraint made ready to be judged.

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;

use super::{
    model::{AppliesTo, Judge, Otherwise},
    rate::Rate,
    window::Window,
};
use crate::{
    catalog::{
        model::{Constraint, name_matches, text_matches},
        operations::is_operational,
    },
    expr::{Expression, Facts, Scope},
    subscription::labels::Labels,
};

/// A condition for events of one object type, or why it can't be judged for them.
pub type Condition = Result<Expression, String>;

/// A constraint made ready to be judged.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Its name.
    pub name: Arc<str>,
    /// The catalogue's version in which it was last changed.
    pub version: i64,
    /// When it is judged.
    pub judge: Judge,
    /// What becomes of a delivery that does not pass.
    pub otherwise: Otherwise,
    pub(super) window: Option<Window>,
    pub(super) rate: Option<Rate>,
    pub(super) hold_at_most: TimeDelta,
    conditions: Option<Conditions>,
    applies_to: AppliesTo,
    fault: Option<String>,
}

#[derive(Clone, Debug)]
struct Conditions {
    by_object_type: HashMap<String, Condition>,
    of_api_events: Condition,
    /// For the events of object types that were not there when the constraint was made ready.
    of_others: Condition,
}

impl Compiled {
    /// Makes a constraint ready. `scopes` are what a condition may name for the events of each
    /// object type.
    ///
    /// A condition that does not check for some object type, because a column was renamed for
    /// instance, does not pass for its events, and for the others as before.
    ///
    /// # Errors
    ///
    /// What of window or rate can't be read: the constraint was not written by this version.
    pub fn compile<'a>(
        name: &str,
        constraint: &Constraint,
        scopes: impl IntoIterator<Item = (&'a str, &'a Scope)>,
    ) -> Result<Self, Vec<(String, String)>> {
        let spec = &constraint.spec;
        let mut problems = Vec::new();
        let window = spec.window.as_ref().and_then(|window| {
            let read = Window::compile(window).map_err(|faults| {
                let faults = faults.into_iter();
                problems.extend(faults.map(|(at, text)| (format!("/window{at}"), text)));
            });
            read.ok()
        });
        let rate = spec.rate.as_ref().and_then(|rate| {
            let read = Rate::parse(rate).map_err(|text| problems.push(("/rate".to_owned(), text)));
            read.ok()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self::put_together(name, constraint, (window, rate), scopes))
    }

    /// A constraint of which something can't be read, so that nothing passes it: it was written to
    /// keep something back, and may not let it go because a time zone has gone, for instance.
    #[must_use]
    pub fn closed(name: &str, constraint: &Constraint, fault: String) -> Self {
        Self {
            fault: Some(fault),
            ..Self::put_together(name, constraint, (None, None), [])
        }
    }

    fn put_together<'a>(
        name: &str,
        constraint: &Constraint,
        (window, rate): (Option<Window>, Option<Rate>),
        scopes: impl IntoIterator<Item = (&'a str, &'a Scope)>,
    ) -> Self {
        let spec = &constraint.spec;
        let conditions = spec.condition.as_deref().map(|source| Conditions {
            by_object_type: scopes
                .into_iter()
                .map(|(object_type, scope)| (object_type.to_owned(), condition(source, scope)))
                .collect(),
            of_api_events: condition(source, &Scope::api_event()),
            of_others: Err("the columns of the object type are not known".to_owned()),
        });
        let hold_at_most = spec.hold_at_most.unwrap_or_default();
        Self {
            name: name.into(),
            version: constraint.version,
            judge: spec.judge,
            otherwise: spec.otherwise,
            window,
            rate,
            hold_at_most: TimeDelta::from_std(hold_at_most).unwrap_or(TimeDelta::MAX),
            conditions,
            applies_to: spec.applies_to.clone(),
            fault: None,
        }
    }

    /// Why nothing passes it, if a part of it can't be read.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether it is for this event and this subscription.
    #[must_use]
    pub fn applies(
        &self,
        event_type: &str,
        object_type: Option<&str>,
        subscription: &str,
        labels: &Labels,
    ) -> bool {
        self.is_for_event(event_type, object_type) && self.is_for_subscription(subscription, labels)
    }

    /// Whether it is for this event, to some subscriptions.
    #[must_use]
    pub fn is_for_event(&self, event_type: &str, object_type: Option<&str>) -> bool {
        let AppliesTo {
            event_types,
            object_types,
            ..
        } = &self.applies_to;
        let is_named = |patterns: &[String], name: &str| {
            patterns.iter().any(|pattern| name_matches(pattern, name))
        };
        (event_types.is_empty() && object_types.is_empty() && !is_operational(event_type))
            || is_named(event_types, event_type)
            || object_type.is_some_and(|object_type| is_named(object_types, object_type))
    }

    /// Whether it is for this subscription, of some events.
    #[must_use]
    pub fn is_for_subscription(&self, subscription: &str, labels: &Labels) -> bool {
        let AppliesTo {
            subscriptions,
            labels: wanted,
            ..
        } = &self.applies_to;
        (subscriptions.is_empty()
            || subscriptions
                .iter()
                .any(|pattern| text_matches(pattern, subscription)))
            && wanted
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value.as_str()))
    }

    /// Whether it looks at the event itself, and not only at times and numbers.
    #[must_use]
    pub fn has_condition(&self) -> bool {
        self.conditions.is_some()
    }

    /// Whether it counts deliveries.
    #[must_use]
    pub fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// The condition for the events of the object type that `facts` are of; `None`: there is none
    /// to meet.
    pub(super) fn condition(&self, facts: &Facts<'_>) -> Option<&Condition> {
        self.condition_on(facts.event.object_type)
    }

    /// The condition for the events of an object type, or for those of the API; `None`: there is
    /// none to meet.
    #[must_use]
    pub fn condition_on(&self, object_type: Option<&str>) -> Option<&Condition> {
        let conditions = self.conditions.as_ref()?;
        Some(match object_type {
            None => &conditions.of_api_events,
            Some(name) => conditions
                .by_object_type
                .get(name)
                .unwrap_or(&conditions.of_others),
        })
    }
}

fn condition(source: &str, scope: &Scope) -> Condition {
    Expression::compile(source, scope).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })
}
