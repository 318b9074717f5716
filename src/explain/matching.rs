//! Whether an event is for a subscription, judged anew where nothing is recorded. Pure.
//!
//! Publishing records what is owed, and nothing of what is not. So this is judged by the catalogue
//! and the registration as they are now; where they are others than when the event was published,
//! that is told.

use chrono::{DateTime, Utc};

use super::{
    About, Step, Told, Values, Verdict, shown,
    store::{EventRow, SubscriptionRow},
};
use crate::{
    catalog::model::{Catalog, GAP_EVENT_TYPE, Verb},
    expr::Verdict as Truth,
    publish::facts::Recalled,
    registry::{index::is_meant, registered::Registered},
    subscription::model::Condense,
};

/// What was changed since an event was published.
#[derive(Clone, Debug)]
pub(super) struct Since {
    /// The catalogue's version when the event was published.
    pub(super) version_then: i64,
    /// Its version now.
    pub(super) version_now: i64,
    /// When it was last changed, if that was later than the event.
    pub(super) catalogue_changed_at: Option<DateTime<Utc>>,
    /// The same of the registration; a pause is a change, too.
    pub(super) registration_changed_at: Option<DateTime<Utc>>,
}

impl Since {
    /// What was changed, in words; `None`: nothing.
    fn told(&self) -> Option<String> {
        let catalogue = self.catalogue_changed_at.map(|at| {
            format!(
                "the catalogue has been changed, at {} last (it was at version {}, and is at {})",
                shown(at),
                self.version_then,
                self.version_now
            )
        });
        let registration = self
            .registration_changed_at
            .map(|at| format!("the subscription has been changed, at {} last", shown(at)));
        let changes: Vec<String> = catalogue.into_iter().chain(registration).collect();
        (!changes.is_empty()).then(|| changes.join(", and "))
    }

    fn values(&self) -> Values {
        Values::default()
            .with("catalogue_version", self.version_then)
            .with("catalogue_version_now", self.version_now)
            .with("subscription_changed_at", self.registration_changed_at)
    }
}

/// The first step of what is recorded: it was matched.
pub(super) fn was_matched(event: &EventRow, subscription: &SubscriptionRow, since: &Since) -> Step {
    let published = shown(event.published_at);
    let mut detail = if subscription.created_at > event.published_at {
        format!(
            "it was published at {published}, before the subscription was registered, which starts \
             with past events"
        )
    } else {
        format!("it was matched when it was published, at {published}")
    };
    if let Some(changes) = since.told() {
        detail += &format!("; since then {changes}");
    }
    Step::new(About::EventTypes, "passed", detail).with(since.values())
}

/// The answer for a registration that this program can't read.
pub(super) fn unreadable(error: &serde_json::Error) -> Told {
    let detail = format!("the subscription's definition can't be read by this version: {error}");
    Told {
        verdict: Verdict::NotMatched,
        summary: format!("Never sent: {detail}."),
        steps: vec![Step::new(About::EventTypes, "failed", detail)],
    }
}

/// An event and a subscription with nothing between them.
pub(super) struct Match<'a> {
    pub(super) event: &'a EventRow,
    pub(super) subscription: &'a SubscriptionRow,
    pub(super) catalog: &'a Catalog,
    pub(super) registered: &'a Registered,
    pub(super) since: &'a Since,
    /// Whether it may be told of the event, if that is an operational one.
    pub(super) is_entitled: bool,
}

