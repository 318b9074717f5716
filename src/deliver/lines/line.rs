//! One line: what waits for a sender to one receiver, and what is known of the receiver. Pure.

use std::{collections::VecDeque, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Bounds;
use crate::deliver::breaker::{Breaker, Sign};

/// Requests under way at once to a receiver that has not answered yet.
pub(super) const FIRST_REQUESTS_MAX: usize = 4;
/// Of so many chains, one at least is taken from those that have time, if there are any.
const TURNS_PER_REST: usize = 8;
/// When deliveries are tried again for which a line's share of memory had no place, or whose
/// receiver wants no more.
pub(super) const FULL_WAIT: TimeDelta = TimeDelta::seconds(1);
/// Deliveries that come back to the same slow or failing receiver come so far apart, so that
/// claiming them leaves others their turn,
const RETURN_STEP: TimeDelta = TimeDelta::milliseconds(1);
/// but not later than that.
const RETURN_SPREAD_MAX: TimeDelta = TimeDelta::seconds(60);

/// Whose line it is. A subscription that gets another host begins another line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::deliver) struct LineKey {
    /// The subscription.
    pub(in crate::deliver) subscription: Uuid,
    /// What its receiver shares with others.
    pub(in crate::deliver) host: Arc<str>,
}

/// What waits.
pub(super) struct Waiting<T> {
    pub(super) chain: T,
    /// How many, in places of memory: a large one counts for several.
    pub(super) deliveries: usize,
}

/// How soon requests to a receiver end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// None has ended yet.
    #[default]
    Unknown,
    Quick,
    /// The last one took long.
    Slow,
}

/// Whose turn comes first. The order of the variants is the order of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Something fresh, and no request is under way.
    FreshIdle,
    /// Something fresh.
    Fresh,
    /// To a receiver that has not answered yet: these together have a share of the senders.
    Stranger,
    /// No request is under way.
    RestIdle,
    /// Others are under way.
    Rest,
    /// To a slow receiver: these have senders of their own.
    Slow,
}

impl Rank {
    pub(super) const ALL: [Self; 6] = [
        Self::FreshIdle,
        Self::Fresh,
        Self::Stranger,
        Self::RestIdle,
        Self::Rest,
        Self::Slow,
    ];
}

/// What a line takes of what all share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Senders to receivers that are not slow.
    pub(super) quick: usize,
    /// Of these, those to receivers that have not answered yet.
    pub(super) strangers: usize,
    /// Senders to receivers that are.
    pub(super) slow: usize,
    /// Deliveries that wait for receivers of which nothing good is known.
    pub(super) unproven: usize,
}

/// A line.
pub(super) struct Line<T> {
    fresh: VecDeque<Waiting<T>>,
    rest: VecDeque<Waiting<T>>,
    /// Places of the deliveries in both,
    waiting: usize,
    /// and in the first.
    fresh_waiting: usize,
    pub(super) senders: usize,
    /// Requests under way that take long already.
    slow_requests: usize,
    pace: Pace,
    fresh_in_a_row: usize,
    /// Chains that were sent back since it answered last.
    refused: i32,
    pub(super) breaker: Breaker,
    /// Its place among those whose turn comes.
    pub(super) place: Option<(Rank, u64)>,
    /// It waits for its host instead.
    pub(super) is_behind_host: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            rest: VecDeque::new(),
            waiting: 0,
            fresh_waiting: 0,
            senders: 0,
            slow_requests: 0,
            pace: Pace::default(),
            fresh_in_a_row: 0,
            refused: 0,
            breaker: Breaker::default(),
            place: None,
            is_behind_host: false,
        }
    }
}

impl<T> Line<T> {
    /// Whether its requests take long: one that is under way, or the last that ended.
    pub(super) fn is_slow(&self) -> bool {
        self.slow_requests > 0 || self.pace == Pace::Slow
    }

    fn is_unproven(&self) -> bool {
        self.is_slow() || self.pace == Pace::Unknown
    }

    pub(super) fn weight(&self) -> Weight {
        let (slow, quick) = if self.is_slow() {
            (self.senders, 0)
        } else {
            (0, self.senders)
        };
        let is_stranger = self.pace == Pace::Unknown;
        Weight {
            quick,
            strangers: if is_stranger { quick } else { 0 },
            slow,
            unproven: if self.is_unproven() { self.waiting } else { 0 },
        }
    }

    /// The turn it should have, if any.
    pub(super) fn rank(&self, bounds: &Bounds) -> Option<Rank> {
        let senders_max = if self.is_slow() {
            bounds.senders_per_slow_max
        } else if self.pace == Pace::Unknown {
            FIRST_REQUESTS_MAX
        } else {
            bounds.senders_per_subscription_max
        };
        let may_start = self.waiting > 0
            && !self.is_behind_host
            && !self.breaker.is_probing()
            && self.senders < senders_max.min(bounds.senders_per_subscription_max)
            && self.senders < self.breaker.requests_max(&bounds.patience);
        if !may_start {
            return None;
        }
        if self.pace == Pace::Unknown && !self.is_slow() {
            return Some(Rank::Stranger);
        }
        Some(match (self.is_slow(), self.senders, self.fresh.len()) {
            (true, ..) => Rank::Slow,
            (_, 0, 1..) => Rank::FreshIdle,
            (_, _, 1..) => Rank::Fresh,
            (_, 0, _) => Rank::RestIdle,
            _ => Rank::Rest,
        })
    }

