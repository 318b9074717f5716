//! Decides in which state each new delivery is born. Pure.
//!
//! A lane is the order of one object for one subscription. Its first unsettled delivery is its
//! head; the others wait. A head may be born claimed, with the deliveries of this batch that follow
//! it in its lane as one chain, and be handed to this instance's senders without another look at
//! the database. So may a delayed one if this instance has all synchronous ones of its event that
//! can start: it then waits for them in memory.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{audience::retain_entitled, detect::Ids, event::Event, wanted::wanted_by};
use crate::{
    constraint::judge::{Decision, Judged},
    registry::{live::Registry, registered::Registered, roster::Roster},
    subscription::model::{Mode, Ordering, State},
};

/// The order of one object for one subscription: place in the registry, and lane.
pub type LaneOf = (u32, i64);

/// What an event owes to a subscription.
#[derive(Clone, Debug)]
pub struct Planned {
    /// UUIDv7.
    pub id: Uuid,
    /// The subscription's place in the registry.
    pub subscription: u32,
    /// When the subscriber is told.
    pub mode: Mode,
    /// The event's place in the batch.
    pub event: usize,
    /// The object's lane; `None`: not ordered.
    pub lane: Option<i64>,
    /// Its lane before its key changed.
    pub lane_previous: Option<i64>,
    /// What the constraints say that are judged at the event.
    pub judged: Option<Judged>,
    /// Held by a constraint that is judged at the event, and not only when it is gathered.
    pub is_unjudged: bool,
    /// It is of a start, which has time: others are sent first.
    pub is_of_start: bool,
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
    /// Behind the synchronous deliveries of its event, of which some are not claimed, or with no
    /// room to wait for them in memory.
    Waiting,
    /// Kept until its subscription is active again.
    Parked,
    /// Kept by a constraint, and judged again when it is the first of its lanes.
    Held {
        /// It is the first.
        is_head: bool,
    },
    /// Never sent: a constraint forbids it.
    Suppressed,
    /// Not at all: the event is added to the subscription's digest.
    Gathered,
}

