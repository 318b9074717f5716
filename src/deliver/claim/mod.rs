//! Claiming: what is due becomes chains that the senders can take.

pub mod store;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use self::store::{ClaimedRow, delivery_claim};
use super::{
    chain::{Chain, Claimed, Owed},
    store::{delivery_next_at, event_bodies, lease_rescue, part_bodies},
};
use crate::{
    db::{Connection, DbError},
    registry::{
        live::{LiveRegistry, Registry},
        registry_revision,
    },
};

/// What a claiming transaction found.
pub(super) struct Claim {
    /// What it claimed.
    pub(super) chains: Vec<Chain>,
    /// What is due to subscriptions that are not active: to be set aside.
    pub(super) inactive: Vec<Uuid>,
    /// There may be more.
    pub(super) is_full: bool,
    /// When there will be more.
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// The times of a claim.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: DateTime<Utc>,
    /// `now` on the monotonic clock.
    pub(super) started: Instant,
    /// How long what is claimed is held.
    pub(super) lease: Duration,
    /// The longest that a delayed delivery waits for its event's synchronous ones.
    pub(super) barrier: Duration,
}

/// Takes back expired leases, then claims up to `places` deliveries until `now + lease`, which is
/// `started + lease` on the monotonic clock.
pub(super) fn claim(
    connection: &mut Connection,
    registry: &LiveRegistry,
    places: usize,
    terms: Terms,
) -> Result<Claim, DbError> {
    let Terms {
        now,
        started,
        lease,
        barrier,
    } = terms;
    let barrier_ends = now + TimeDelta::from_std(barrier).unwrap_or(TimeDelta::MAX);
    let rescued = lease_rescue(connection, now, barrier_ends)?;
    if rescued > 0 {
        tracing::info!(rescued, "took back expired leases");
    }
    let lease_until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
    let id = Uuid::new_v4();
    let found = delivery_claim(connection, id, places, lease_until, barrier_ends, now)?;
    // Asked for after the claim: whatever was claimed belongs to a subscription of this revision.
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let bodies = bodies(connection, &found.claimed)?;
    Ok(Claim {
        chains: chains(found.claimed, id, started + lease, &registry, &bodies),
        inactive: found.inactive,
        is_full: found.is_full,
        next_at: delivery_next_at(connection)?,
    })
}

/// What the claimed deliveries owe.
fn bodies(
    connection: &mut Connection,
    claimed: &[ClaimedRow],
) -> Result<HashMap<Owed, Arc<str>>, DbError> {
    let (mut events, mut parts) = (HashSet::new(), Vec::new());
    for row in claimed {
        match row.owed() {
            Some(Owed::Event(id)) => _ = events.insert(id),
            Some(Owed::Part { digest, part }) => parts.push((digest, part)),
            None => {}
        }
    }
    let events: Vec<Uuid> = events.into_iter().collect();
    let events = event_bodies(connection, &events)?.into_iter();
    let parts = part_bodies(connection, &parts)?.into_iter();
    Ok(events
        .map(|(id, body)| (Owed::Event(id), body.into()))
        .chain(parts.map(|((digest, part), body)| (Owed::Part { digest, part }, body.into())))
        .collect())
}

fn chains(
    claimed: Vec<ClaimedRow>,
    lease: Uuid,
    lease_ends: Instant,
    registry: &Registry,
    bodies: &HashMap<Owed, Arc<str>>,
) -> Vec<Chain> {
    let mut by_lane: HashMap<(Uuid, Option<i64>, Option<Uuid>), Vec<ClaimedRow>> = HashMap::new();
    for row in claimed {
        // What is not ordered is a chain of its own.
        let own = row.lane.is_none().then_some(row.id);
        let lane = (row.subscription_id, row.lane, own);
        by_lane.entry(lane).or_default().push(row);
    }
    let mut chains = Vec::with_capacity(by_lane.len());
    for ((subscription_id, ..), mut rows) in by_lane {
        // Deleted this moment, or unreadable: the lease runs out.
        let Some(place) = registry.by_id.get(&subscription_id) else {
            continue;
        };
        rows.sort_unstable_by_key(|row| row.position);
        let registered = &registry.subscriptions[*place as usize];
        let mut chain = Chain::new(Arc::clone(registered), lease_ends);
        for row in rows {
            // What follows a delivery that can't be sent must not be sent before it.
            let Some((owed, body)) = row.owed().and_then(|owed| Some((owed, bodies.get(&owed)?)))
            else {
                break;
            };
            chain.push(Claimed {
                id: row.id,
                owed,
                lease,
                lane: row.lane,
                lane_previous: row.lane_previous,
                sequence: row.sequence.unwrap_or_default(),
                attempts: u32::try_from(row.attempts).unwrap_or(0),
                body: Arc::clone(body),
                is_awaited: registry.has_delayed && row.urgency == 0 && row.attempts == 0,
            });
        }
        chains.push(chain);
    }
    chains
}
