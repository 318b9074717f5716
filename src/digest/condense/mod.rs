//! Condensing: a closed digest becomes parts, and each part a delivery.
//!
//! Players: `writing` writes a digest's parts, whole or group by group, and `groups` says which
//! groups there are; `modes` are the three ways to condense; `fold` and `effect` work out the net
//! effect; `parts` divides items, `envelope` is the CloudEvent round them, `output` writes them;
//! `members` and `bodies` read events, `store` is the rest of the SQL.
//!
//! Guaranteed: one transaction writes the bodies, their deliveries and the digest's end, so a
//! digest is condensed once, and a crash leaves it closed, to be condensed by whoever comes. Every
//! event is told in a part or counted as vanished. Memory is bounded by a part, by a few megabytes
//! of bodies, and for the net effect by some hundred bytes for each object.

mod bodies;
mod effect;
mod envelope;
mod fold;
mod groups;
mod members;
mod modes;
mod output;
mod parts;
mod store;
mod wanted;
mod writing;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(super) use self::bodies::each_body;
pub use self::{effect::Fold, wanted::is_wanted};
use self::{
    store::{
        ClosedRow, DeliveryOf, PartDelivery, delivery_insert, digest_claim, digest_end,
        part_delete, part_number, subscription_state,
    },
    writing::{Told, Writing},
};
use crate::{
    catalog::model::DIGEST_EVENT_TYPE,
    config::Limits,
    db::{Connection, DbError, QueryError},
    publish::{
        detect::Ids,
        event::lane,
        store::{lane_busy, sequence_take},
    },
    registry::{live::LiveRegistry, registered::Registered, registry_revision, registry_share},
    subscription::model::Ordering,
};

/// How far the positions of two digests of a subscription are apart: more parts than one can have,
/// whose number is of 32 bits.
const POSITIONS: i64 = 1 << 32;

/// What became of an attempt to condense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condensed {
    /// No digest is closed that could be condensed now.
    Nothing,
    /// Its parts are deliveries; none, if there was nothing to tell.
    Done {
        /// How many deliveries there are.
        parts: u32,
        /// How many of its events are in no part.
        vanished: i64,
    },
    /// Its subscription was deleted.
    Cancelled,
    /// This program can't read the subscription; the log says why. Others may be condensed.
    Unreadable(Uuid),
}

/// Why a digest was not condensed. It stays closed, and is tried again.
#[derive(Debug, thiserror::Error)]
#[error("a digest could not be condensed")]
pub struct CondenseError {
    /// Which, if it came to that.
    pub digest: Option<Uuid>,
    /// Why.
    #[source]
    pub source: DbError,
}

impl<E: Into<DbError>> From<E> for CondenseError {
    fn from(error: E) -> Self {
        Self {
            digest: None,
            source: error.into(),
        }
    }
}

/// Condenses the digest that was closed first and is not among `set_aside`. Belongs into a
/// transaction of its own; ring the deliver stage after the commit.
///
/// `is_wanted` judges the net effect of an object for a subscription.
///
/// # Errors
///
/// Those of the database.
pub fn digest_condense(
    connection: &mut Connection,
    registry: &LiveRegistry,
    limits: &Limits,
    set_aside: &[Uuid],
    is_wanted: &dyn Fn(&Registered, &Fold<'_>) -> bool,
    now: DateTime<Utc>,
) -> Result<Condensed, CondenseError> {
    let Some(digest) = digest_claim(connection, set_aside)? else {
        return Ok(Condensed::Nothing);
    };
    let id = digest.id;
    condense(connection, registry, limits, &digest, is_wanted, now).map_err(|source| {
        CondenseError {
            digest: Some(id),
            source,
        }
    })
}

fn condense(
    connection: &mut Connection,
    registry: &LiveRegistry,
    limits: &Limits,
    digest: &ClosedRow,
    is_wanted: &dyn Fn(&Registered, &Fold<'_>) -> bool,
    now: DateTime<Utc>,
) -> Result<Condensed, DbError> {
    if is_deleted(subscription_state(connection, digest.subscription_id)?.as_deref()) {
        return cancel(connection, digest);
    }
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let Some(place) = registry.by_id.get(&digest.subscription_id) else {
        return Ok(Condensed::Unreadable(digest.id));
    };
    let registered = &registry.subscriptions[*place as usize];
    let writing = Writing {
        digest,
        registered,
        limits,
        is_wanted,
        now,
    };
    let Told { parts, events } = writing.write(connection)?;

    // From here on the locks are those that publishing takes, in its order: they come late, so that
    // a large digest holds nobody up.
    registry_share(connection)?;
    let state = subscription_state(connection, digest.subscription_id)?;
    if is_deleted(state.as_deref()) {
        return cancel(connection, digest);
    }
    if parts > 0 {
        let is_active = state.as_deref() == Some("active");
        deliveries(connection, digest, registered, parts, is_active, now)?;
    }
    let vanished = (digest.events - events).max(0);
    let (end, number) = match parts {
        0 => ("empty", 0),
        parts => ("condensed", part_number(parts)),
    };
    let vanished = if parts == 0 { digest.events } else { vanished };
    if !digest_end(connection, digest.id, end, Some(number), vanished)? {
        // The advisory lock keeps others away, so somebody has interfered by hand.
        return Err(DbError::Query(QueryError::NotFound));
    }
    Ok(Condensed::Done { parts, vanished })
}

fn is_deleted(state: Option<&str>) -> bool {
    matches!(state, None | Some("deleted"))
}

fn cancel(connection: &mut Connection, digest: &ClosedRow) -> Result<Condensed, DbError> {
    part_delete(connection, digest.id)?;
    digest_end(connection, digest.id, "cancelled", None, 0)?;
    Ok(Condensed::Cancelled)
}

/// Writes the deliveries of `parts` parts. Of a subscription whose events are ordered, its digests
/// and their parts are one lane.
fn deliveries(
    connection: &mut Connection,
    digest: &ClosedRow,
    registered: &Registered,
    parts: u32,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let subscription_id = digest.subscription_id;
    let spec = &registered.subscription.spec;
    let lane = (spec.ordering == Ordering::Key)
        .then(|| lane(DIGEST_EVENT_TYPE, &subscription_id.to_string()));
    let lanes: HashSet<(Uuid, i64)> = lane
        .map(|lane| (subscription_id, lane))
        .into_iter()
        .collect();
    let is_busy = !lane_busy(connection, &lanes)?.is_empty();
    let counts = HashMap::from([(subscription_id, i64::from(parts))]);
    let sequence = sequence_take(connection, &counts)?
        .get(&subscription_id)
        .copied()
        .ok_or(QueryError::NotFound)?;
    let ids = Ids::new();
    let due_at = now + spec.retry.first_wait();
    let rows: Vec<PartDelivery> = (1..=parts)
        .map(|part| {
            let is_head = lane.is_none() || (part == 1 && !is_busy);
            PartDelivery {
                id: ids.next(now),
                part,
                position: digest.number * POSITIONS + i64::from(part),
                sequence: sequence + i64::from(part),
                due_at: is_head.then_some(due_at),
                is_parked: is_head && !is_active,
            }
        })
        .collect();
    let of = DeliveryOf {
        digest_id: digest.id,
        subscription_id,
        lane,
    };
    Ok(delivery_insert(connection, &of, &rows, now)?)
}
