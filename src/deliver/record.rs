//! What a result makes of its delivery: written only by the holder of the lease, together with the
//! attempt and the release of what waits behind it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    chain::Claimed,
    retry::Next,
    send::{Done, Tried},
    store::{Finish, NewAttempt, attempt_insert, delivery_finish, lane_release, lease_held},
};
use crate::{
    db::{Connection, DbError},
    observe::metrics::{ATTEMPT_SECONDS, ATTEMPTS},
    registry::registry_raise,
    subscription::state::subscription_disable,
};

/// Writes results in one transaction: attempts, deliveries, and what waits behind them. Returns how
/// many deliveries became due at once.
pub(super) fn results_write(
    connection: &mut Connection,
    results: &[Done],
    instance: Uuid,
    now: DateTime<Utc>,
) -> Result<usize, DbError> {
    let disabled: HashMap<Uuid, &str> = results.iter().filter_map(Done::disables).collect();
    if !disabled.is_empty() {
        // The registry's lock comes before those of deliveries, here as in publishing.
        registry_raise(connection)?;
    }
    let ids: Vec<Uuid> = results.iter().map(|done| done.delivery().id).collect();
    let held: HashSet<Uuid> = lease_held(connection, &ids, instance)?
        .into_iter()
        .collect();
    if held.len() < ids.len() {
        let lost = ids.len() - held.len();
        tracing::warn!(
            lost,
            "results came after their leases had ended; they are not written"
        );
    }
    let held_results = || {
        results
            .iter()
            .filter(|done| held.contains(&done.delivery().id))
    };
    let attempts: Vec<NewAttempt> = held_results().filter_map(Done::attempt).collect();
    attempt_insert(connection, &attempts, instance)?;
    let finished: Vec<Finish> = held_results().map(|done| done.finish(now)).collect();
    delivery_finish(connection, &finished, now)?;
    for (subscription_id, reason) in disabled {
        subscription_disable(connection, subscription_id, reason, now)?;
    }
    let lanes: HashSet<(Uuid, i64)> = held_results().flat_map(Done::lanes).collect();
    let released = lane_release(connection, &lanes.into_iter().collect::<Vec<_>>(), now)?;
    let returned = finished
        .iter()
        .filter(|finish| finish.due_at.is_some_and(|due| due <= now));
    Ok(released + returned.count())
}

pub(super) fn results_count(results: &[Done]) {
    for done in results {
        let Done::Tried(tried) = done else { continue };
        metrics::counter!(ATTEMPTS, "outcome" => tried.outcome()).increment(1);
        metrics::histogram!(ATTEMPT_SECONDS).record(tried.duration.as_secs_f64());
    }
}

impl Tried {
    fn outcome(&self) -> &'static str {
        match self.next {
            Next::Delivered => "delivered",
            Next::Retry { .. } | Next::Disabled => "retry",
            Next::Dead => "dead",
        }
    }
}

impl Done {
    fn delivery(&self) -> &Claimed {
        match self {
            Self::Tried(tried) => &tried.delivery,
            Self::Returned { delivery, .. } => delivery,
        }
    }

    fn subscription_id(&self) -> Uuid {
        match self {
            Self::Tried(tried) => tried.subscription_id,
            Self::Returned {
                subscription_id, ..
            } => *subscription_id,
        }
    }

    fn lanes(&self) -> impl Iterator<Item = (Uuid, i64)> + use<> {
        let (id, delivery) = (self.subscription_id(), self.delivery());
        delivery
            .lane
            .into_iter()
            .chain(delivery.lane_previous)
            .map(move |lane| (id, lane))
    }

    fn disables(&self) -> Option<(Uuid, &str)> {
        match self {
            Self::Tried(tried) if tried.next == Next::Disabled => Some((
                tried.subscription_id,
                tried.detail.as_deref().unwrap_or_default(),
            )),
            _ => None,
        }
    }

    fn attempt(&self) -> Option<NewAttempt> {
        let Self::Tried(tried) = self else {
            return None;
        };
        Some(NewAttempt {
            delivery_id: tried.delivery.id,
            number: i32::try_from(tried.delivery.attempts + 1).unwrap_or(i32::MAX),
            started_at: tried.started_at,
            duration_ms: i32::try_from(tried.duration.as_millis()).unwrap_or(i32::MAX),
            outcome: tried.outcome(),
            status: tried.status.map(i32::from),
            detail: tried.detail.clone(),
        })
    }

    fn finish(&self, now: DateTime<Utc>) -> Finish {
        let id = self.delivery().id;
        let tried = |state, due_at, is_parked| Finish {
            id,
            state,
            due_at,
            is_parked,
            attempts: 1,
        };
        match self {
            Self::Tried(Tried { next, .. }) => match next {
                Next::Delivered => tried("delivered", None, false),
                Next::Dead => tried("dead", None, false),
                Next::Retry { at } => tried("pending", Some(*at), false),
                Next::Disabled => tried("pending", None, true),
            },
            // Of a lane, only its head may be due; releasing the lane finds out whether this is it.
            Self::Returned {
                delivery,
                not_before,
                ..
            } => {
                let due_at = not_before.or_else(|| delivery.lane.is_none().then_some(now));
                Finish {
                    id,
                    state: "pending",
                    due_at,
                    is_parked: false,
                    attempts: 0,
                }
            }
        }
    }
}
