//! Decides in which state each new delivery is born. Pure.
//!
//! A lane is the order of one object for one subscription. Its first unsettled delivery is its
//! head; the others wait. A head may be born claimed, with the deliveries of this batch that follow
//! it in its lane as one chain, and be handed to this instance's senders without another look at
//! the database.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{detect::Ids, event::Event};
use crate::{
    registry::live::{Registered, Registry},
    subscription::model::{Ordering, State},
};

/// The order of one object for one subscription: place in the registry, and lane.
pub type LaneOf = (u32, i64);

/// A delivery to be written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// UUIDv7.
    pub id: Uuid,
    /// The subscription's place in the registry.
    pub subscription: u32,
    /// The event's place in the batch.
    pub event: usize,
    /// The object's lane; `None`: not ordered.
    pub lane: Option<i64>,
    /// Its lane before its key changed.
    pub lane_previous: Option<i64>,
    /// How it is born.
    pub birth: Birth,
}

/// How a delivery is born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// With this instance's lease, in the chain of that number.
    Claimed(usize),
    /// Due at once, for whoever comes.
    Due,
    /// Behind an unsettled delivery of its lane.
    Blocked,
    /// Kept until its subscription is active again.
    Parked,
}

/// Matches events with subscriptions: the deliveries owed, in the order of the events.
#[must_use]
pub fn matched(events: &[Event], registry: &Registry, now: DateTime<Utc>) -> Vec<Planned> {
    let ids = Ids::new();
    let mut planned = Vec::new();
    let mut found = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let (key, previous) = (event.key.as_deref(), event.previous_key.as_deref());
        registry
            .index
            .find(&event.target.name, event.kind, key, previous, &mut found);
        if found.is_empty() {
            continue;
        }
        let (lane, lane_previous) = (event.lane(), event.lane_previous());
        for subscription in found.iter().copied() {
            let registered = &registry.subscriptions[subscription as usize];
            let ordered = registered.subscription.spec.ordering == Ordering::Key;
            planned.push(Planned {
                id: ids.next(now),
                subscription,
                event: place,
                lane: lane.filter(|_| ordered),
                lane_previous: lane_previous.filter(|_| ordered),
                birth: Birth::Due,
            });
        }
    }
    planned
}

/// The lanes that the deliveries are in.
#[must_use]
pub fn lanes(planned: &[Planned]) -> HashSet<LaneOf> {
    planned
        .iter()
        .flat_map(|delivery| delivery.lanes().map(|lane| (delivery.subscription, lane)))
        .collect()
}

/// Decides each delivery's birth. `busy` are the lanes with unsettled deliveries in the repository;
/// `room` is how many deliveries this instance may take into memory. Returns the number of chains.
pub fn assign(
    planned: &mut [Planned],
    subscriptions: &[Arc<Registered>],
    busy: HashSet<LaneOf>,
    mut room: usize,
) -> usize {
    // What stands last in each lane of this batch: a chain that can go on, or something to wait
    // for.
    let mut tails: HashMap<LaneOf, Option<usize>> =
        busy.into_iter().map(|lane| (lane, None)).collect();
    let mut chains = 0;
    for delivery in planned {
        let subscription = &subscriptions[delivery.subscription as usize].subscription;
        let is_active = subscription.state == State::Active;
        let lanes: Vec<LaneOf> = delivery
            .lanes()
            .map(|lane| (delivery.subscription, lane))
            .collect();
        let mut ahead = lanes.iter().filter_map(|lane| tails.get(lane));
        delivery.birth = match (ahead.next(), lanes.len()) {
            (None, _) if !is_active => Birth::Parked,
            (None, _) if room > 0 && subscription.spec.retry.first_wait().is_zero() => {
                chains += 1;
                Birth::Claimed(chains - 1)
            }
            (None, _) => Birth::Due,
            // Only a delivery of one lane goes on in a chain: of two lanes, one would be another
            // chain's.
            (Some(Some(chain)), 1) if room > 0 => Birth::Claimed(*chain),
            (Some(_), _) => Birth::Blocked,
        };
        let tail = match delivery.birth {
            Birth::Claimed(chain) => {
                room -= 1;
                // What follows a change of the key waits for it in both lanes.
                (lanes.len() == 1).then_some(chain)
            }
            _ => None,
        };
        for lane in lanes {
            tails.insert(lane, tail);
        }
    }
    chains
}

impl Planned {
    fn lanes(&self) -> impl Iterator<Item = i64> + use<> {
        let previous = self
            .lane_previous
            .filter(|previous| Some(*previous) != self.lane);
        self.lane.into_iter().chain(previous)
    }
}
