//! Finds the subscriptions of an event: by object type and event type first, then by object key,
//! then by what their filters say of it.
//!
//! It is made of two parts: one over all subscriptions, and a small one over those that were edited
//! since. So an edit costs as much as what was edited lately, whatever the number of subscriptions.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub use super::candidates::{Candidate, Candidates};
use super::registered::Registered;
use crate::{catalog::model::name_matches, expr::Facts};

/// Subscriptions by what they are told of. Numbers are places in the registry's list.
#[derive(Clone, Debug, Default)]
pub struct Index {
    names: Arc<Names>,
    whole: Arc<Entries>,
    /// Places of which `whole` is out of date.
    edited: HashSet<u32>,
    since: Arc<Entries>,
}

/// The event types of each object type; with none, those of the API.
pub(super) type Names = Vec<(Option<Arc<str>>, Vec<Arc<str>>)>;

type ByEventType = HashMap<Arc<str>, Arc<Entry>>;

#[derive(Debug, Default)]
struct Entries {
    by_object_type: HashMap<Arc<str>, ByEventType>,
    /// Of events without an object type.
    by_event_type: ByEventType,
}

#[derive(Debug, Default)]
struct Entry {
    every_object: Candidates,
    by_key: HashMap<String, Candidates>,
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

/// The subscriptions that an event is for, apart from their filters.
#[derive(Debug)]
pub struct Meant<'a> {
    whole: Vec<&'a Candidates>,
    since: Vec<&'a Candidates>,
    edited: &'a HashSet<u32>,
}

impl Index {
    /// Over all subscriptions, each with its place, in ascending order.
    pub(super) fn new(names: Names, list: &[(u32, &Registered)]) -> Self {
        Self {
            whole: Arc::new(Entries::new(&names, list)),
            names: Arc::new(names),
            edited: HashSet::new(),
            since: Arc::default(),
        }
    }

    /// The same, where the places `edited` are empty, or hold what `list` says; it says all that
    /// has been edited since [`Index::new`].
    pub(super) fn with(&self, edited: HashSet<u32>, list: &[(u32, &Registered)]) -> Self {
        Self {
            names: Arc::clone(&self.names),
            whole: Arc::clone(&self.whole),
            edited,
            since: Arc::new(Entries::new(&self.names, list)),
        }
    }

    /// The same over all subscriptions anew.
    pub(super) fn anew(&self, list: &[(u32, &Registered)]) -> Self {
        Self::new(Names::clone(&self.names), list)
    }

    /// Whether the catalogue has the event type.
    #[must_use]
    pub fn has(&self, query: Query<'_>) -> bool {
        self.whole.entry(query).is_some()
    }

    /// A subscription that is asked for by itself.
    #[must_use]
    pub fn meant_alone<'a>(&'a self, alone: &'a Candidates) -> Meant<'a> {
        Meant {
            whole: Vec::new(),
            since: vec![alone],
            edited: &self.edited,
        }
    }

    /// The subscriptions of an event, apart from their filters. A change of the key is for those
    /// of the old key, too.
    #[must_use]
    pub fn meant(&self, query: Query<'_>) -> Meant<'_> {
        Meant {
            whole: self.whole.of(query),
            since: self.since.of(query),
            edited: &self.edited,
        }
    }
}

impl Meant<'_> {
    /// Whether one of them has a filter.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        let mut lists = self.whole.iter().chain(&self.since);
        lists.any(|candidates| candidates.has_filter())
    }
}

