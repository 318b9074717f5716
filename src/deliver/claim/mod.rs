//! Claiming: what is due becomes chains that the senders can take.

mod bodies;
pub mod judge;
pub mod store;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use self::{
    bodies::{Bodies, bodies},
    judge::{Case, Fate},
    store::{ClaimedRow, Settled, delivery_claim, delivery_settle_claim},
};
use super::{
    chain::{Chain, Claimed, Owed},
    rate::{
        Bucket, Buckets,
        store::{bucket_lock, bucket_save},
    },
    send::Done,
    store::{delivery_next_at, lease_rescue},
};
use crate::{
    constraint::{
        rate::Rate,
        store::{judgement_last, rates_load, rates_save},
    },
    db::{Connection, DbError},
    publish::store::sequence_take,
    registry::{
        live::{LiveRegistry, Registry},
        registered::Registered,
        registry_revision,
    },
    subscription::model::State,
};

/// What a claiming transaction found.
pub(super) struct Claim {
    /// What it claimed.
    pub(super) chains: Vec<Chain>,
    /// What is decided without sending it: held, suppressed, or for a digest.
    pub(super) results: Vec<Done>,
    /// What is due to subscriptions that are not active: to be set aside.
    pub(super) inactive: Vec<Uuid>,
    /// There may be more.
    pub(super) is_full: bool,
    /// There was more than memory is to take at once; the rest is among the results.
    pub(super) is_cut: bool,
    /// By which constraints it was judged.
    pub(super) registry: Arc<Registry>,
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
    let bodies = bodies(connection, &found.claimed, places)?;
    let lanes = lanes(&found.claimed, &registry, &bodies);
    let decided = decide(connection, &lanes, now)?;
    let numbers = number(connection, &lanes, &decided)?;
    let (mut chains, mut results) = (Vec::with_capacity(lanes.len()), Vec::new());
    for (lane, fates) in lanes.into_iter().zip(decided) {
        let ends = started + lease;
        let (chain, done) = lane.into_parts(fates, &numbers, registry.has_delayed, id, ends);
        chains.push(chain);
        results.extend(done);
    }
    chains.retain(|chain| !chain.deliveries.is_empty());
    Ok(Claim {
        chains,
        results,
        inactive: found.inactive,
        is_full: found.is_full || bodies.is_cut(),
        is_cut: bodies.is_cut(),
        next_at: delivery_next_at(connection)?,
        registry: Arc::clone(&registry),
    })
}

/// The claimed deliveries by lane, in the order of each lane; what is not ordered is a lane of its
/// own. What belongs to a subscription that was deleted this moment, or can't be read, is left out:
/// its lease runs out. So is what follows a delivery whose body is not there.
fn lanes<'a>(
    claimed: &'a [ClaimedRow],
    registry: &'a Registry,
    bodies: &'a Bodies,
) -> Vec<Lane<'a>> {
    let mut by_lane: BTreeMap<LaneOf, Vec<&ClaimedRow>> = BTreeMap::new();
    for row in claimed {
        let own = row.lane.is_none().then_some(row.id);
        let lane = (row.subscription_id, row.lane, own);
        by_lane.entry(lane).or_default().push(row);
    }
    let mut lanes = Vec::with_capacity(by_lane.len());
    for ((subscription_id, ..), mut rows) in by_lane {
        let Some(place) = registry.by_id.get(&subscription_id) else {
            continue;
        };
        rows.sort_unstable_by_key(|row| row.position);
        let registered = &registry.subscriptions[*place as usize];
        let (mut cases, mut left) = (Vec::new(), Vec::new());
        for row in rows {
            let Some(owed) = row.owed() else { break };
            match bodies.get(owed) {
                Some(body) if left.is_empty() => {
                    let case = Case {
                        row,
                        registered,
                        body,
                    };
                    cases.push((owed, case));
                }
                None if left.is_empty() && !bodies.is_left(owed) => break,
                // It, or one before it in its lane, is too much for this claim.
                _ => left.push((owed, row)),
            }
        }
        lanes.push(Lane {
            registered,
            cases,
            left,
        });
    }
    // What changed first is counted first by the rates.
    lanes.sort_by_key(|lane| lane.cases.first().map(|(_, case)| case.row.position));
    lanes
}

