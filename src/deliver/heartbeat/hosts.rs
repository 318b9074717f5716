//! How many heartbeats are under way to which host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The requests under way by host; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Arc<Mutex<HashMap<String, usize>>>);

/// A request under way; its place is free when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    hosts: Hosts,
    host: String,
}

impl Hosts {
    /// A place for a request to `host`, if fewer than `max` are under way to it.
    pub(super) fn enter(&self, host: &str, max: usize) -> Option<Place> {
        let mut under_way = self.lock();
        let count = under_way.entry(host.to_owned()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(under_way);
        Some(Place {
            hosts: self.clone(),
            host: host.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.hosts.lock();
        if let Some(count) = under_way.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_places_and_gets_them_back() {
        let hosts = Hosts::default();
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
