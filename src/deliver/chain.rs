//! What a sender works on: claimed deliveries of one lane, in their order.

use std::{collections::VecDeque, fmt, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{constraint::store, registry::registered::Registered, replay::again::Again};

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
    /// When it is withdrawn, if it was held before.
    pub hold_until: Option<DateTime<Utc>>,
    /// Whether its first attempt may be what delayed deliveries of the event wait for.
    pub is_awaited: bool,
    /// It is settled and sent again: its result is the replay stage's to write.
    pub again: Option<Again>,
}

/// Of a digest's part so many bytes take a place in memory: as much as most events, or more. What
/// claiming weighs parts by (claim/claim.sql).
pub(super) const PART_BYTES_A_PLACE: i32 = 64 * 1024;

impl Claimed {
    /// How many places in memory it takes. A part of a digest may be a hundred times as large as an
    /// event. One that is sent again takes one: replays bound how many theirs are.
    #[must_use]
    pub fn places(&self) -> usize {
        match self.owed {
            Owed::Part { .. } if self.again.is_none() => {
                1 + self.body.len() / PART_BYTES_A_PLACE as usize
            }
            _ => 1,
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
    pub fn judged(self) -> store::Owed {
        match self {
            Self::Event(id) => store::Owed::Event(id),
            Self::Part { digest, .. } => store::Owed::Digest(digest),
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

    /// How many places in memory its deliveries take.
    #[must_use]
    pub fn places(&self) -> usize {
        self.deliveries.iter().map(Claimed::places).sum()
    }

    /// Appends the lane's next delivery.
    pub fn push(&mut self, delivery: Claimed) {
        self.deliveries.push_back(delivery);
    }
}
