//! Subscriptions of which the value of a column, or of what else events have one of, leaves out
//! those whose filter bounds it elsewhere: of many that want an amount above some limit of their
//! own, those are looked at whose limit is not above the event's.
//!
//! What is left out would have been false. Where a value is null, can't be read, or is of another
//! kind than the limits, nothing is left out, so that what fails is counted.

use std::collections::{HashMap, HashSet};

use super::candidates::{Candidate, TRIED_MAX, ready};
use crate::expr::{Bound, Expression, Facts, Literal, Looked, Seen, Side};

/// Candidates, some of them by a bound of their filters.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Looked at for each event.
    tried: Box<[Candidate]>,
    bounded: Box<[Bounded]>,
}

/// Those whose filters bound the same on the same side, by values of one kind.
#[derive(Debug)]
struct Bounded {
    looked: Looked,
    side: Side,
    /// Ascending.
    limits: Box<[Literal]>,
    /// In the order of their limits.
    candidates: Box<[Candidate]>,
}

/// What is bounded, on which side, and by which kind of values.
type Group = (String, Side, &'static str);

impl Ranges {
    pub(super) fn new(list: Vec<Candidate>) -> Self {
        if list.len() <= TRIED_MAX {
            return Self {
                tried: ready(list),
                bounded: Box::default(),
            };
        }
        let bounds: Vec<Vec<Bound>> = list
            .iter()
            .map(|candidate| candidate.filter.as_ref())
            .map(|filter| filter.map(Expression::bounds).unwrap_or_default())
            .collect();
        let mut limits: HashMap<Group, HashSet<&Literal>> = HashMap::new();
        for bound in bounds.iter().flatten() {
            limits.entry(group(bound)).or_default().insert(&bound.limit);
        }
        let limits: HashMap<Group, usize> = limits
            .into_iter()
            .map(|(group, limits)| (group, limits.len()))
            .collect();
        let mut tried = Vec::new();
        let mut grouped: HashMap<Group, Vec<(Bound, Candidate)>> = HashMap::new();
        for (candidate, bounds) in list.into_iter().zip(bounds) {
            // Of several, that on which the filters differ most.
            let best = bounds
                .into_iter()
                .max_by_key(|bound| limits.get(&group(bound)));
            match best {
                Some(bound) => {
                    let of_group = grouped.entry(group(&bound)).or_default();
                    of_group.push((bound, candidate));
                }
                None => tried.push(candidate),
            }
        }
        let mut bounded = Vec::new();
        for of_group in grouped.into_values() {
            if of_group.len() > TRIED_MAX {
                bounded.extend(Bounded::new(of_group));
            } else {
                tried.extend(of_group.into_iter().map(|(_, candidate)| candidate));
            }
        }
        Self {
            tried: ready(tried),
            bounded: bounded.into(),
        }
    }

    /// Those that are looked at for each event; those without a filter are among them.
    pub(super) fn tried(&self) -> &[Candidate] {
        &self.tried
    }

    /// Each.
    pub(super) fn all(&self) -> impl Iterator<Item = &Candidate> {
        let bounded = self.bounded.iter();
        let bounded = bounded.flat_map(|bounded| &bounded.candidates);
        self.tried.iter().chain(bounded)
    }

    /// Those that are not false for the bound of their filter.
    pub(super) fn find<'a>(&'a self, facts: &Facts<'_>, found: &mut Vec<&'a Candidate>) {
        found.extend(&self.tried);
        for bounded in &self.bounded {
            found.extend(bounded.find(facts));
        }
    }
}

impl Bounded {
    fn new(mut list: Vec<(Bound, Candidate)>) -> Option<Self> {
        // Equal filters have equal limits, and stay side by side.
        list.sort_by(|(one, a), (other, b)| {
            let limits = one.limit.order(&other.limit);
            limits.then_with(|| a.source().cmp(&b.source()))
        });
        let (first, _) = list.first()?;
        Some(Self {
            looked: first.looked.clone(),
            side: first.side,
            limits: list.iter().map(|(bound, _)| bound.limit.clone()).collect(),
            candidates: list.into_iter().map(|(_, candidate)| candidate).collect(),
        })
    }

    fn find(&self, facts: &Facts<'_>) -> &[Candidate] {
        let kind = self.limits.first().map(Literal::kind);
        let value = match self.looked.seen(facts) {
            Seen::Value(value) if Some(value.kind()) == kind => value,
            _ => return &self.candidates,
        };
        match self.side {
            Side::Above => {
                let is_kept = |limit: &Literal| limit.order(&value).is_le();
                &self.candidates[..self.limits.partition_point(is_kept)]
            }
            Side::Below => {
                let is_broken = |limit: &Literal| limit.order(&value).is_lt();
                &self.candidates[self.limits.partition_point(is_broken)..]
            }
        }
    }
}

fn group(bound: &Bound) -> Group {
    let identity = bound.looked.identity().to_owned();
    (identity, bound.side, bound.limit.kind())
}

#[cfg(test)]
mod tests;
