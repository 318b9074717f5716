//! Finds the subscriptions of an event by hash: event type first, then object key.

use std::{collections::HashMap, sync::Arc};

use super::live::Registered;
use crate::{
    catalog::model::{Catalog, GAP_EVENT_TYPE, Verb, name_matches},
    subscription::model::Subscription,
};

/// What can happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A standard event.
    Standard(Verb),
    /// A change that could not be captured whole.
    Gap,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Standard(Verb::Created),
        Self::Standard(Verb::Updated),
        Self::Standard(Verb::Deleted),
        Self::Gap,
    ];

    /// The event type's name.
    #[must_use]
    pub fn event_type(self, object_type: &str) -> String {
        match self {
            Self::Standard(verb) => verb.event_type(object_type),
            Self::Gap => GAP_EVENT_TYPE.to_owned(),
        }
    }
}

/// Subscriptions by what they are told of. Numbers are places in the registry's list.
#[derive(Debug, Default)]
pub struct Index {
    by_object_type: HashMap<String, HashMap<Kind, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    every_object: Vec<u32>,
    by_key: HashMap<String, Vec<u32>>,
}

impl Index {
    pub(super) fn build(catalog: &Catalog, subscriptions: &[Arc<Registered>]) -> Self {
        let mut by_object_type: HashMap<String, HashMap<Kind, Entry>> = HashMap::new();
        for object_type in catalog.object_types.keys() {
            let kinds = by_object_type.entry(object_type.clone()).or_default();
            for kind in Kind::ALL {
                let event_type = kind.event_type(object_type);
                let entry = kinds.entry(kind).or_default();
                for (registered, place) in subscriptions.iter().zip(0..) {
                    entry.add(&registered.subscription, place, object_type, &event_type);
                }
            }
        }
        Self { by_object_type }
    }

    /// The subscriptions of an event in ascending order, each once. A change of the key is for
    /// those of the old key, too.
    pub fn find(
        &self,
        object_type: &str,
        kind: Kind,
        key: Option<&str>,
        previous_key: Option<&str>,
        found: &mut Vec<u32>,
    ) {
        found.clear();
        let Some(entry) = self
            .by_object_type
            .get(object_type)
            .and_then(|kinds| kinds.get(&kind))
        else {
            return;
        };
        found.extend_from_slice(&entry.every_object);
        for key in [key, previous_key].into_iter().flatten() {
            found.extend(entry.by_key.get(key).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
    }
}

impl Entry {
    fn add(
        &mut self,
        subscription: &Subscription,
        place: u32,
        object_type: &str,
        event_type: &str,
    ) {
        let spec = &subscription.spec;
        let is_meant = spec
            .event_types
            .iter()
            .any(|pattern| name_matches(pattern, event_type))
            || spec
                .object_types
                .iter()
                .any(|pattern| name_matches(pattern, object_type));
        if !is_meant {
            return;
        }
        if spec.object_keys.is_empty() {
            self.every_object.push(place);
        } else {
            for key in &subscription.object_key_texts {
                self.by_key.entry(key.clone()).or_default().push(place);
            }
        }
    }
}