    /// Whether so many more have a place in memory, beside `unproven` of all such lines together.
    /// What is fresh has a share of its own: a backlog must not send it back.
    pub(super) fn has_place(
        &self,
        (deliveries, is_fresh): (usize, bool),
        unproven: usize,
        bounds: &Bounds,
    ) -> bool {
        let before = if is_fresh {
            self.fresh_waiting
        } else {
            self.waiting
        };
        let after = before + deliveries;
        // What is larger than a share by itself may go when nothing else is there.
        let is_empty = before == 0;
        if !self.is_unproven() {
            return is_empty || after <= bounds.memory_max / 2;
        }
        let is_first = self.is_idle() && !self.is_slow();
        let fits = is_empty || after <= self.unproven_max(bounds);
        is_first || fits && unproven + deliveries <= bounds.memory_max / 2
    }

    /// Its share of memory, unless it is known to answer quickly.
    fn unproven_max(&self, bounds: &Bounds) -> usize {
        let part = if self.is_slow() { 16 } else { 8 };
        (bounds.memory_max / part).max(1)
    }

    pub(super) fn push(&mut self, waiting: Waiting<T>, is_fresh: bool) {
        self.waiting += waiting.deliveries;
        if is_fresh {
            self.fresh_waiting += waiting.deliveries;
            self.fresh.push_back(waiting);
        } else {
            self.rest.push_back(waiting);
        }
    }

    /// Takes the next: what is fresh goes first, but the rest is not forgotten.
    pub(super) fn pop(&mut self) -> Option<T> {
        let is_rests_turn = self.fresh_in_a_row + 1 >= TURNS_PER_REST && !self.rest.is_empty();
        let fresh = if is_rests_turn {
            None
        } else {
            self.fresh.pop_front()
        };
        if let Some(next) = &fresh {
            self.fresh_waiting -= next.deliveries;
            self.fresh_in_a_row += 1;
        } else {
            self.fresh_in_a_row = 0;
        }
        let next = fresh.or_else(|| self.rest.pop_front())?;
        self.waiting -= next.deliveries;
        Some(next.chain)
    }

    /// Takes everything that waits.
    pub(super) fn drain(&mut self) -> Vec<T> {
        (self.waiting, self.fresh_waiting) = (0, 0);
        let fresh = std::mem::take(&mut self.fresh);
        let rest = std::mem::take(&mut self.rest);
        let all = fresh.into_iter().chain(rest);
        all.map(|waiting| waiting.chain).collect()
    }

    /// Takes what has no place any more, now that it is slow; the oldest stays.
    fn shed(&mut self, bounds: &Bounds) -> Vec<T> {
        let most = self.unproven_max(bounds);
        let mut shed = Vec::new();
        while self.waiting > most && self.fresh.len() + self.rest.len() > 1 {
            let last = self.rest.pop_back().or_else(|| {
                let last = self.fresh.pop_back()?;
                self.fresh_waiting -= last.deliveries;
                Some(last)
            });
            let Some(last) = last else { break };
            self.waiting -= last.deliveries;
            shed.push(last.chain);
        }
        shed
    }

    /// A request under way has taken long. Returns what has no place any more.
    pub(super) fn turned_slow(&mut self, bounds: &Bounds) -> Vec<T> {
        self.slow_requests += 1;
        self.shed(bounds)
    }

    /// A request ended that had taken long or not.
    pub(super) fn ended(&mut self, was_slow: bool, sign: Sign) {
        self.slow_requests -= usize::from(was_slow);
        match sign {
            Sign::Unasked => return,
            Sign::Answered | Sign::Gone => self.refused = 0,
            Sign::Troubled | Sign::Silent => {}
        }
        self.pace = if was_slow { Pace::Slow } else { Pace::Quick };
    }

    /// When what has no place comes back.
    pub(super) fn full_until(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.is_unproven() {
            self.back_at(now + FULL_WAIT)
        } else {
            now + FULL_WAIT
        }
    }

    /// When what is sent back next comes again, from `first` on.
    pub(super) fn back_at(&mut self, first: DateTime<Utc>) -> DateTime<Utc> {
        let spread = (RETURN_STEP * self.refused).min(RETURN_SPREAD_MAX);
        self.refused = self.refused.saturating_add(1);
        first.checked_add_signed(spread).unwrap_or(first)
    }

    /// Whether nothing waits or is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.senders == 0
    }

    /// Whether nothing bad is known of its receiver.
    pub(super) fn is_good(&self) -> bool {
        !self.is_slow() && self.breaker.is_clean()
    }
}
