//! Windows: digests whose time has come are closed, and those are opened that are told even if
//! nothing happens.
//!
//! When a digest is to be closed is decided when it is opened and kept with it; here it is only
//! compared with the clock. Many instances may do this at once: a digest that one of them holds is
//! left to it.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::store::{
    NextRow, digest_close_due, digest_end_orphans, digest_next, digest_open_lock,
    digest_open_others, subscription_without_open,
};
use super::{
    late::windows_begin,
    schedule::{Close, Schedule},
    store::{Opening, Rescheduled, digest_reschedule, digest_take},
};
use crate::{
    db::{Connection, DbError, QueryError},
    publish::detect::Ids,
    registry::live::Registry,
    subscription::model::{DigestSchedule, State},
};

/// Digests that one transaction closes.
const CLOSED_MAX: i64 = 1_000;

/// The schedules under which open digests were last looked at.
pub(super) type Known = HashMap<Uuid, DigestSchedule>;

/// What closing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    /// Digests that were closed.
    pub(super) count: usize,
    /// When the next is to be closed.
    pub(super) next_at: Option<DateTime<Utc>>,
    /// Since when one that was closed waits for its parts.
    pub(super) waits_since: Option<DateTime<Utc>>,
}

/// Closes what is due. Waits for nobody. Belongs into a transaction of its own.
pub(super) fn close_due(
    connection: &mut Connection,
    now: DateTime<Utc>,
) -> Result<Closed, QueryError> {
    let count = digest_close_due(connection, CLOSED_MAX, now)?;
    let NextRow {
        close_at,
        closed_at,
    } = digest_next(connection)?;
    Ok(Closed {
        count,
        next_at: close_at,
        waits_since: closed_at,
    })
}

/// Opens the digests of those who are told of windows in which nothing happens, too. A paused
/// subscription is told when it is resumed, in one digest. Returns when the first of them is to be
/// closed.
///
/// Belongs into a transaction of its own: it waits for those who gather, so it must hold nothing
/// for which they could wait.
pub(super) fn open_empty(
    connection: &mut Connection,
    registry: &Registry,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, QueryError> {
    let wanting: HashMap<Uuid, &Schedule> = registry
        .subscriptions
        .iter()
        .filter(|registered| registered.subscription.state == State::Active)
        .filter_map(|registered| {
            let schedule = registered.schedule.as_ref()?;
            schedule
                .sends_empty()
                .then_some((registered.subscription.id, schedule))
        })
        .collect();
    if wanting.is_empty() {
        return Ok(None);
    }
    let wanted: Vec<Uuid> = wanting.keys().copied().collect();
    let ids = Ids::new();
    let openings: Vec<Opening> = subscription_without_open(connection, &wanted)?
        .into_iter()
        .map(|subscription_id| Opening {
            id: ids.next(now),
            subscription_id,
            events: 0,
            close: wanting
                .get(&subscription_id)
                .and_then(|schedule| schedule.close(now, None)),
        })
        .collect();
    if openings.is_empty() {
        return Ok(None);
    }
    // Whoever gathers at this moment may have opened one first; then that one is taken, unchanged.
    digest_take(connection, &openings, now)?;
    let new: Vec<Uuid> = openings.iter().map(|opening| opening.id).collect();
    let begun = windows_begin(connection, &new, |id| wanting.get(id).copied(), &ids, now)?;
    // Whose clock is ahead has closed the one before at a time that is yet to come here, and is not
    // to close this one too.
    let early: Vec<Rescheduled> = openings
        .iter()
        .filter_map(|opening| {
            let begun = begun.get(&opening.subscription_id)?.closed_at;
            let schedule = wanting.get(&opening.subscription_id)?;
            (begun > now).then(|| Rescheduled {
                id: opening.id,
                close: schedule.close(begun, None),
            })
        })
        .collect();
    if !early.is_empty() {
        digest_reschedule(connection, &early)?;
    }
    Ok(openings
        .iter()
        .filter_map(|opening| opening.close)
        .map(|close| close.at)
        .min())
}

/// What a review did.
pub(super) struct Review {
    /// Digests that were closed, because their subscriptions are gone.
    pub(super) ended: usize,
    /// The schedules that hold now for all open digests.
    pub(super) known: Known,
    /// Nobody held a digest that was to be looked at.
    pub(super) is_complete: bool,
}

/// After an edit of the registration list: closes the digests of those who are no batch
/// subscription any more, and reckons anew when the others close whose schedule is another than in
/// `known`. Waits for nobody; what somebody holds is left for another review. Belongs into a
/// transaction of its own.
///
/// Whoever gathers holds the registry's lock, so all digests that were opened under the old
/// schedule are committed when the edit is.
pub(super) fn review(
    connection: &mut Connection,
    registry: &Registry,
    known: &Known,
    now: DateTime<Utc>,
) -> Result<Review, DbError> {
    let mut review = Review {
        ended: digest_end_orphans(connection, now)?,
        known: Known::new(),
        is_complete: true,
    };
    let mut changed: HashMap<Uuid, &Schedule> = HashMap::new();
    for registered in registry.subscriptions.iter() {
        let id = registered.subscription.id;
        let spec = registered.subscription.spec.schedule.as_deref();
        if let (Some(schedule), Some(spec)) = (&registered.schedule, spec) {
            if known.get(&id) != Some(spec) {
                changed.insert(id, schedule);
            }
            review.known.insert(id, spec.clone());
        }
    }
    if changed.is_empty() {
        return Ok(review);
    }
    let subscriptions: Vec<Uuid> = changed.keys().copied().collect();
    let open = digest_open_lock(connection, &subscriptions)?;
    let locked: Vec<Uuid> = open.iter().map(|open| open.id).collect();
    for held in digest_open_others(connection, &subscriptions, &locked)? {
        review.known.remove(&held);
        review.is_complete = false;
    }
    let rescheduled: Vec<Rescheduled> = open
        .into_iter()
        // What is due is closed as it was promised.
        .filter(|open| open.close_at.is_none_or(|at| at > now))
        .filter_map(|open| {
            // The cron expression has not fired since, or the digest would be due: so an unchanged
            // schedule says the same again.
            let close = changed
                .get(&open.subscription_id)?
                .close(now.max(open.opened_at), open.first_at);
            // By another schedule its time may be over. What was published since is in it, so it
            // ends now all the same.
            let close = close.map(|close| Close {
                at: close.at.max(now),
                ..close
            });
            let is_other = close.map(|close| close.at) != open.close_at;
            is_other.then_some(Rescheduled { id: open.id, close })
        })
        .collect();
    if !rescheduled.is_empty() {
        digest_reschedule(connection, &rescheduled)?;
    }
    Ok(review)
}
