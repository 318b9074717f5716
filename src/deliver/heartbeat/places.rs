//! How many heartbeats are under way to which host, and to which subscription.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The requests under way by what they are to; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places<K: Clone + Eq + Hash>(Arc<Mutex<HashMap<K, usize>>>);

/// A request under way; its place is free when it is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Clone + Eq + Hash> {
    places: Places<K>,
    to: K,
}

impl<K: Clone + Eq + Hash> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// A place for a request `to` this, if fewer than `max` are under way to it.
    pub(super) fn enter(&self, to: K, max: usize) -> Option<Place<K>> {
        let mut under_way = self.lock();
        let count = under_way.entry(to.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(under_way);
        Some(Place {
            places: self.clone(),
            to,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut under_way = self.places.lock();
        if let Some(count) = under_way.get_mut(&self.to) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_places_and_gets_them_back() {
        let hosts = Places::default();
        let first = hosts.enter("a", 2).unwrap();
        let second = hosts.enter("a", 2).unwrap();
        assert!(hosts.enter("a", 2).is_none());
        let other = hosts.enter("b", 2).unwrap();
        drop(first);
        let third = hosts.enter("a", 2).unwrap();
        assert!(hosts.enter("a", 2).is_none());
        drop((second, third, other));
        assert!(hosts.lock().is_empty());
    }
}
