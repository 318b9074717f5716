//! Writes what became of items, by whoever still holds their leases.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    again::Again,
    item::store::{Finish, again_attempt_insert, item_finish, item_held},
    store::{Settled, replay_count, replay_lock},
};
use crate::{
    db::{Connection, DbError},
    deliver::{
        finish::kept,
        health::disabled,
        lane::block::unblock,
        retry::Next,
        send::{Done, Tried},
        store::NewAttempt,
    },
    registry::registry_lock,
    subscription::state::subscription_disable,
};

/// Writes results in one transaction: attempts, items, how far their replays are, and what waits
/// behind a delivery that held its lane and was sent.
pub(super) fn finish(
    connection: &mut Connection,
    results: &[Done],
    instance: Uuid,
    barrier_ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if results.iter().any(Done::disables) {
        registry_lock(connection)?;
    }
    let marked: Vec<(&Done, &Again)> = results
        .iter()
        .filter_map(|done| Some((done, done.delivery().again.as_ref()?)))
        .collect();
    let replays: BTreeSet<Uuid> = marked.iter().map(|(_, again)| again.replay).collect();
    let replays: Vec<Uuid> = replays.into_iter().collect();
    let running: HashSet<Uuid> = replay_lock(connection, &replays)?.into_iter().collect();
    let lease = |(done, again): &(&Done, &Again)| (again.item, done.delivery().lease);
    let leases: Vec<(Uuid, Uuid)> = marked.iter().map(lease).collect();
    let held: HashSet<(Uuid, Uuid)> = item_held(connection, &leases)?.into_iter().collect();
    let (mut attempts, mut finished) = (Vec::new(), Vec::new());
    let (mut settled, mut sent) = (BTreeMap::<Uuid, Settled>::new(), Vec::new());
    let mut noted = Vec::new();
    for (done, again) in marked.iter().filter(|marked| held.contains(&lease(marked))) {
        if let Done::Tried(tried) = done {
            attempts.push(attempt(tried, again.item));
        }
        noted.push(*done);
        let finish = ended(done, again, running.contains(&again.replay), now);
        let settled = settled.entry(again.replay).or_default();
        match finish.state {
            "sent" => {
                settled.sent += 1;
                sent.push(done.delivery().id);
            }
            "failed" => settled.failed += 1,
            "cancelled" => settled.cancelled += 1,
            _ => {}
        }
        finished.push(finish);
    }
    if finished.len() < results.len() {
        let lost = results.len() - finished.len();
        tracing::warn!(lost, "results of replays came after their leases had ended");
    }
    again_attempt_insert(connection, &attempts, instance)?;
    item_finish(connection, &finished, now)?;
    for (replay, settled) in settled {
        replay_count(connection, replay, settled, now)?;
    }
    for (subscription_id, (reason, last)) in disabled(&noted) {
        subscription_disable(connection, subscription_id, reason, Some(last), now)?;
    }
    unblock(connection, &sent, now, barrier_ends)?;
    Ok(())
}

fn attempt(tried: &Tried, item: Uuid) -> NewAttempt {
    NewAttempt {
        delivery_id: item,
        number: i32::try_from(tried.delivery.attempts + 1).unwrap_or(i32::MAX),
        started_at: tried.started_at,
        duration_ms: i32::try_from(tried.duration.as_millis()).unwrap_or(i32::MAX),
        outcome: tried.outcome(),
        status: tried.status.map(i32::from),
        detail: tried.detail.as_deref().map(kept),
        answer: tried.answer.clone(),
    }
}

/// What becomes of an item. What would wait for another attempt does not, once its replay is
/// cancelled.
fn ended(done: &Done, again: &Again, is_running: bool, now: DateTime<Utc>) -> Finish {
    let (state, due_at) = match done {
        Done::Tried(tried) => match &tried.next {
            Next::Delivered => ("sent", None),
            Next::Dead | Next::TooOld => ("failed", None),
            Next::Retry { at } => ("pending", Some(*at)),
            // Until the subscription is resumed nothing of the replay is claimed.
            Next::Disabled => ("pending", Some(now)),
        },
        Done::Returned { not_before, .. } => ("pending", Some(not_before.unwrap_or(now))),
        Done::Decided { .. } => ("pending", Some(now)),
    };
    let (state, due_at) = match state {
        "pending" if !is_running => ("cancelled", None),
        state => (state, due_at),
    };
    Finish {
        id: again.item,
        state,
        due_at,
        attempts: i32::from(matches!(done, Done::Tried(_))),
    }
}
