//! Releasing for digests: events that were held for a batch subscription become members of its open
//! digest, in the transaction that ends their deliveries.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{chain::Owed, send::Done, store::event_members};
use crate::{
    db::{Connection, DbError},
    digest::{
        gather::{Gathering, digest_gather},
        grouping::Grouping,
        schedule::Schedule,
    },
    registry::live::Registry,
};

/// The deliveries whose events are moved into digests.
pub(super) fn gathered(results: &[&Done]) -> Vec<Uuid> {
    results
        .iter()
        .filter(|done| done.is_gathered())
        .map(|done| done.delivery().id)
        .collect()
}

/// Moves events into the digests of their subscriptions, as those are in the registry that is
/// `present`: a digest is opened by the schedule that holds now, since nobody would look at it
/// again. One that is full by it is found by the digest stage at its next look.
pub(super) fn gather(
    connection: &mut Connection,
    present: &Registry,
    results: &[&Done],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let mut wanted: HashMap<Uuid, (&Schedule, Option<&Grouping>, HashSet<Uuid>)> = HashMap::new();
    for done in results.iter().filter(|done| done.is_gathered()) {
        if let Done::Decided {
            registered,
            delivery,
            ..
        } = done
            && let (Some(was), Owed::Event(event)) = (&registered.schedule, delivery.owed)
        {
            let id = registered.subscription.id;
            let events = wanted.entry(id).or_insert_with(|| {
                // Of a subscription that is no batch any more the digest leaves at the next look.
                let place = present.by_id.get(&id);
                let is = place.map(|place| &present.subscriptions[*place as usize]);
                let schedule = is.and_then(|is| is.schedule.as_ref()).unwrap_or(was);
                let grouping = is.unwrap_or(registered).grouping.as_ref();
                (schedule, grouping, HashSet::new())
            });
            events.2.insert(event);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let events: HashSet<Uuid> = wanted
        .values()
        .flat_map(|(_, _, ids)| ids)
        .copied()
        .collect();
    let events: Vec<Uuid> = events.into_iter().collect();
    let mut members = event_members(connection, &events)?;
    members.sort_by_key(|member| member.position);
    let gatherings: Vec<Gathering<'_>> = wanted
        .into_iter()
        .map(
            |(subscription_id, (schedule, grouping, events))| Gathering {
                subscription_id,
                schedule,
                grouping,
                members: members
                    .iter()
                    .filter(|member| events.contains(&member.event_id))
                    .cloned()
                    .collect(),
            },
        )
        .collect();
    digest_gather(connection, &gatherings, now)?;
    Ok(())
}
