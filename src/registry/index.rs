//! Finds the subscriptions of an event by hash: object type and event type first, then object key.

use std::{collections::HashMap, sync::Arc};

use super::registered::Registered;
use crate::catalog::model::name_matches;

/// Subscriptions by what they are told of. Numbers are places in the registry's list.
#[derive(Debug, Default)]
pub struct Index {
    by_object_type: HashMap<Arc<str>, HashMap<Arc<str>, Entry>>,
    /// Of events without an object type.
    by_event_type: HashMap<Arc<str>, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    every_object: Vec<u32>,
    by_key: HashMap<String, Vec<u32>>,
}

/// Which events the index is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// `None`: an event that came through the API.
    pub object_type: Option<&'a str>,
    /// The event type's name.
    pub event_type: &'a str,
    /// The object key's text.
    pub key: Option<&'a str>,
    /// The object key's text before the event changed it.
    pub previous_key: Option<&'a str>,
}

impl Index {
    /// Adds all `subscriptions` under an object type's event types.
    pub(super) fn add_object_type<'a>(
        &mut self,
        object_type: &Arc<str>,
        event_types: impl Iterator<Item = &'a Arc<str>>,
        subscriptions: &[Arc<Registered>],
    ) {
        let entries = self
            .by_object_type
            .entry(Arc::clone(object_type))
            .or_default();
        for event_type in event_types {
            let entry = entries.entry(Arc::clone(event_type)).or_default();
            for (registered, place) in subscriptions.iter().zip(0..) {
                entry.add(registered, place, Some(object_type), event_type);
            }
        }
    }

    /// Adds all `subscriptions` under an event type of the API.
    pub(super) fn add_event_type(
        &mut self,
        event_type: &Arc<str>,
        subscriptions: &[Arc<Registered>],
    ) {
        let entry = self
            .by_event_type
            .entry(Arc::clone(event_type))
            .or_default();
        for (registered, place) in subscriptions.iter().zip(0..) {
            entry.add(registered, place, None, event_type);
        }
    }

    /// Whether the catalogue has the event type.
    #[must_use]
    pub fn has(&self, query: Query<'_>) -> bool {
        let entries = match query.object_type {
            Some(object_type) => self.by_object_type.get(object_type),
            None => Some(&self.by_event_type),
        };
        entries.is_some_and(|entries| entries.contains_key(query.event_type))
    }

    /// The subscriptions of an event in ascending order, each once. A change of the key is for
    /// those of the old key, too.
    pub fn find(&self, query: Query<'_>, found: &mut Vec<u32>) {
        found.clear();
        let entries = match query.object_type {
            Some(object_type) => self.by_object_type.get(object_type),
            None => Some(&self.by_event_type),
        };
        let Some(entry) = entries.and_then(|entries| entries.get(query.event_type)) else {
            return;
        };
        found.extend_from_slice(&entry.every_object);
        for key in [query.key, query.previous_key].into_iter().flatten() {
            found.extend(entry.by_key.get(key).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
    }
}

impl Entry {
    fn add(
        &mut self,
        registered: &Registered,
        place: u32,
        object_type: Option<&str>,
        event_type: &str,
    ) {
        if !is_meant(registered, object_type, event_type) || !registered.fits(object_type) {
            return;
        }
        if registered.subscription.spec.object_keys.is_empty() {
            self.every_object.push(place);
        } else {
            for key in &registered.subscription.object_key_texts {
                self.by_key.entry(key.clone()).or_default().push(place);
            }
        }
    }
}

/// Whether an event is for the subscription, apart from its filter: as [`Index::find`] finds it.
#[must_use]
pub fn is_for(registered: &Registered, query: Query<'_>) -> bool {
    let Query {
        object_type,
        event_type,
        key,
        previous_key,
    } = query;
    let texts = &registered.subscription.object_key_texts;
    let is_of_keys = || {
        let mut keys = [key, previous_key].into_iter().flatten();
        keys.any(|key| texts.iter().any(|text| text == key))
    };
    is_meant(registered, object_type, event_type)
        && registered.fits(object_type)
        && (registered.subscription.spec.object_keys.is_empty() || is_of_keys())
}

/// Whether the subscription names the event type or the object type.
#[must_use]
pub fn is_meant(registered: &Registered, object_type: Option<&str>, event_type: &str) -> bool {
    let spec = &registered.subscription.spec;
    let by_event_type = spec
        .event_types
        .iter()
        .any(|pattern| name_matches(pattern, event_type));
    let by_object_type = object_type.is_some_and(|object_type| {
        spec.object_types
            .iter()
            .any(|pattern| name_matches(pattern, object_type))
    });
    by_event_type || by_object_type
}
