//! What a sender works on: claimed deliveries of one lane, in their order.

use std::{collections::VecDeque, fmt, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::barrier::{Barrier, Standing};
use crate::{constraint::store::Matter, registry::registered::Registered, replay::again::Again};

/// Bytes of a body that take one more place in memory.
pub const PLACE_BYTES: usize = 32 * 1024;

/// How many places in memory a delivery takes whose body is so large, if `sharing` deliveries have
/// this one body: so memory has a limit in bytes, too.
#[must_use]
pub fn places_of(body: &str, sharing: usize) -> usize {
    1 + body.len() / PLACE_BYTES / sharing.max(1)
}

/// A delivery whose lease this instance holds.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery.
    pub id: Uuid,
    /// What is owed.
    pub owed: Owed,
    /// The claim that took it. Whoever claims it again gets another.
    pub lease: Uuid,
    /// The object's lane; `None`: not ordered.
    pub lane: Option<i64>,
    /// Its lane before its key changed.
    pub lane_previous: Option<i64>,
    /// The number on the wire.
    pub sequence: i64,
    /// How often it was tried before.
    pub attempts: u32,
    /// When the first of them began.
    pub first_tried_at: Option<DateTime<Utc>>,
    /// The body without the sequence.
    pub body: Arc<str>,
    /// How many places in memory it takes: see [`places_of`].
    pub places: usize,
    /// When it is withdrawn, if it was held before.
    pub hold_until: Option<DateTime<Utc>>,
    /// Whether its first attempt may be what delayed deliveries of the event wait for.
    pub is_awaited: bool,
    /// Its event's barrier, if that is kept in memory: one that is awaited brings it down, a
    /// delayed one waits for it.
    pub barrier: Option<Arc<Barrier>>,
    /// It is settled and sent again: its result is the replay stage's to write.
    pub again: Option<Again>,
}

impl Claimed {
    /// Whether somebody in the repository may wait for its first attempt.
    #[must_use]
    pub fn is_awaited_there(&self) -> bool {
        self.is_awaited && self.barrier.as_ref().is_none_or(|one| one.is_stored())
    }

    /// How the barrier stands that it waits for.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.barrier {
            Some(barrier) if !self.is_awaited => barrier.standing(),
            _ => Standing::Down,
        }
    }
}

/// What a delivery owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owed {
    /// An event.
    Event(Uuid),
    /// A part of a digest.
    Part {
        /// The digest.
        digest: Uuid,
        /// From 1.
        part: i32,
    },
}

impl Owed {
    /// As judgements name it: a digest is judged as a whole.
    #[must_use]
    pub fn matter(self) -> Matter {
        match self {
            Self::Event(id) => Matter::Event(id),
            Self::Part { digest, .. } => Matter::Digest(digest),
        }
    }
}

impl fmt::Display for Owed {
    /// The id on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => id.fmt(f),
            Self::Part { digest, part } => write!(f, "{digest}.{part}"),
        }
    }
}

/// Deliveries of one lane. The next is sent when the one before it is settled; one that is to be
/// retried holds back the rest.
pub struct Chain {
    /// To whom.
    pub subscription: Arc<Registered>,
    /// What is left to send.
    pub deliveries: VecDeque<Claimed>,
    /// When another instance may take them. On the monotonic clock, and never later than the lease
    /// that is stored.
    pub lease_ends: Instant,
    /// It was claimed soon after it was written: others have waited, and can wait.
    pub is_fresh: bool,
}

impl Chain {
    /// An empty chain.
    #[must_use]
    pub fn new(subscription: Arc<Registered>, lease_ends: Instant) -> Self {
        Self {
            subscription,
            deliveries: VecDeque::new(),
            lease_ends,
            is_fresh: false,
        }
    }

    /// The places in memory that its deliveries take.
    #[must_use]
    pub fn places(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.places).sum()
    }

    /// Appends the lane's next delivery.
    pub fn push(&mut self, delivery: Claimed) {
        self.deliveries.push_back(delivery);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_take_more_places_and_those_that_share_one_take_it_together() {
        let body = |bytes: usize| "x".repeat(bytes);
        assert_eq!(places_of("", 1), 1);
        assert_eq!(places_of(&body(PLACE_BYTES - 1), 1), 1);
        assert_eq!(places_of(&body(PLACE_BYTES), 1), 2);
        assert_eq!(places_of(&body(10 * PLACE_BYTES), 1), 11);
        assert_eq!(places_of(&body(10 * PLACE_BYTES), 5), 3);
        assert_eq!(places_of(&body(10 * PLACE_BYTES), 1_000), 1);
        // Nobody asks so.
        assert_eq!(places_of(&body(PLACE_BYTES), 0), 2);
    }
}
