//! The barrier between the modes: of one event, no delayed delivery starts before every synchronous
//! one is tried (design section 4).
//!
//! *Tried* is a delivery whose first attempt has ended, or that can't start: an earlier event of
//! its object is unsettled, it is held, its subscription is not active. One that is due later,
//! because its receiver has more than its share in memory, is waited for until the barrier's end.
//!
//! A delayed delivery that has to wait is due at the barrier's end, one request timeout and one
//! lease after it was written. Whoever tries the last synchronous one makes it due before; and
//! claiming looks at the barrier once more, so that one that comes due by itself is not sent too
//! early either.
//!
//! Where all of them are born with the lease of one instance, that instance knows by itself when
//! they are tried: a [`Barrier`] counts them, and the delayed ones wait for it in memory. Where it
//! can't tell, or would have to wait for long, they go back and wait in the repository.

pub mod store;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{chain::Owed, send::Done};

/// The barrier of one event, in the memory of the instance that has all its synchronous deliveries
/// that can start, and delayed ones.
#[derive(Debug)]
pub struct Barrier {
    /// Synchronous deliveries of which nothing was told yet.
    untried: AtomicUsize,
    /// One came back untried: whether it can start, only the repository knows.
    is_lost: AtomicBool,
    /// Delayed ones of the event are in the repository.
    is_stored: AtomicBool,
}

/// How a barrier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A synchronous delivery is still to be tried.
    Up,
    /// All are tried.
    Down,
    /// It can't be told here: whoever waits goes back to the repository.
    Lost,
}

impl Barrier {
    /// A barrier for so many synchronous deliveries; whether delayed ones of the event are in the
    /// repository.
    #[must_use]
    pub fn new(synchronous: usize, is_stored: bool) -> Self {
        Self {
            untried: AtomicUsize::new(synchronous),
            is_lost: AtomicBool::new(false),
            is_stored: AtomicBool::new(is_stored),
        }
    }

    /// How it stands. Once it is not up, it stays as it is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.is_lost.load(Ordering::Acquire) {
            Standing::Lost
        } else if self.untried.load(Ordering::Acquire) == 0 {
            Standing::Down
        } else {
            Standing::Up
        }
    }

    /// Whether somebody in the repository may wait for the event's synchronous deliveries.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Acquire)
    }

    /// A synchronous delivery was told of. Whether the barrier has come down, or is lost now.
    fn note(&self, is_tried: bool) -> bool {
        if is_tried {
            self.untried.fetch_sub(1, Ordering::AcqRel) == 1
        } else {
            !self.is_lost.swap(true, Ordering::AcqRel)
        }
    }
}

/// Tells the barrier of a delivery's event, if there is one in memory, what became of the delivery.
/// Gives the event if those that wait for it are to be looked at.
pub(super) fn note(done: &Done) -> Option<Owed> {
    let delivery = done.delivery();
    let barrier = delivery.barrier.as_ref()?;
    let (is_tried, is_returned) = match done {
        Done::Tried(_) => (true, false),
        // What can't start now counts as tried.
        Done::Returned { is_deferred, .. } => (*is_deferred, true),
        Done::Decided { .. } => (false, false),
    };
    if delivery.is_awaited {
        return barrier.note(is_tried).then_some(delivery.owed);
    }
    if is_returned {
        barrier.is_stored.store(true, Ordering::Release);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::{super::chain::Claimed, *};

    const EVENT: Owed = Owed::Event(Uuid::nil());

    fn returned(is_awaited: bool, barrier: &Arc<Barrier>, is_deferred: bool) -> Done {
        let delivery = Claimed {
            id: Uuid::nil(),
            owed: EVENT,
            lease: Uuid::nil(),
            lane: None,
            lane_previous: None,
            sequence: 1,
            attempts: 0,
            first_tried_at: None,
            body: "".into(),
            places: 1,
            hold_until: None,
            is_awaited,
            barrier: Some(Arc::clone(barrier)),
            again: None,
        };
        Done::Returned {
            subscription_id: Uuid::nil(),
            delivery,
            not_before: None,
            has_waited: false,
            is_deferred,
        }
    }

    #[test]
    fn what_comes_back_untried_is_for_the_repository_to_judge() {
        for (is_deferred, stands) in [(true, Standing::Down), (false, Standing::Lost)] {
            // GIVEN a synchronous delivery, and two that wait for it
            let barrier = Arc::new(Barrier::new(1, false));
            let delivery = |is_awaited| returned(is_awaited, &barrier, is_deferred);
            let done = delivery(true);
            assert_eq!(done.delivery().standing(), Standing::Down, "it never waits");
            assert!(!done.delivery().is_awaited_there());
            assert_eq!(delivery(false).delivery().standing(), Standing::Up);
            // WHEN it comes back THEN it is as if tried only if it can't start
            assert_eq!(note(&done), Some(EVENT));
            assert_eq!(delivery(false).delivery().standing(), stands);
            // AND when one of the others comes back, its result is awaited in the repository
            assert_eq!(note(&delivery(false)), None);
            assert!(done.delivery().is_awaited_there());
            assert!(!delivery(false).delivery().is_awaited_there());
        }
    }

    #[test]
    fn it_comes_down_with_the_last_and_is_lost_with_any() {
        for (told, stands) in [
            ([true, true, true], Standing::Down),
            ([false, true, true], Standing::Lost),
            ([true, true, false], Standing::Lost),
            ([false, false, false], Standing::Lost),
        ] {
            let barrier = Barrier::new(told.len(), false);
            let mut changes = 0;
            for is_tried in told {
                // Nobody is let go while one is untried, and whoever waits is told once.
                let before = barrier.standing();
                assert_ne!(before, Standing::Down, "{told:?}");
                let has_changed = barrier.note(is_tried);
                assert_eq!(has_changed, barrier.standing() != before, "{told:?}");
                changes += usize::from(has_changed);
            }
            assert_eq!((barrier.standing(), changes), (stands, 1), "{told:?}");
        }
    }
}
