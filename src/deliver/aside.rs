//! What waits for the synchronous deliveries of an event, and takes no sender meanwhile. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use super::chain::Owed;

/// Chains that are set aside, in the order in which they came.
pub(super) struct Aside<T> {
    chains: BTreeMap<u64, Waiting<T>>,
    /// Of each event for which some wait, which.
    by_event: HashMap<Owed, Vec<u64>>,
    ticket: u64,
    places: usize,
}

struct Waiting<T> {
    chain: T,
    places: usize,
    event: Owed,
    since: Instant,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self {
            chains: BTreeMap::new(),
            by_event: HashMap::new(),
            ticket: 0,
            places: 0,
        }
    }
}

impl<T> Aside<T> {
    /// Sets a chain aside that takes so many places in memory, until its event is asked for.
    pub(super) fn insert(&mut self, event: Owed, (chain, places): (T, usize), now: Instant) {
        self.places += places;
        self.by_event.entry(event).or_default().push(self.ticket);
        let waiting = Waiting {
            chain,
            places,
            event,
            since: now,
        };
        self.chains.insert(self.ticket, waiting);
        self.ticket += 1;
    }

    /// Places in memory that all take.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Takes what waits for this event.
    pub(super) fn take(&mut self, event: Owed) -> Vec<T> {
        let tickets = self.by_event.remove(&event).unwrap_or_default();
        let taken = tickets.iter().filter_map(|ticket| {
            let waiting = self.chains.remove(ticket)?;
            self.places -= waiting.places;
            Some(waiting.chain)
        });
        taken.collect()
    }

    /// Takes what has waited since then or longer, and with it what waits for the same events.
    pub(super) fn take_late(&mut self, since: Instant) -> Vec<T> {
        let mut taken = Vec::new();
        while let Some((_, first)) = self.chains.first_key_value()
            && first.since <= since
        {
            let event = first.event;
            taken.extend(self.take(event));
        }
        taken
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let all = std::mem::take(self);
        all.chains.into_values().map(|one| one.chain).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn event(number: u128) -> Owed {
        Owed::Event(Uuid::from_u128(number))
    }

    #[test]
    fn what_waits_is_taken_once_by_its_event_or_when_it_is_late() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut aside = Aside::default();
        for (number, of, places) in [(0, 7, 1), (1, 8, 2), (2, 7, 4), (3, 9, 8), (4, 8, 16)] {
            aside.insert(event(of), (number, places), at(number));
        }
        assert_eq!(aside.places(), 31);
        assert_eq!(aside.take(event(7)), [0, 2]);
        assert_eq!(aside.take(event(7)), [0; 0]);
        assert_eq!(aside.places(), 26);
        // The first is late, and the last is for the same event.
        assert_eq!(aside.take_late(at(0)), [0; 0]);
        assert_eq!(aside.take_late(at(1)), [1, 4]);
        assert_eq!(aside.places(), 8);
        // What comes back waits anew.
        aside.insert(event(9), (5, 1), at(9));
        assert_eq!(aside.drain(), [3, 5]);
        assert_eq!((aside.places(), aside.take(event(9)).len()), (0, 0));
        aside.insert(event(9), (6, 1), at(9));
        assert_eq!(aside.take_late(at(9)), [6]);
    }
}
