//! What a digest tells, compared with the updates that are its members. Pure.

use std::{collections::BTreeMap, fmt::Debug};

use crate::wire::{Content, Effect, Object, Update};

/// What the content of a digest has otherwise than `updates`, in words.
pub(crate) fn content_differs(content: &Content, updates: &[Update]) -> Option<String> {
    match content {
        Content::Items(told) => items_differ(told, updates),
        Content::Counts(told) => counts_differ(told, updates),
        Content::Effects(told) => effects_differ(told, updates),
    }
}

fn items_differ(told: &[Update], updates: &[Update]) -> Option<String> {
    let (are, should) = (told.len(), updates.len());
    let mut pairs = told.iter().zip(updates);
    let first = pairs.find(|(told, update)| told != update);
    (are != should || first.is_some())
        .then(|| format!("{are} items instead of {should}; first other one: {first:?}"))
}

fn counts_differ(told: &[(Object, i64, usize)], updates: &[Update]) -> Option<String> {
    let mut counts: BTreeMap<(Object, i64), usize> = BTreeMap::new();
    for update in updates {
        *counts.entry((update.object, update.key)).or_default() += 1;
    }
    let told = told
        .iter()
        .map(|(object, key, count)| ((*object, *key), *count));
    maps_differ(told, counts)
}

fn effects_differ(told: &[Effect], updates: &[Update]) -> Option<String> {
    let told = told.iter().map(|effect| {
        let came_to = (effect.before, effect.after, effect.count);
        ((effect.object, effect.key), came_to)
    });
    maps_differ(told, effects(updates))
}

/// Before, after and count of each object that is another than before.
pub(crate) fn effects(updates: &[Update]) -> BTreeMap<(Object, i64), (i64, i64, usize)> {
    let mut effects = BTreeMap::new();
    for update in updates {
        let key = (update.object, update.key);
        let (_, after, count) = effects.entry(key).or_insert((update.before, 0, 0));
        *after = update.after;
        *count += 1;
    }
    effects.retain(|_, (before, after, _)| before != after);
    effects
}

fn maps_differ<V: Copy + Eq + Debug>(
    told: impl Iterator<Item = ((Object, i64), V)>,
    mut should: BTreeMap<(Object, i64), V>,
) -> Option<String> {
    for (key, value) in told {
        let right = should.remove(&key);
        if right != Some(value) {
            return Some(format!("{key:?} is told as {value:?} instead of {right:?}"));
        }
    }
    let (key, value) = should.first_key_value()?;
    Some(format!("{key:?} is not told, which came to {value:?}"))
}
