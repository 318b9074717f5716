//! What a publishing transaction locks of its subscriptions: the lanes of what it owes them, and
//! their numbers.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    PublishError,
    plan::{LaneOf, Planned, lanes},
    store::{lane_busy, sequence_take_matched},
};
use crate::{db::Connection, registry::live::Registry, start::Chunk};

/// The lanes that deliveries of this batch may be in.
pub(super) fn wanted_lanes(
    planned: &[Planned],
    chunk: Option<&Chunk>,
    registry: &Registry,
) -> HashSet<(Uuid, i64)> {
    let of_planned = lanes(planned)
        .into_iter()
        .map(|(place, lane)| (registry.id(place), lane));
    let of_chunk = chunk.into_iter().flat_map(|chunk| {
        let id = chunk.subscription_id();
        chunk.lanes().map(move |lane| (id, lane))
    });
    of_planned.chain(of_chunk).collect()
}

/// The lanes of this batch in which something is unsettled.
pub(super) fn busy_lanes(
    connection: &mut Connection,
    wanted: &HashSet<(Uuid, i64)>,
    registry: &Registry,
) -> Result<HashSet<LaneOf>, PublishError> {
    let busy = lane_busy(connection, wanted)?;
    Ok(busy
        .into_iter()
        .filter_map(|(id, lane)| Some((*registry.by_id.get(&id)?, lane)))
        .collect())
}

/// The last sequence number of each subscription before this batch. What was matched is counted in
/// the same statement.
pub(super) fn sequences(
    connection: &mut Connection,
    planned: &[Planned],
    registry: &Registry,
) -> Result<HashMap<Uuid, i64>, PublishError> {
    let (mut counts, mut matched) = (HashMap::new(), HashMap::new());
    for delivery in planned {
        let id = registry.id(delivery.subscription);
        *matched.entry(id).or_default() += 1;
        if delivery.is_numbered() {
            *counts.entry(id).or_default() += 1;
        }
    }
    if matched.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(sequence_take_matched(connection, &counts, &matched)?)
}