/// Subscription and lane; of what is not ordered the delivery itself.
type LaneOf = (Uuid, Option<i64>, Option<Uuid>);

/// Claimed deliveries of one lane.
struct Lane<'a> {
    registered: &'a Arc<Registered>,
    cases: Vec<(Owed, Case<'a>)>,
    /// What goes back, for memory is not to take it now.
    left: Vec<(Owed, &'a ClaimedRow)>,
}

/// What is to become of the deliveries of a lane, and of each its fate; it ends with the first that
/// is held.
type Decided = Vec<Fate>;

/// Judges the lanes: one look at all rates that may count, and one that writes them.
fn decide(
    connection: &mut Connection,
    lanes: &[Lane<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Decided>, DbError> {
    let cases = || lanes.iter().flat_map(|lane| &lane.cases);
    let keys = cases().flat_map(|(_, case)| case.rate_keys(now)).collect();
    let late: Vec<_> = cases()
        .filter(|(_, case)| case.row.hold_until.is_some_and(|until| until <= now))
        .map(|(owed, case)| (owed.matter(), case.row.subscription_id))
        .collect();
    let last: HashMap<_, _> = judgement_last(connection, &late)?
        .into_iter()
        .map(|(owed, subscription, ground)| ((owed, subscription), ground))
        .collect();
    let mut rates = rates_load(connection, keys)?;
    let mut buckets = buckets(connection, lanes, now)?;
    let mut decided = Vec::with_capacity(lanes.len());
    for lane in lanes {
        // It was active when it was claimed. It may have another URL since, and wait for the
        // consent of its receiver: all of it is returned.
        if lane.registered.subscription.state != State::Active {
            decided.push(Vec::new());
            continue;
        }
        let mut fates = Vec::with_capacity(lane.cases.len());
        for (owed, case) in &lane.cases {
            let id = case.row.subscription_id;
            let mut bucket = buckets.get(id).filter(|_| !case.is_gathered());
            if let Some(bucket) = bucket.as_mut().filter(|bucket| !bucket.has_token()) {
                // Behind another of its lane, it is due when that one is settled.
                if fates.is_empty()
                    && let Some(until) = bucket.wait()
                {
                    fates.push(Fate::Deferred { until });
                }
                break;
            }
            let last = last.get(&(owed.matter(), id));
            let mut fate = case.decide(&mut rates.of(id), last, now);
            let is_held = fate.is_held();
            if let Fate::Kept(kept) = &mut fate {
                kept.is_behind = fates.iter().any(Fate::is_sent);
            }
            if let (Some(bucket), Fate::Sent { .. }) = (bucket, &fate) {
                bucket.spend();
            }
            fates.push(fate);
            if is_held {
                break;
            }
        }
        decided.push(fates);
    }
    rates_save(connection, &rates)?;
    bucket_save(connection, &buckets.stored())?;
    Ok(decided)
}

/// The buckets of those subscriptions that have a rate.
fn buckets(
    connection: &mut Connection,
    lanes: &[Lane<'_>],
    now: DateTime<Utc>,
) -> Result<Buckets, DbError> {
    let rated: BTreeMap<Uuid, Rate> = lanes
        .iter()
        .filter_map(|lane| Some((lane.registered.subscription.id, lane.registered.rate?)))
        .collect();
    let ids: Vec<Uuid> = rated.keys().copied().collect();
    let locked = bucket_lock(connection, &ids, now)?;
    let bucket = |(id, stored)| Some((id, Bucket::new(*rated.get(&id)?, stored, now)));
    Ok(Buckets::new(locked.into_iter().filter_map(bucket)))
}

/// Gives the deliveries that will be sent and have none their numbers, and remembers which were
/// counted by rates and which have passed the constraints at the event: neither is done twice.
fn number(
    connection: &mut Connection,
    lanes: &[Lane<'_>],
    decided: &[Decided],
) -> Result<HashMap<Uuid, i64>, DbError> {
    let fates: Vec<(&ClaimedRow, &Fate)> = lanes
        .iter()
        .zip(decided)
        .flat_map(|(lane, fates)| lane.cases.iter().zip(fates))
        .map(|((_, case), fate)| (case.row, fate))
        .collect();
    let unnumbered = || {
        fates
            .iter()
            .filter(|(row, fate)| row.sequence.is_none() && fate.is_sent())
            .map(|(row, _)| *row)
    };
    let mut counts: HashMap<Uuid, i64> = HashMap::new();
    for row in unnumbered() {
        *counts.entry(row.subscription_id).or_default() += 1;
    }
    let mut numbers = HashMap::new();
    if !counts.is_empty() {
        let mut next = sequence_take(connection, &counts)?;
        for row in unnumbered() {
            let number = next.entry(row.subscription_id).or_default();
            *number += 1;
            numbers.insert(row.id, *number);
        }
    }
    let ids = |is_wanted: &dyn Fn(&ClaimedRow, &Fate) -> bool| -> Vec<Uuid> {
        fates
            .iter()
            .filter(|(row, fate)| is_wanted(row, fate))
            .map(|(row, _)| row.id)
            .collect()
    };
    let settled = Settled {
        numbered: numbers.iter().map(|(id, number)| (*id, *number)).collect(),
        counted: ids(&|row, fate| fate.is_counted() && !row.is_rate_spent),
        judged: ids(&|row, fate| fate.has_passed_event() && row.is_unjudged),
        released: ids(&|row, fate| fate.is_sent() && row.hold_until.is_some()),
    };
    delivery_settle_claim(connection, &settled)?;
    Ok(numbers)
}

impl Lane<'_> {
    /// The lane as a chain for the senders, and what is settled or returned without them.
    fn into_parts(
        self,
        fates: Decided,
        numbers: &HashMap<Uuid, i64>,
        has_delayed: bool,
        lease: Uuid,
        lease_ends: Instant,
    ) -> (Chain, Vec<Done>) {
        let mut chain = Chain::new(Arc::clone(self.registered), lease_ends);
        let mut results = Vec::new();
        let mut fates = fates.into_iter();
        let claimed = |owed: Owed, row: &ClaimedRow, body: Arc<str>, places: usize| Claimed {
            id: row.id,
            owed,
            lease,
            lane: row.lane,
            lane_previous: row.lane_previous,
            sequence: row
                .sequence
                .or_else(|| numbers.get(&row.id).copied())
                .unwrap_or_default(),
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            first_tried_at: row.first_tried_at,
            body,
            places,
            hold_until: row.hold_until,
            is_awaited: has_delayed && row.urgency == 0 && row.attempts == 0,
            barrier: None,
            again: None,
        };
        let returned = |row: &ClaimedRow, delivery, until: Option<DateTime<Utc>>| Done::Returned {
            subscription_id: row.subscription_id,
            delivery,
            not_before: until,
            has_waited: false,
            is_deferred: until.is_some(),
        };
        for (owed, case) in self.cases {
            let row = case.row;
            let body = case.body;
            let delivery = claimed(owed, row, Arc::clone(&body.text), body.places);
            match fates.next() {
                Some(Fate::Sent { .. }) => {
                    chain.is_fresh |= row.is_fresh && row.attempts == 0;
                    chain.push(delivery);
                }
                Some(Fate::Deferred { until }) => {
                    results.push(returned(row, delivery, Some(until)));
                }
                Some(fate) => results.push(Done::Decided {
                    registered: Arc::clone(self.registered),
                    delivery,
                    fate,
                }),
                // Behind one that is held.
                None => results.push(returned(row, delivery, None)),
            }
        }
        for (owed, row) in self.left {
            let delivery = claimed(owed, row, Arc::from(""), 1);
            results.push(returned(row, delivery, None));
        }
        (chain, results)
    }
}
