//! The net effect: all changes of an object become one. Pure.
//!
//! An object is followed by its key. A change of the key carries it to its new key, under which it
//! is told in the end; an object that is created where one was deleted goes on with that one's
//! story. When an object moves to a key whose last owner was deleted, these are two objects, both
//! told under that key: the one is gone, the other has moved there.
//!
//! So the result is a set and no sequence. Whoever keeps a copy takes away the keys of all
//! `before`s first and then writes all `after`s; then swaps of keys come out right, too.
//!
//! A gap, a change that could not be captured whole, makes its object's effect unknown. Such an
//! object is always told, with the operation `gap` and what is known of before and after. So does a
//! TRUNCATE to every object whose last change it came after: nobody knows whether its row was in
//! the table, or the partition, that was emptied. It is told itself, as a change of no object.

use std::collections::HashMap;

use uuid::Uuid;

use crate::catalog::model::{GAP_EVENT_TYPE, Verb};

/// An event as folding sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub(super) event_id: Uuid,
    pub(super) event_type: &'a str,
    pub(super) object_type: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) previous_key: Option<&'a str>,
}

/// One object, and what is needed of its events.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) of: Of,
    /// The event that has the `before`.
    pub(super) first: Uuid,
    /// The event that has the `after`.
    pub(super) last: Uuid,
    pub(super) is_first_gap: bool,
    pub(super) is_last_gap: bool,
    pub(super) has_gap: bool,
    /// How many events it has.
    pub(super) count: i64,
    /// The place of its last event among all.
    last_place: u64,
}

/// What an entry of the result is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// An object.
    Object {
        /// Its type's place in [`Folding::types`].
        object_type: u32,
        /// Its last key.
        key: Box<str>,
        /// The key that its `before` has.
        first_key: Box<str>,
        /// Where it came from, if nothing happened since.
        moved_from: Option<Box<str>>,
    },
    /// Changes of an object type of which not even the key is known.
    Unknown {
        /// The type's place.
        object_type: u32,
    },
    /// TRUNCATEs of an object type's table.
    Truncated {
        /// The type's place.
        object_type: u32,
    },
    /// Events of one type that are about no object.
    Nothing {
        /// The event type.
        event_type: Box<str>,
    },
}

/// Events, folded up to now. Holds no bodies: some hundred bytes an object.
#[derive(Debug, Default)]
pub(super) struct Folding {
    types: Vec<Box<str>>,
    type_places: HashMap<Box<str>, u32>,
    objects: Vec<Object>,
    /// Who has a key now, or had it last.
    owners: HashMap<(u32, Box<str>), usize>,
    unknown: HashMap<u32, usize>,
    truncated: HashMap<u32, usize>,
    nothing: HashMap<Box<str>, usize>,
    events: u64,
}

impl Folding {
    /// Takes the next event.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        let is_gap = seen.event_type == GAP_EVENT_TYPE;
        let place = match (seen.object_type, seen.key) {
            (None, _) => self.nothing(seen),
            (Some(object_type), None) => self.no_object(object_type, seen),
            (Some(object_type), Some(key)) => self.object(object_type, key, seen),
        };
        let object = &mut self.objects[place];
        object.count += 1;
        object.last = seen.event_id;
        object.is_last_gap = is_gap;
        object.has_gap |= is_gap;
        self.events += 1;
        object.last_place = self.events;
    }

    /// The objects in the order of their first changes, and the names of their types.
    pub(super) fn finish(mut self) -> (Vec<Object>, Vec<Box<str>>) {
        let emptied_at: HashMap<u32, u64> = self
            .truncated
            .iter()
            .map(|(object_type, place)| (*object_type, self.objects[*place].last_place))
            .collect();
        for object in &mut self.objects {
            if let Of::Object { object_type, .. } = &object.of
                && let Some(emptied_at) = emptied_at.get(object_type)
                && object.last_place < *emptied_at
            {
                object.has_gap = true;
                object.is_last_gap = true;
            }
        }
        (self.objects, self.types)
    }

    fn object(&mut self, object_type: &str, key: &str, seen: &Seen<'_>) -> usize {
        let object_type = self.type_place(object_type);
        let previous = seen.previous_key.filter(|previous| *previous != key);
        let slot = (object_type, Box::from(key));
        let place = match previous {
            None => self.owners.get(&slot).copied(),
            Some(previous) => self.moved(&slot, previous),
        };
        let place = place.unwrap_or_else(|| {
            let of = Of::Object {
                object_type,
                key: key.into(),
                first_key: previous.unwrap_or(key).into(),
                moved_from: None,
            };
            self.push(of, seen)
        });
        if let Of::Object {
            key, moved_from, ..
        } = &mut self.objects[place].of
        {
            key.clone_from(&slot.1);
            *moved_from = previous.map(Box::from);
        }
        self.owners.insert(slot, place);
        place
    }

    /// The object that comes from the key `previous` to `slot`; `None` if it was not seen yet.
    fn moved(&mut self, slot: &(u32, Box<str>), previous: &str) -> Option<usize> {
        let from = (slot.0, Box::from(previous));
        if let Some(place) = self.owners.remove(&from) {
            return Some(place);
        }
        // One change can be several events, if event types are defined for it: then it is there
        // already.
        let here = *self.owners.get(slot)?;
        let is_same = matches!(&self.objects[here].of,
            Of::Object { moved_from: Some(from), .. } if **from == *previous);
        is_same.then_some(here)
    }

    fn no_object(&mut self, name: &str, seen: &Seen<'_>) -> usize {
        let object_type = self.type_place(name);
        let (places, of) = if Verb::Truncated.is(seen.event_type, name) {
            (&mut self.truncated, Of::Truncated { object_type })
        } else {
            (&mut self.unknown, Of::Unknown { object_type })
        };
        if let Some(place) = places.get(&object_type) {
            return *place;
        }
        places.insert(object_type, self.objects.len());
        self.push(of, seen)
    }

    fn nothing(&mut self, seen: &Seen<'_>) -> usize {
        if let Some(place) = self.nothing.get(seen.event_type) {
            return *place;
        }
        let event_type: Box<str> = seen.event_type.into();
        let of = Of::Nothing {
            event_type: event_type.clone(),
        };
        let place = self.push(of, seen);
        self.nothing.insert(event_type, place);
        place
    }

    fn push(&mut self, of: Of, seen: &Seen<'_>) -> usize {
        self.objects.push(Object {
            of,
            first: seen.event_id,
            last: seen.event_id,
            is_first_gap: seen.event_type == GAP_EVENT_TYPE,
            is_last_gap: false,
            has_gap: false,
            count: 0,
            last_place: 0,
        });
        self.objects.len() - 1
    }

    fn type_place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.type_places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.types.len()).unwrap_or(u32::MAX);
        self.types.push(name.into());
        self.type_places.insert(name.into(), place);
        place
    }
}

#[cfg(test)]
mod tests;
