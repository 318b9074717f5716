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
    Rescheduled, digest_close_due, digest_end_orphans, digest_next_at, digest_open_list,
    digest_reschedule, subscription_without_open,
};
use super::store::{Opening, digest_opened_at, digest_take};
use crate::{
    db::{Connection, DbError, QueryError},
    publish::detect::Ids,
    registry::{live::Registry, registered::Registered},
    subscription::model::{DigestSchedule, State},
};

/// Digests that one transaction closes.
const CLOSED_MAX: i64 = 1_000;

/// The schedules under which open digests were last looked at.
pub(super) type Known = HashMap<Uuid, DigestSchedule>;

/// What a look at the windows did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Digests that were closed.
    pub(super) closed: usize,
    /// When the next is to be closed.
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// Closes what is due and opens what is told empty. Belongs into a transaction of its own.
pub(super) fn look(
    connection: &mut Connection,
    registry: &Registry,
    now: DateTime<Utc>,
) -> Result<Looked, DbError> {
    let closed = digest_close_due(connection, CLOSED_MAX, now)?;
    open_empty(connection, registry, now)?;
    Ok(Looked {
        closed,
        next_at: digest_next_at(connection)?,
    })
}

/// Opens the digests of those who are told of windows in which nothing happens, too. A paused
/// subscription is told when it is resumed, in one digest.
fn open_empty(
    connection: &mut Connection,
    registry: &Registry,
    now: DateTime<Utc>,
) -> Result<(), QueryError> {
    let wanting: HashMap<Uuid, &Registered> = registry
        .subscriptions
        .iter()
        .filter(|registered| registered.subscription.state == State::Active)
        .filter(|registered| {
            let schedule = registered.schedule.as_ref();
            schedule.is_some_and(|schedule| schedule.sends_empty())
        })
        .map(|registered| (registered.subscription.id, &**registered))
        .collect();
    if wanting.is_empty() {
        return Ok(());
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
                .and_then(|registered| registered.schedule.as_ref())
                .and_then(|schedule| schedule.close(now, None)),
        })
        .collect();
    if openings.is_empty() {
        return Ok(());
    }
    // Whoever gathers at this moment may have opened one first; then that one is taken, unchanged.
    digest_take(connection, &openings, now)?;
    let new: Vec<Uuid> = openings.iter().map(|opening| opening.id).collect();
    digest_opened_at(connection, &new)
}

/// After an edit of the registration list: closes the digests of those who are no batch
/// subscription any more, and reckons anew when the others close whose schedule is another than in
/// `known`. Returns how many it closed. Belongs into a transaction of its own.
///
/// Whoever gathers holds the registry's lock, so all digests that were opened under the old
/// schedule are committed when the edit is.
pub(super) fn review(
    connection: &mut Connection,
    registry: &Registry,
    known: &Known,
    now: DateTime<Utc>,
) -> Result<(usize, Known), DbError> {
    let ended = digest_end_orphans(connection, now)?;
    let mut schedules = Known::new();
    let mut changed: HashMap<Uuid, &Registered> = HashMap::new();
    for registered in &registry.subscriptions {
        let (Some(_), Some(spec)) = (&registered.schedule, &registered.subscription.spec.schedule)
        else {
            continue;
        };
        let id = registered.subscription.id;
        if known.get(&id) != Some(spec) {
            changed.insert(id, registered);
        }
        schedules.insert(id, spec.clone());
    }
    if changed.is_empty() {
        return Ok((ended, schedules));
    }
    let ids: Vec<Uuid> = changed.keys().copied().collect();
    let rescheduled: Vec<Rescheduled> = digest_open_list(connection, &ids)?
        .into_iter()
        // What is due is closed as it was promised.
        .filter(|open| open.close_at.is_none_or(|at| at > now))
        .filter_map(|open| {
            let schedule = changed.get(&open.subscription_id)?.schedule.as_ref()?;
            let close = schedule.close(now, open.first_at);
            // The cron expression has not fired since, or it would be due: so an unchanged schedule
            // says the same again.
            (close.map(|close| close.at) != open.close_at)
                .then_some(Rescheduled { id: open.id, close })
        })
        .collect();
    if !rescheduled.is_empty() {
        digest_reschedule(connection, &rescheduled)?;
    }
    Ok((ended, schedules))
}
