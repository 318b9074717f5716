//! Claiming: what is due becomes chains that the senders can take.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    chain::{Chain, Claimed},
    store::{ClaimedRow, delivery_claim, delivery_next_at, event_bodies, lease_rescue},
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

/// Takes back expired leases, then claims up to `places` deliveries until `now + lease`, which is
/// `started + lease` on the monotonic clock.
pub(super) fn claim(
    connection: &mut Connection,
    registry: &LiveRegistry,
    places: usize,
    lease: Duration,
    started: Instant,
    now: DateTime<Utc>,
) -> Result<Claim, DbError> {
    let rescued = lease_rescue(connection, now)?;
    if rescued > 0 {
        tracing::info!(rescued, "took back expired leases");
    }
    let lease_until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
    let id = Uuid::new_v4();
    let found = delivery_claim(connection, id, places, lease_until, now)?;
    // Asked for after the claim: whatever was claimed belongs to a subscription of this revision.
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let events: HashSet<Uuid> = found.claimed.iter().map(|row| row.event_id).collect();
    let events: Vec<Uuid> = events.into_iter().collect();
    let bodies = event_bodies(connection, &events)?
        .into_iter()
        .map(|(id, body)| (id, body.into()))
        .collect();
    Ok(Claim {
        chains: chains(found.claimed, id, started + lease, &registry, &bodies),
        inactive: found.inactive,
        is_full: found.is_full,
        next_at: delivery_next_at(connection)?,
    })
}

fn chains(
    claimed: Vec<ClaimedRow>,
    lease: Uuid,
    lease_ends: Instant,
    registry: &Registry,
    bodies: &HashMap<Uuid, Arc<str>>,
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
            let Some(body) = bodies.get(&row.event_id) else {
                break;
            };
            chain.push(Claimed {
                id: row.id,
                event_id: row.event_id,
                lease,
                lane: row.lane,
                lane_previous: row.lane_previous,
                sequence: row.sequence,
                attempts: u32::try_from(row.attempts).unwrap_or(0),
                body: Arc::clone(body),
            });
        }
        chains.push(chain);
    }
    chains
}
