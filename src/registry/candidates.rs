//! The subscriptions that are told of the same events, found by what their filters say of these.
//!
//! A filter that can only be true if a column (a path into JSON, a fact of the event) has one of
//! some values is kept under these values, and looked at when an event has one of them. Of several
//! such equalities the filter is kept under that on which the filters differ most. The others are
//! tried one by one. Among those of one value, and among the others, bounds leave out more
//! (`ranges`). What is found is judged: an index only leaves out what can't be true. What is
//! left out is not judged, so a null that `in` would fail on is not counted as a failure.

use std::collections::{HashMap, HashSet};

use super::{ranges::Ranges, registered::Registered};
use crate::{
    expr::{Equality, Expression, Facts, Literal, Looked, Seen},
    subscription::model::Condense,
};

/// So few filters are judged sooner than they are looked up.
pub(super) const TRIED_MAX: usize = 8;

/// A subscription that may be told of an event.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its place in the registry's list.
    pub place: u32,
    /// What must be true of the event.
    pub filter: Option<Expression>,
}

/// Subscriptions with their filters on the events of one object type.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Those without an equality.
    others: Ranges,
    looked_up: Box<[LookedUp]>,
}

#[derive(Debug)]
struct LookedUp {
    looked: Looked,
    by_value: HashMap<Literal, Ranges>,
}

type ByValue = HashMap<Literal, Vec<Candidate>>;

impl Candidate {
    /// A subscription with its filter on events of an object type. That of a net-effect digest is
    /// judged when its window closes, on what all changes came to.
    pub(super) fn new(place: u32, registered: &Registered, object_type: Option<&str>) -> Self {
        let is_later = registered.subscription.spec.condense == Some(Condense::NetEffect);
        let filter = registered.filter(object_type).filter(|_| !is_later);
        Self {
            place,
            filter: filter.cloned(),
        }
    }

    /// The text of its filter.
    pub(super) fn source(&self) -> Option<&str> {
        self.filter.as_ref().map(Expression::source)
    }
}

impl Candidates {
    pub(super) fn new(list: Vec<Candidate>) -> Self {
        if list.len() <= TRIED_MAX {
            return Self {
                others: Ranges::new(list),
                looked_up: Box::default(),
            };
        }
        // Found twice and kept never: those of all filters together take more than what is made.
        let equalities = |candidate: &Candidate| {
            let filter = candidate.filter.as_ref();
            filter.map(Expression::equalities).unwrap_or_default()
        };
        let mut differing: HashMap<String, HashSet<Literal>> = HashMap::new();
        for Equality { looked, values } in list.iter().flat_map(equalities) {
            match differing.get_mut(looked.identity()) {
                Some(known) => known.extend(values),
                None => {
                    let values = values.into_iter().collect();
                    differing.insert(looked.identity().to_owned(), values);
                }
            }
        }
        let differing: HashMap<String, usize> = differing
            .into_iter()
            .map(|(identity, values)| (identity, values.len()))
            .collect();
        let mut others = Vec::new();
        let mut looked_up: HashMap<String, (Looked, ByValue)> = HashMap::new();
        for candidate in list {
            let best = equalities(&candidate)
                .into_iter()
                .max_by_key(|equality| differing.get(equality.looked.identity()));
            let Some(Equality { looked, values }) = best else {
                others.push(candidate);
                continue;
            };
            let (_, by_value) = looked_up
                .entry(looked.identity().to_owned())
                .or_insert_with(|| (looked, ByValue::new()));
            for value in values {
                by_value.entry(value).or_default().push(candidate.clone());
            }
        }
        let made = |(looked, by_value): (_, ByValue)| LookedUp {
            looked,
            by_value: by_value
                .into_iter()
                .map(|(value, list)| (value, Ranges::new(list)))
                .collect(),
        };
        Self {
            others: Ranges::new(others),
            looked_up: looked_up.into_values().map(made).collect(),
        }
    }

    /// Whether one of them has a filter.
    pub(super) fn has_filter(&self) -> bool {
        let has = |candidate: &Candidate| candidate.filter.is_some();
        !self.looked_up.is_empty() || self.others.all().any(has)
    }

    /// Those whose filter may be true, and those without one.
    pub(super) fn find<'a>(&'a self, facts: &Facts<'_>, found: &mut Vec<&'a Candidate>) {
        self.others.find(facts, found);
        for LookedUp { looked, by_value } in &self.looked_up {
            match looked.seen(facts) {
                Seen::Nothing => {}
                Seen::Value(value) => {
                    if let Some(ranges) = by_value.get(&value) {
                        ranges.find(facts, found);
                    }
                }
                // One of several values would be found under each.
                Seen::Unclear => {
                    let first = found.len();
                    found.extend(by_value.values().flat_map(Ranges::all));
                    found[first..].sort_unstable_by_key(|candidate| candidate.place);
                    found.dedup_by_key(|candidate| candidate.place);
                }
            }
        }
    }

    /// Those without a filter.
    pub(super) fn unfiltered<'a>(&'a self, found: &mut Vec<&'a Candidate>) {
        let is_without = |candidate: &&Candidate| candidate.filter.is_none();
        found.extend(self.others.tried().iter().filter(is_without));
    }
}

/// With equal filters side by side, so that one that is shared is judged once.
pub(super) fn ready(mut list: Vec<Candidate>) -> Box<[Candidate]> {
    list.sort_by(|one, other| one.source().cmp(&other.source()));
    list.into()
}

#[cfg(test)]
pub(super) mod tests;
