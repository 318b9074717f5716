//! Whether a request is accepted, by who holds its names. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        idempotency::key_reused,
        problem::{Kind, Problem},
    },
    check::{FAULTS_MAX, prefix},
    ledger::{Digest, Ledger, Standing},
};
use crate::subscription::check::SpecProblem;

/// Why a request is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another request has its idempotency key.
    KeyReused,
    /// The events at these places have the names of others.
    IdReused(Vec<usize>),
    /// One of its names was being forgotten by upkeep.
    Forgotten,
}

/// Gives a request its names; none of them, if it can't have all. Tells of each event whether it
/// was accepted before.
pub(super) fn settle<K: Copy + Ord, N: Copy + Ord>(
    key: Option<(K, Digest)>,
    events: &[(N, Digest)],
    keys: &mut Ledger<K>,
    names: &mut Ledger<N>,
) -> Result<Vec<bool>, Refusal> {
    let key_standing = key.map(|(key, digest)| keys.standing(&key, &digest));
    match key_standing {
        Some(Standing::Other) => return Err(Refusal::KeyReused),
        Some(Standing::Forgotten) => return Err(Refusal::Forgotten),
        Some(Standing::Free | Standing::Same) | None => {}
    }
    let (mut own, mut reused) = (BTreeMap::new(), BTreeSet::new());
    let mut duplicates = Vec::with_capacity(events.len());
    for (name, digest) in events {
        let standing = names.standing(name, digest);
        if standing == Standing::Forgotten {
            return Err(Refusal::Forgotten);
        }
        let first = own.insert(*name, *digest);
        if standing == Standing::Other || first.is_some_and(|first| first != *digest) {
            reused.insert(*name);
        }
        duplicates.push(first.is_some() || standing == Standing::Same);
    }
    if !reused.is_empty() {
        let is_reused = |place: &usize| reused.contains(&events[*place].0);
        let places = (0..events.len()).filter(is_reused);
        return Err(Refusal::IdReused(places.collect()));
    }
    if let (Some((key, digest)), Some(Standing::Free)) = (key, key_standing) {
        keys.give(key, digest);
    }
    for ((name, digest), is_duplicate) in events.iter().zip(&duplicates) {
        if !is_duplicate {
            names.give(*name, *digest);
        }
    }
    Ok(duplicates)
}

impl Refusal {
    /// What is answered.
    pub(super) fn problem(self, is_list: bool) -> Problem {
        let places = match self {
            Self::KeyReused => return key_reused(),
            Self::Forgotten => {
                let text = "an event's id or the request's key was just being forgotten; send the \
                            request again";
                return Problem::new(Kind::Unavailable, text);
            }
            Self::IdReused(places) => places,
        };
        let faults = places.into_iter().take(FAULTS_MAX).map(|place| {
            let text = "another event of this source has this id; an event that is sent again is \
                        the same in all its parts, and a new one has a new id";
            SpecProblem::new(format!("{}/id", prefix(place, is_list)), text)
        });
        Problem::of_fields(Kind::EventIdReused, faults.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn digest(content: u8) -> Digest {
        [content; 32]
    }

    fn ledger(before: &[(u8, Option<u8>)]) -> Ledger<u8> {
        let stored = |content: &u8| digest(*content).to_vec();
        Ledger::of(
            before
                .iter()
                .map(|(name, content)| (*name, content.as_ref().map(stored)))
                .collect(),
        )
    }

    fn events(events: &[(u8, u8)]) -> Vec<(u8, Digest)> {
        events
            .iter()
            .map(|(name, content)| (*name, digest(*content)))
            .collect()
    }

    #[test]
    fn a_request_that_is_refused_gets_no_name() {
        let (mut keys, mut names) = (ledger(&[(1, Some(1))]), ledger(&[(1, Some(1)), (2, None)]));
        let mut given = |key: Option<(u8, u8)>, of: &[(u8, u8)]| {
            let key = key.map(|(key, content)| (key, digest(content)));
            settle(key, &events(of), &mut keys, &mut names)
        };
        // A name that another has, twice the same name, a key that another has, one forgotten.
        let refused = given(Some((2, 1)), &[(3, 1), (1, 2)]);
        assert_eq!(refused, Err(Refusal::IdReused(vec![1])));
        let refused = given(Some((2, 1)), &[(3, 1), (4, 1), (3, 2)]);
        assert_eq!(refused, Err(Refusal::IdReused(vec![0, 2])));
        let refused = given(Some((1, 2)), &[(3, 1)]);
        assert_eq!(refused, Err(Refusal::KeyReused));
        assert_eq!(given(None, &[(3, 1), (2, 1)]), Err(Refusal::Forgotten));
        // What they asked for is free for the next, with another content.
        assert_eq!(
            given(Some((2, 2)), &[(3, 3), (1, 1), (3, 3)]),
            Ok(vec![false, true, true])
        );
        assert_eq!(given(Some((2, 2)), &[(3, 3)]), Ok(vec![true]));
        let refused = given(Some((2, 1)), &[(4, 1)]);
        assert_eq!(refused, Err(Refusal::KeyReused));
    }

    /// What a request would be told if it were the only one.
    fn alone(
        key: Option<(u8, u8)>,
        events: &[(u8, u8)],
        keys: &mut HashMap<u8, u8>,
        names: &mut HashMap<u8, u8>,
    ) -> Option<Vec<bool>> {
        let (mut new_keys, mut new_names) = (keys.clone(), names.clone());
        if let Some((key, content)) = key
            && *new_keys.entry(key).or_insert(content) != content
        {
            return None;
        }
        let mut duplicates = Vec::new();
        for (name, content) in events {
            duplicates.push(new_names.contains_key(name));
            if *new_names.entry(*name).or_insert(*content) != *content {
                return None;
            }
        }
        (*keys, *names) = (new_keys, new_names);
        Some(duplicates)
    }

    proptest! {
        #[test]
        fn a_group_is_answered_as_its_requests_would_be_one_by_one(
            keys_before in proptest::collection::hash_map(0..3_u8, 0..2_u8, 0..2),
            names_before in proptest::collection::hash_map(0..6_u8, 0..2_u8, 0..3),
            requests in proptest::collection::vec(
                (
                    proptest::option::of((0..3_u8, 0..2_u8)),
                    proptest::collection::vec((0..6_u8, 0..2_u8), 0..4),
                ),
                0..8,
            ),
        ) {
            let before = |map: &HashMap<u8, u8>| {
                let stored: Vec<(u8, Option<u8>)> =
                    map.iter().map(|(name, content)| (*name, Some(*content))).collect();
                ledger(&stored)
            };
            let (mut keys, mut names) = (before(&keys_before), before(&names_before));
            let (mut model_keys, mut model_names) = (keys_before.clone(), names_before.clone());
            for (key, of) in &requests {
                let digested = key.map(|(key, content)| (key, digest(content)));
                let settled = settle(digested, &events(of), &mut keys, &mut names);
                let expected = alone(*key, of, &mut model_keys, &mut model_names);
                prop_assert_eq!(settled.ok(), expected);
            }
            for (ledger, model, before) in [
                (&keys, model_keys, keys_before),
                (&names, model_names, names_before),
            ] {
                let new: BTreeMap<u8, Digest> = model
                    .into_iter()
                    .filter(|(name, _)| !before.contains_key(name))
                    .map(|(name, content)| (name, digest(content)))
                    .collect();
                prop_assert_eq!(ledger.given(), &new);
            }
        }
    }
}
