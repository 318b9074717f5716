//! What a planned batch becomes: rows for the repository, chains for the senders. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    event::Event,
    plan::{Birth, Planned},
    store::NewDelivery,
};
use crate::{
    deliver::{
        barrier::Barrier,
        chain::{Chain, Claimed, Owed, places_of},
    },
    digest::gather::{Gathering, NewMember},
    registry::live::Registry,
    subscription::model::Mode,
};

/// What the deliveries that are born claimed are held by.
#[derive(Clone, Copy)]
pub(super) struct Lease {
    pub(super) id: Uuid,
    pub(super) until: DateTime<Utc>,
    /// `until` on the monotonic clock.
    pub(super) ends: Instant,
}

/// A planned batch.
pub(super) struct Written<'a> {
    pub(super) planned: &'a [Planned],
    pub(super) events: &'a [Event],
    pub(super) registry: &'a Registry,
}

impl Written<'_> {
    /// The deliveries, in the order of the plan without what is gathered for digests. `sequences`
    /// holds the last number that each subscription was given before this batch.
    pub(super) fn rows(
        &self,
        mut sequences: HashMap<Uuid, i64>,
        lease_until: DateTime<Utc>,
        barrier_ends: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Vec<NewDelivery> {
        self.deliveries()
            .map(|delivery| {
                let event = &self.events[delivery.event];
                let subscription =
                    &self.registry.subscriptions[delivery.subscription as usize].subscription;
                let sequence = delivery.is_numbered().then(|| {
                    let sequence = sequences.entry(subscription.id).or_default();
                    *sequence += 1;
                    *sequence
                });
                let judged = delivery.judged.as_ref();
                let hold_until = judged.and_then(|judged| judged.hold_until);
                let again_at = judged.and_then(|judged| judged.again_at);
                let due_at = match delivery.birth {
                    Birth::Due => Some(now + subscription.spec.retry.first_wait()),
                    Birth::Waiting => Some(barrier_ends),
                    Birth::Held { is_head: true } => again_at.into_iter().chain(hold_until).min(),
                    _ => None,
                };
                let state = match delivery.birth {
                    Birth::Claimed(_) => "sending",
                    Birth::Held { .. } => "held",
                    Birth::Suppressed => "suppressed",
                    _ => "pending",
                };
                NewDelivery {
                    id: delivery.id,
                    subscription_id: subscription.id,
                    event_id: event.id,
                    position: event.position,
                    lane: delivery.lane,
                    lane_previous: delivery.lane_previous,
                    sequence,
                    urgency: delivery.mode.urgency(),
                    state,
                    hold_until: hold_until.filter(|_| state == "held"),
                    is_unjudged: delivery.is_unjudged,
                    is_rate_spent: delivery.mode == Mode::Batch
                        && delivery.birth == Birth::Blocked
                        && judged.is_some(),
                    due_at,
                    is_parked: delivery.birth == Birth::Parked,
                    lease_until: matches!(delivery.birth, Birth::Claimed(_)).then_some(lease_until),
                }
            })
            .collect()
    }

    /// The claimed deliveries of `rows`, for this instance's senders; `count` chains.
    pub(super) fn chains(&self, rows: &[NewDelivery], lease: Lease, count: usize) -> Vec<Chain> {
        let barriers = self.barriers();
        let mut sharing: HashMap<usize, usize> = HashMap::new();
        for delivery in self.deliveries() {
            if matches!(delivery.birth, Birth::Claimed(_)) {
                *sharing.entry(delivery.event).or_default() += 1;
            }
        }
        let mut chains: Vec<Option<Chain>> = (0..count).map(|_| None).collect();
        for (delivery, row) in self.deliveries().zip(rows) {
            let Birth::Claimed(number) = delivery.birth else {
                continue;
            };
            let registered = &self.registry.subscriptions[delivery.subscription as usize];
            let body = &self.events[delivery.event].body;
            let barrier = barriers.get(&delivery.event);
            let shared_by = sharing.get(&delivery.event).copied().unwrap_or(1);
            let chain = chains[number]
                .get_or_insert_with(|| Chain::new(Arc::clone(registered), lease.ends));
            chain.push(Claimed {
                id: row.id,
                owed: Owed::Event(row.event_id),
                lease: lease.id,
                lane: row.lane,
                lane_previous: row.lane_previous,
                sequence: row.sequence.unwrap_or_default(),
                attempts: 0,
                first_tried_at: None,
                body: Arc::clone(body),
                places: places_of(body, shared_by),
                hold_until: None,
                is_awaited: delivery.mode == Mode::Synchronous && barrier.is_some(),
                barrier: barrier.map(Arc::clone),
                again: None,
            });
        }
        chains.into_iter().flatten().collect()
    }

    /// The barriers of the events that have delayed deliveries, by the events' places.
    fn barriers(&self) -> HashMap<usize, Arc<Barrier>> {
        let mut barriers: HashMap<usize, (usize, bool)> = HashMap::new();
        for delivery in self.deliveries() {
            if delivery.mode == Mode::SynchronousDelayed {
                let (_, is_stored) = barriers.entry(delivery.event).or_default();
                *is_stored |= !matches!(delivery.birth, Birth::Claimed(_));
            }
        }
        for delivery in self.deliveries() {
            if delivery.mode == Mode::Synchronous
                && matches!(delivery.birth, Birth::Claimed(_))
                && let Some((synchronous, _)) = barriers.get_mut(&delivery.event)
            {
                *synchronous += 1;
            }
        }
        let barrier = |(synchronous, is_stored)| Arc::new(Barrier::new(synchronous, is_stored));
        barriers
            .into_iter()
            .map(|(event, counted)| (event, barrier(counted)))
            .collect()
    }

    /// What is added to digests.
    pub(super) fn gatherings(&self) -> Vec<Gathering<'_>> {
        let mut gatherings: BTreeMap<u32, Gathering<'_>> = BTreeMap::new();
        let gathered = |delivery: &&Planned| delivery.birth == Birth::Gathered;
        for delivery in self.planned.iter().filter(gathered) {
            let registered = &self.registry.subscriptions[delivery.subscription as usize];
            let Some(schedule) = &registered.schedule else {
                continue;
            };
            let gathering = gatherings
                .entry(delivery.subscription)
                .or_insert_with(|| Gathering {
                    subscription_id: registered.subscription.id,
                    schedule,
                    grouping: registered.grouping.as_ref(),
                    members: Vec::new(),
                });
            let event = &self.events[delivery.event];
            gathering.members.push(NewMember {
                event_id: event.id,
                position: event.position,
                event_type: event.event_type.to_string(),
                object_type: event.object_type.as_deref().map(str::to_owned),
                object_key: event.key.clone(),
                previous_key: event.previous_key.clone(),
                time: event.time,
                body: Some(Arc::clone(&event.body)),
            });
        }
        gatherings.into_values().collect()
    }

    fn deliveries(&self) -> impl Iterator<Item = &Planned> {
        self.planned
            .iter()
            .filter(|delivery| delivery.birth != Birth::Gathered)
    }
}
