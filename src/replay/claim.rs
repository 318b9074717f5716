//! Claims items of a replay, as fast as it may send, and makes chains of them for the senders.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    again::Again,
    item::store::{ClaimedRow, LeftRow, item_claim, item_gone, item_left},
    store::{SendRow, replay_end, replay_pace, replay_send_next},
};
use crate::{
    db::{Connection, DbError},
    deliver::{
        chain::{Chain, Claimed, Owed, places_of},
        rate::{
            Bucket,
            store::{bucket_lock, bucket_save},
        },
        send::Done,
        store::{event_bodies, part_bodies},
    },
    registry::{live::LiveRegistry, registered::Registered, registry_revision},
    stage::Nudge,
};

/// Requests of one replay that are under way at once: a receiver that hangs must not take the
/// senders from what is not sent for the first time yet.
pub(super) const SENDING_MAX: i64 = 16;
/// What a rate allows in this time is claimed at once, in microseconds.
const SLICE_US: i64 = 200_000;
/// When a replay is looked at again whose subscription can't be read.
const UNREADABLE_WAIT: TimeDelta = TimeDelta::seconds(60);

/// What a claim goes by.
pub(super) struct Terms {
    pub(super) now: DateTime<Utc>,
    /// `now` on the monotonic clock.
    pub(super) started: Instant,
    /// How long what is claimed is held.
    pub(super) lease: Duration,
    /// Places in memory.
    pub(super) places: usize,
    /// Where results are told, and what is rung then.
    pub(super) told: mpsc::UnboundedSender<Done>,
    pub(super) nudge: Nudge,
}

/// What a claiming transaction did.
#[derive(Default)]
pub(super) struct Claim {
    /// Each of one delivery: replays have no order.
    pub(super) chains: Vec<Chain>,
    /// There was a replay to look at.
    pub(super) has_worked: bool,
}

/// Takes what one replay may send now.
pub(super) fn claim(
    connection: &mut Connection,
    registry: &LiveRegistry,
    terms: &Terms,
) -> Result<Claim, DbError> {
    let now = terms.now;
    let Some(replay) = replay_send_next(connection, now)? else {
        return Ok(Claim::default());
    };
    let mut claim = Claim {
        chains: Vec::new(),
        has_worked: true,
    };
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let Some(place) = registry.by_id.get(&replay.subscription_id) else {
        replay_pace(connection, replay.id, now + UNREADABLE_WAIT, None, 0)?;
        return Ok(claim);
    };
    let registered = &registry.subscriptions[*place as usize];
    let lease_until = now + TimeDelta::from_std(terms.lease).unwrap_or(TimeDelta::MAX);
    let before = item_left(connection, replay.id)?;
    if before.sending == 0 && before.due_at.is_none() {
        replay_end(connection, replay.id, "done", None, now)?;
        return Ok(claim);
    }
    let limit = (SLICE_US / replay.interval_us)
        .max(1)
        .min(SENDING_MAX - before.sending)
        .min(i64::try_from(terms.places).unwrap_or(i64::MAX));
    let mut allowance = allowance(connection, registered, now)?;
    let limit = match &allowance {
        Some(bucket) => limit.min(bucket.tokens(limit)),
        None => limit,
    };
    let lease = Uuid::new_v4();
    let rows = if limit > 0 {
        item_claim(connection, replay.id, limit, lease, lease_until, now)?
    } else {
        Vec::new()
    };
    let gone = chains(
        connection, &replay, registered, &rows, lease, terms, &mut claim,
    )?;
    let after = item_left(connection, replay.id)?;
    let count = i64::try_from(claim.chains.len()).unwrap_or(i64::MAX);
    let paced_until = (count > 0)
        .then(|| now + TimeDelta::microseconds(replay.interval_us.saturating_mul(count)));
    let mut due_at = due_again(&after, lease_until, now);
    if let Some(bucket) = &mut allowance {
        claim.chains.iter().for_each(|_| bucket.spend());
        bucket_save(connection, &[(replay.subscription_id, bucket.stored())])?;
        // What is left finds no token before.
        due_at = due_at.max(bucket.wait().unwrap_or(due_at));
    }
    replay_pace(connection, replay.id, due_at, paced_until, gone)?;
    Ok(claim)
}

/// The subscription's own rate, if it has one: what is sent again takes its tokens as well. Other
/// claims wait for it until this transaction ends.
fn allowance(
    connection: &mut Connection,
    registered: &Registered,
    now: DateTime<Utc>,
) -> Result<Option<Bucket>, DbError> {
    let Some(rate) = registered.rate else {
        return Ok(None);
    };
    let locked = bucket_lock(connection, &[registered.subscription.id], now)?;
    let bucket = |(_, stored)| Bucket::new(rate, stored, now);
    Ok(locked.into_iter().next().map(bucket))
}

/// When there is something to do again; a result makes it sooner.
fn due_again(left: &LeftRow, lease_until: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    match left.due_at {
        // Results make room.
        Some(_) if left.sending >= SENDING_MAX => lease_until,
        Some(due) => due.max(now),
        None if left.sending > 0 => lease_until,
        // It is done, which the next look finds.
        None => now,
    }
}

/// Makes a chain of each item; of what is not kept any more, ends the item. Returns how many those
/// are.
fn chains(
    connection: &mut Connection,
    replay: &SendRow,
    registered: &Arc<Registered>,
    rows: &[ClaimedRow],
    lease: Uuid,
    terms: &Terms,
    claim: &mut Claim,
) -> Result<i64, DbError> {
    let bodies = bodies(connection, rows)?;
    let mut gone = Vec::new();
    for row in rows {
        let found = row.owed().and_then(|owed| {
            let body = bodies.get(&owed)?;
            Some((owed, Arc::clone(body), row.sequence?))
        });
        let Some((owed, body, sequence)) = found else {
            gone.push(row.id);
            continue;
        };
        let mut chain = Chain::new(Arc::clone(registered), terms.started + terms.lease);
        chain.push(Claimed {
            id: row.delivery_id,
            owed,
            lease,
            lane: None,
            lane_previous: None,
            sequence,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            // The schedule alone bounds how long it is sent again.
            first_tried_at: None,
            places: places_of(&body, 1),
            body,
            hold_until: None,
            is_awaited: false,
            barrier: None,
            again: Some(Again {
                replay: replay.id,
                item: row.id,
                results: terms.told.clone(),
                nudge: terms.nudge.clone(),
            }),
        });
        claim.chains.push(chain);
    }
    item_gone(connection, &gone, terms.now)?;
    Ok(i64::try_from(gone.len()).unwrap_or(i64::MAX))
}

/// What the claimed items owe, as far as it is kept.
fn bodies(
    connection: &mut Connection,
    rows: &[ClaimedRow],
) -> Result<HashMap<Owed, Arc<str>>, DbError> {
    let (mut events, mut parts) = (Vec::new(), Vec::new());
    for row in rows {
        match row.owed() {
            Some(Owed::Event(id)) => events.push(id),
            Some(Owed::Part { digest, part }) => parts.push((digest, part)),
            None => {}
        }
    }
    let events = event_bodies(connection, &events)?.into_iter();
    let events = events.map(|event| (Owed::Event(event.id), event.body.into()));
    let parts = part_bodies(connection, &parts)?.into_iter();
    let parts = parts.map(|((digest, part), body)| (Owed::Part { digest, part }, body.into()));
    Ok(events.chain(parts).collect())
}
