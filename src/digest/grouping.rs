//! What a subscriber's digests are grouped by: the value of an expression over each event.
//!
//! An event's group is judged when it is gathered, over the event as it was stored, and kept with
//! the member; so another expression holds for what is gathered from then on. That of a net effect
//! is judged when it is folded. Where the value is null, or can't be judged, the group is null.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    condense::each_body,
    gather::{Gathering, NewMember},
};
use crate::{
    db::{Connection, QueryError},
    expr::{Expression, Facts, SubscriptionFacts},
    observe::metrics::CONDITIONS_FAILED,
    publish::facts::Recalled,
    subscription::model::{Condense, Labels, Subscription},
};

/// The most characters of a group's name; values that are the same up to there are one group.
pub const GROUP_CHARS_MAX: usize = 200;
/// What a null is in JSON.
pub(super) const NULL: &str = "null";

/// A subscriber's `group_by`, ready for use.
#[derive(Clone, Debug)]
pub struct Grouping(Box<Groups>);

#[derive(Clone, Debug)]
struct Groups {
    name: String,
    mode: &'static str,
    labels: Labels,
    /// Judged when events are gathered; not of the net effect, which is another thing than they.
    is_of_events: bool,
    /// For each object type whose columns it fits; the empty name is that of events without one.
    expressions: HashMap<Arc<str>, Expression>,
}

impl Grouping {
    /// That of `subscription`, compiled for these object types; the empty name is that of events
    /// without one. Events of other types are in the group of null.
    #[must_use]
    pub fn new(subscription: &Subscription, expressions: HashMap<Arc<str>, Expression>) -> Self {
        Self(Box::new(Groups {
            name: subscription.name.clone(),
            mode: subscription.spec.mode.as_str(),
            labels: subscription.spec.labels.clone(),
            is_of_events: subscription.spec.condense != Some(Condense::NetEffect),
            expressions,
        }))
    }

    /// The group of an event, or of a fold, as JSON: a string, or null.
    #[must_use]
    pub fn of(&self, object_type: Option<&str>, facts: &Facts<'_>) -> String {
        let Some(expression) = self.0.expressions.get(object_type.unwrap_or_default()) else {
            return NULL.to_owned();
        };
        let facts = Facts {
            subscription: Some(SubscriptionFacts {
                name: &self.0.name,
                mode: self.0.mode,
                labels: &self.0.labels,
            }),
            ..*facts
        };
        let text = expression.text(&facts).unwrap_or_else(|failure| {
            metrics::counter!(CONDITIONS_FAILED, "kind" => "group_by").increment(1);
            let name = &self.0.name;
            tracing::debug!(name, %failure, "`group_by` failed, which counts as null");
            None
        });
        // A string always serialises.
        let named = text.map(|text| serde_json::to_string(&cut(&text)).unwrap_or_default());
        named.unwrap_or_else(|| NULL.to_owned())
    }
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(GROUP_CHARS_MAX);
    end.map_or(text, |(end, _)| &text[..end])
}

/// An event that is gathered for subscriptions that group, and what each of them groups it by.
type Grouped<'a> = (&'a NewMember, Vec<(Uuid, &'a Grouping)>);

/// The groups of events that are gathered, by subscription and event; only of those who group. An
/// event is read once, however many subscriptions group it: from its member, or from the events
/// that earlier transactions have written.
pub(super) fn groups_judge(
    connection: &mut Connection,
    gatherings: &[Gathering<'_>],
    now: DateTime<Utc>,
) -> Result<HashMap<(Uuid, Uuid), String>, QueryError> {
    let mut events: HashMap<Uuid, Grouped<'_>> = HashMap::new();
    for gathering in gatherings {
        let grouping = gathering
            .grouping
            .filter(|grouping| grouping.0.is_of_events);
        let Some(grouping) = grouping else {
            continue;
        };
        for member in &gathering.members {
            let event = events.entry(member.event_id);
            let (_, groupings) = event.or_insert_with(|| (member, Vec::new()));
            groupings.push((gathering.subscription_id, grouping));
        }
    }
    let (mut groups, mut unread) = (HashMap::new(), Vec::new());
    for (id, event) in &events {
        match &event.0.body {
            Some(body) => judge(&mut groups, event, Some(body), now),
            None => unread.push(*id),
        }
    }
    each_body(connection, &unread, |_, place, body| {
        if let Some(event) = events.get(&unread[place]) {
            judge(&mut groups, event, body, now);
        }
        Ok(())
    })?;
    Ok(groups)
}

/// Judges an event with this body. One that can't be read is in the group of null.
fn judge(
    groups: &mut HashMap<(Uuid, Uuid), String>,
    (member, groupings): &Grouped<'_>,
    body: Option<&str>,
    now: DateTime<Utc>,
) {
    let object_type = member.object_type.as_deref();
    let event = body.and_then(|body| Recalled::parse(body, object_type.is_some()).ok());
    let changed = event.as_ref().map(Recalled::changed).unwrap_or_default();
    let facts = event.as_ref().map(|event| event.facts(&changed, now));
    for (subscription, grouping) in groupings {
        let group = facts.as_ref().map(|facts| grouping.of(object_type, facts));
        let group = group.unwrap_or_else(|| NULL.to_owned());
        groups.insert((*subscription, member.event_id), group);
    }
}
