//! The bodies of what was claimed: no more of them than memory is to take at once.

use std::collections::{HashMap, HashSet};

use super::{
    judge::Body,
    store::{ClaimedRow, event_bodies_within, part_bodies_within},
};
use crate::{
    catalog::model::DIGEST_EVENT_TYPE,
    db::{Connection, DbError},
    deliver::chain::{Owed, PLACE_BYTES, places_of},
};

/// What the claimed deliveries owe.
#[derive(Default)]
pub(super) struct Bodies {
    read: HashMap<Owed, Body>,
    /// There was no room for these.
    left: HashSet<Owed>,
}

impl Bodies {
    pub(super) fn get(&self, owed: Owed) -> Option<&Body> {
        self.read.get(&owed)
    }

    /// Whether there is one, and it was not read.
    pub(super) fn is_left(&self, owed: Owed) -> bool {
        self.left.contains(&owed)
    }

    /// Whether any was not read.
    pub(super) fn is_cut(&self) -> bool {
        !self.left.is_empty()
    }

    fn add(&mut self, owed: Owed, body: Option<Body>) {
        match body {
            Some(body) => _ = self.read.insert(owed, body),
            None => _ = self.left.insert(owed),
        }
    }
}

/// Reads the bodies of these deliveries, those of the first ones first: of events as many as have
/// `places` in memory, and of parts of digests. The last one may be larger.
pub(super) fn bodies(
    connection: &mut Connection,
    claimed: &[ClaimedRow],
    places: usize,
) -> Result<Bodies, DbError> {
    let (mut events, mut parts) = (Vec::new(), Vec::new());
    let mut sharing: HashMap<Owed, usize> = HashMap::new();
    for owed in claimed.iter().filter_map(ClaimedRow::owed) {
        let shared_by = sharing.entry(owed).or_default();
        *shared_by += 1;
        match owed {
            _ if *shared_by > 1 => {}
            Owed::Event(id) => events.push(id),
            Owed::Part { digest, part } => parts.push((digest, part)),
        }
    }
    let bytes_max = i64::try_from(places.saturating_mul(PLACE_BYTES)).unwrap_or(i64::MAX);
    let places = |owed: Owed, text: &str| places_of(text, sharing.get(&owed).copied().unwrap_or(1));
    let mut bodies = Bodies::default();
    for event in event_bodies_within(connection, &events, bytes_max)? {
        let owed = Owed::Event(event.id);
        let body = event.body.map(|text| Body {
            places: places(owed, &text),
            text: text.into(),
            event_type: event.event_type,
            object_type: event.object_type,
        });
        bodies.add(owed, body);
    }
    for part in part_bodies_within(connection, &parts, bytes_max)? {
        let (digest, number) = (part.digest, part.part);
        let owed = Owed::Part {
            digest,
            part: number,
        };
        let body = part.body.map(|text| Body {
            places: places(owed, &text),
            text: text.into(),
            event_type: DIGEST_EVENT_TYPE.to_owned(),
            object_type: None,
        });
        bodies.add(owed, body);
    }
    Ok(bodies)
}