impl Match<'_> {
    /// Why the one was not for the other.
    pub(super) fn told(&self) -> Told {
        let mut steps = vec![self.event_types()];
        // As publishing does: what one step leaves out, the next does not look at.
        let next: [fn(&Self) -> Step; 2] = [Self::object_keys, Self::filter];
        for step in next {
            if steps.last().is_some_and(|last| last.outcome != "failed") {
                steps.push(step(self));
            }
        }
        Told {
            verdict: Verdict::NotMatched,
            summary: format!("Never sent: {}.", self.reason(&steps)),
            steps,
        }
    }

    fn reason(&self, steps: &[Step]) -> String {
        let published = shown(self.event.published_at);
        if self.subscription.created_at > self.event.published_at {
            return format!(
                "the subscription was registered at {}, after the event was published at {published}",
                shown(self.subscription.created_at)
            );
        }
        if self.is_of_start() {
            return "it tells a row to one subscription that starts with the rows that exist; to all \
                    others nothing happened"
                .to_owned();
        }
        let is_deleted = self.subscription.state == "deleted";
        if is_deleted && self.subscription.updated_at <= self.event.published_at {
            return format!(
                "the subscription was deleted at {}, before the event was published at {published}",
                shown(self.subscription.updated_at)
            );
        }
        let failed = steps.iter().find(|step| step.outcome == "failed");
        match (failed, self.since.told()) {
            (Some(step), None) => step.detail.clone(),
            (Some(step), Some(changes)) => format!(
                "{}; that is judged by what is in force now, and since the event was published \
                 {changes}",
                step.detail
            ),
            (None, Some(changes)) => format!(
                "it was not for this subscription when it was published at {published}; by what is \
                 in force now it would be, since {changes}"
            ),
            (None, None) => format!(
                "it was not for this subscription when it was published at {published}, though it \
                 would be now; the subscription or the catalogue was changed at that very moment"
            ),
        }
    }

    /// Whether it was published for another subscription alone.
    fn is_of_start(&self) -> bool {
        let object_type = self.event.object_type.as_deref();
        object_type.is_some_and(|name| self.event.event_type == Verb::Existed.event_type(name))
    }

    fn event_types(&self) -> Step {
        let event_type = self.event.event_type.as_str();
        let object_type = self.event.object_type.as_deref();
        let step = |outcome, detail: String| {
            Step::new(About::EventTypes, outcome, detail).with(self.since.values())
        };
        if !self.is_in_catalogue() {
            return step(
                "failed",
                format!("the catalogue has no event type `{event_type}`, so nobody is told of it"),
            );
        }
        if !self.is_entitled {
            return step(
                "failed",
                "operational events are told to operators, and to the owner of the subscription \
                 that they are about"
                    .to_owned(),
            );
        }
        if is_meant(self.registered, object_type, event_type) {
            return step(
                "passed",
                format!("the subscription asks for `{event_type}`"),
            );
        }
        let spec = &self.registered.subscription.spec;
        let asked: Vec<String> = [
            ("event_types", &spec.event_types),
            ("object_types", &spec.object_types),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(field, names)| format!("{field} `{}`", names.join("`, `")))
        .collect();
        let detail = format!(
            "the subscription does not ask for `{event_type}`: it asks for {}",
            asked.join(" and ")
        );
        step("failed", detail)
    }

    fn is_in_catalogue(&self) -> bool {
        let event_type = self.event.event_type.as_str();
        let Some(object_type) = self.event.object_type.as_deref() else {
            return self.catalog.is_api_event_type(event_type);
        };
        let mut known = self.catalog.event_types_of(object_type);
        self.catalog.object_types.contains_key(object_type)
            && (event_type == GAP_EVENT_TYPE || known.any(|name| name == event_type))
    }

    fn object_keys(&self) -> Step {
        let subscription = &self.registered.subscription;
        if subscription.spec.object_keys.is_empty() {
            let detail = "the subscription means every object";
            return Step::new(About::ObjectKeys, "passed", detail);
        }
        let keys = [&self.event.object_key, &self.event.previous_key];
        let is_meant = keys
            .into_iter()
            .flatten()
            .any(|key| subscription.object_key_texts.contains(key));
        let count = subscription.object_key_texts.len();
        let (outcome, detail) = match is_meant {
            true => (
                "passed",
                "its object is one that the subscription names".to_owned(),
            ),
            false => (
                "failed",
                format!("its object is none of the {count} that `object_keys` names"),
            ),
        };
        let step = Step::new(About::ObjectKeys, outcome, detail);
        if !self.event.is_readable {
            return step;
        }
        let values = Values::default()
            .with("key", &self.event.object_key)
            .with("previous_key", &self.event.previous_key);
        step.with(values)
    }

    fn filter(&self) -> Step {
        let step = |outcome, detail: String| Step::new(About::Filter, outcome, detail);
        let object_type = self.event.object_type.as_deref();
        let spec = &self.registered.subscription.spec;
        let Some(source) = &spec.filter else {
            return step("passed", "the subscription has no filter".to_owned());
        };
        let Some(filter) = self.registered.filter(object_type) else {
            let of = object_type.map_or_else(
                || "events of the API".to_owned(),
                |name| format!("the columns of `{name}` as they are now"),
            );
            let detail = format!("the filter `{source}` does not fit {of}");
            return step("failed", detail);
        };
        if spec.condense == Some(Condense::NetEffect) {
            let detail = "the filter is judged when the digest's window closes, on what all changes \
                          of the object came to";
            return step("not judged", detail.to_owned());
        }
        let Ok(recalled) = Recalled::parse(&self.event.body, object_type.is_some()) else {
            return step("failed", "the event's body can't be read".to_owned());
        };
        let changed = recalled.changed();
        // As publishing does: by the time of the change.
        let facts = recalled.facts(&changed, self.event.time);
        let facts = self.registered.facts(&facts);
        let (outcome, detail) = match filter.evaluate(&facts) {
            Truth::True => ("passed", format!("the filter `{source}` is true")),
            Truth::False => ("failed", format!("the filter `{source}` is false")),
            Truth::Failed(failure) => (
                "failed",
                format!("the filter `{source}` fails, which counts as false: {failure}"),
            ),
        };
        let step = step(outcome, detail);
        if !self.event.is_readable {
            return step;
        }
        step.with(Values::default().with_texts(filter.values(&facts)))
    }
}