/// Matches the events from the place `first` on with subscriptions: what is owed, in the order of
/// the events, and of an event the synchronous ones first. Those that are `deferred` are owed
/// nothing but what is for them alone.
#[must_use]
pub fn matched(
    events: &[Event],
    first: usize,
    registry: &Registry,
    deferred: &HashSet<u32>,
    ids: &Ids,
    now: DateTime<Utc>,
) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut found = Vec::new();
    for (place, event) in events.iter().enumerate().skip(first) {
        wanted_by(event, registry, deferred, &mut found);
        retain_entitled(event, registry, &mut found);
        if found.is_empty() {
            continue;
        }
        let spec = |place: u32| &registry.subscriptions[place as usize].subscription.spec;
        found.sort_unstable_by_key(|place| (spec(*place).mode, *place));
        let (lane, lane_previous) = (event.lane(), event.lane_previous());
        for subscription in found.iter().copied() {
            let spec = spec(subscription);
            let ordered = spec.ordering == Ordering::Key;
            planned.push(Planned {
                id: ids.next(now),
                subscription,
                mode: spec.mode,
                event: place,
                lane: lane.filter(|_| ordered),
                lane_previous: lane_previous.filter(|_| ordered),
                judged: None,
                is_unjudged: false,
                is_of_start: event.only_for.is_some(),
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

/// How many deliveries an instance may take into its memory.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// In all.
    pub all: usize,
    /// Of these, behind synchronous ones of their events, at most.
    pub aside: usize,
}

/// Decides each delivery's birth. `busy` are the lanes with unsettled deliveries in the repository;
/// `room` is what this instance may take into memory. Returns the number of chains.
pub fn assign(
    planned: &mut [Planned],
    subscriptions: &Roster,
    busy: HashSet<LaneOf>,
    room: Places,
) -> usize {
    let mut births = Births::new(planned, busy, room);
    for delivery in planned {
        let registered = &subscriptions[delivery.subscription as usize];
        delivery.birth = births.of(delivery, Readiness::of(registered));
    }
    births.chains
}

/// What of a subscription decides whether it can be sent anything now.
#[derive(Clone, Copy)]
struct Readiness {
    is_active: bool,
    /// Its schedule begins with an attempt at once.
    is_at_once: bool,
    /// Claiming judges once more, just before it is sent.
    is_judged_at_send: bool,
}

impl Readiness {
    fn of(registered: &Registered) -> Self {
        let subscription = &registered.subscription;
        Self {
            is_active: subscription.state == State::Active,
            is_at_once: subscription.spec.retry.first_wait().is_zero(),
            is_judged_at_send: registered.is_judged_at_send(),
        }
    }
}

/// What stands before the next delivery of a batch.
struct Births {
    /// What stands last in each lane: a chain that can go on, or something to wait for.
    tails: HashMap<LaneOf, Option<usize>>,
    /// Places that are left in this instance's memory.
    room: Places,
    chains: usize,
    /// The last event with a synchronous delivery that can start.
    untried: Option<Untried>,
}

/// An event whose delayed deliveries have to wait.
#[derive(Clone, Copy)]
struct Untried {
    event: usize,
    /// All that they wait for is claimed.
    is_claimed: bool,
}

impl Births {
    fn new(planned: &[Planned], busy: HashSet<LaneOf>, mut room: Places) -> Self {
        // Nobody is born due because places went to those who wait for him.
        let is_synchronous = |delivery: &&Planned| delivery.mode == Mode::Synchronous;
        let synchronous = planned.iter().filter(is_synchronous).count();
        room.aside = room.aside.min(room.all.saturating_sub(synchronous));
        Self {
            tails: busy.into_iter().map(|lane| (lane, None)).collect(),
            room,
            chains: 0,
            untried: None,
        }
    }

    fn of(&mut self, delivery: &Planned, readiness: Readiness) -> Birth {
        let decision = delivery.judged.as_ref().map(|judged| judged.decision);
        if decision == Some(Decision::Suppress) {
            // Settled from the beginning: nobody waits for it.
            return Birth::Suppressed;
        }
        let lanes: Vec<LaneOf> = delivery
            .lanes()
            .map(|lane| (delivery.subscription, lane))
            .collect();
        let mut ahead = lanes
            .iter()
            .filter_map(|lane| self.tails.get(lane).copied());
        let ahead = (ahead.next(), lanes.len());
        let birth = match decision {
            Some(Decision::Hold) => Birth::Held {
                is_head: ahead.0.is_none(),
            },
            _ => self.decide(delivery, readiness, ahead),
        };
        let is_claimed = matches!(birth, Birth::Claimed(_));
        let tail = match birth {
            // It is no delivery, and nobody waits for it.
            Birth::Gathered => return birth,
            Birth::Claimed(chain) => {
                self.room.all -= 1;
                if self.waits(delivery).is_some() {
                    self.room.aside -= 1;
                }
                // What follows a change of the key waits for it in both lanes.
                (lanes.len() == 1).then_some(chain)
            }
            _ => None,
        };
        if delivery.mode == Mode::Synchronous && (is_claimed || birth == Birth::Due) {
            let event = delivery.event;
            let before = self.untried.filter(|untried| untried.event == event);
            let is_claimed = is_claimed && before.is_none_or(|untried| untried.is_claimed);
            self.untried = Some(Untried { event, is_claimed });
        }
        for lane in lanes {
            self.tails.insert(lane, tail);
        }
        birth
    }

    /// What a delayed delivery has to wait for, if there is anything.
    fn waits(&self, delivery: &Planned) -> Option<Untried> {
        let untried = self.untried?;
        let is_its = delivery.mode == Mode::SynchronousDelayed && untried.event == delivery.event;
        is_its.then_some(untried)
    }

    fn decide(
        &mut self,
        delivery: &Planned,
        readiness: Readiness,
        ahead: (Option<Option<usize>>, usize),
    ) -> Birth {
        let waits = self.waits(delivery);
        let has_room = match waits {
            None => self.room.all > 0,
            Some(untried) => untried.is_claimed && self.room.all.min(self.room.aside) > 0,
        };
        let may_be_claimed = has_room && !delivery.is_of_start && !readiness.is_judged_at_send;
        match ahead {
            (None, _) if delivery.mode == Mode::Batch => Birth::Gathered,
            (None, _) if !readiness.is_active => Birth::Parked,
            (None, _) if may_be_claimed && readiness.is_at_once => {
                self.chains += 1;
                Birth::Claimed(self.chains - 1)
            }
            (None, _) if waits.is_some() => Birth::Waiting,
            (None, _) => Birth::Due,
            // Only a delivery of one lane goes on in a chain: of two lanes, one would be another
            // chain's.
            (Some(Some(chain)), 1) if may_be_claimed => Birth::Claimed(chain),
            (Some(_), _) => Birth::Blocked,
        }
    }
}

impl Planned {
    /// Whether it gets a number now: it can be sent, and by itself.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        // What is blocked gets its number when it is claimed: what it waits for may have none yet.
        let is_kept = matches!(
            self.birth,
            Birth::Blocked | Birth::Gathered | Birth::Held { .. } | Birth::Suppressed
        );
        !is_kept && self.mode != Mode::Batch
    }

    fn lanes(&self) -> impl Iterator<Item = i64> + use<> {
        let previous = self
            .lane_previous
            .filter(|previous| Some(*previous) != self.lane);
        self.lane.into_iter().chain(previous)
    }
}

#[cfg(test)]
mod tests;