impl<'a> Meant<'a> {
    /// Those that have no filter, and all whose filter may be true of these facts; each once, in
    /// no order, but with equal filters side by side. Without facts, only those without a filter.
    pub fn find(&self, facts: Option<&Facts<'_>>, found: &mut Vec<&'a Candidate>) {
        found.clear();
        let collect = |lists: &[&'a Candidates], found: &mut Vec<&'a Candidate>| {
            for candidates in lists {
                match facts {
                    Some(facts) => candidates.find(facts, found),
                    None => candidates.unfiltered(found),
                }
            }
        };
        collect(&self.whole, found);
        if !self.edited.is_empty() {
            found.retain(|candidate| !self.edited.contains(&candidate.place));
        }
        collect(&self.since, found);
        if self.whole.len().max(self.since.len()) > EVERY_AND_KEY {
            // Of two keys it may be told by both.
            found.sort_unstable_by_key(|candidate| candidate.place);
            found.dedup_by_key(|candidate| candidate.place);
        }
    }
}

/// The lists of an event with one key: that of every object, and that of the key.
const EVERY_AND_KEY: usize = 2;

impl Entries {
    fn new(names: &Names, list: &[(u32, &Registered)]) -> Self {
        let mut entries = Self::default();
        for (object_type, event_types) in names {
            let entry = match object_type {
                Some(name) => entries.by_object_type.entry(Arc::clone(name)).or_default(),
                None => &mut entries.by_event_type,
            };
            // Mostly all of an object type's event types are for the same subscriptions.
            let mut made: Vec<(Vec<u32>, Arc<Entry>)> = Vec::new();
            for event_type in event_types {
                let meant = meant(list, object_type.as_deref(), event_type);
                let places: Vec<u32> = meant.iter().map(|(place, _)| *place).collect();
                let same = made.iter().find(|(known, _)| *known == places);
                let same = same.map(|(_, entry)| Arc::clone(entry));
                let one = same.unwrap_or_else(|| {
                    let one = Arc::new(Entry::new(&meant, object_type.as_deref()));
                    made.push((places, Arc::clone(&one)));
                    one
                });
                entry.insert(Arc::clone(event_type), one);
            }
        }
        entries
    }

    fn entry(&self, query: Query<'_>) -> Option<&Entry> {
        let entries = match query.object_type {
            Some(object_type) => self.by_object_type.get(object_type)?,
            None => &self.by_event_type,
        };
        entries.get(query.event_type).map(|entry| &**entry)
    }

    fn of(&self, query: Query<'_>) -> Vec<&Candidates> {
        let Some(entry) = self.entry(query) else {
            return Vec::new();
        };
        let keys = [query.key, query.previous_key].into_iter().flatten();
        let of_keys = keys.filter_map(|key| entry.by_key.get(key));
        [&entry.every_object].into_iter().chain(of_keys).collect()
    }
}

impl Entry {
    fn new(meant: &[(u32, &Registered)], object_type: Option<&str>) -> Self {
        let mut every_object = Vec::new();
        let mut by_key: HashMap<String, Vec<Candidate>> = HashMap::new();
        for (place, registered) in meant {
            let candidate = Candidate::new(*place, registered, object_type);
            if registered.subscription.spec.object_keys.is_empty() {
                every_object.push(candidate);
                continue;
            }
            for key in &registered.subscription.object_key_texts {
                let of_key = by_key.entry(key.clone()).or_default();
                // A key may be written twice.
                if of_key.last().is_none_or(|last| last.place != *place) {
                    of_key.push(candidate.clone());
                }
            }
        }
        let by_key = by_key.into_iter();
        Self {
            every_object: Candidates::new(every_object),
            by_key: by_key
                .map(|(key, list)| (key, Candidates::new(list)))
                .collect(),
        }
    }
}

/// Those of a list that an event type is for, and whose filters can be judged on it.
fn meant<'a>(
    list: &[(u32, &'a Registered)],
    object_type: Option<&str>,
    event_type: &str,
) -> Vec<(u32, &'a Registered)> {
    let is_for = |registered: &Registered| {
        is_meant(registered, object_type, event_type) && registered.fits(object_type)
    };
    let list = list.iter().copied();
    list.filter(|(_, registered)| is_for(registered)).collect()
}

/// Whether an event is for the subscription, apart from its filter: as [`Index::meant`] has it.
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

#[cfg(test)]
mod tests;
