//! Delivering: what is owed is claimed with a lease, sent, and finished by the holder of the lease.
//!
//! Players: [`outbox`] holds what is claimed and runs the senders; [`send`] sends a [`chain`] of
//! one lane; [`retry`] decides what follows an attempt, [`record`] writes it; [`store`] claims,
//! finishes and releases.
//!
//! Guaranteed: no transaction is open during a send; an attempt and what it made of its delivery
//! are written together; whoever lost the lease writes nothing; per lane, a delivery is first sent
//! when the ones before it are settled.

pub mod chain;
pub mod outbox;
mod record;
pub mod retry;
pub mod send;
pub mod store;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{
    chain::{Chain, Claimed},
    outbox::Outbox,
    record::{results_count, results_write},
    send::Done,
    store::{ClaimedRow, delivery_claim, delivery_next_at, event_bodies, lease_rescue},
};
use crate::{
    config::Limits,
    db::{Connection, Database, DbError},
    registry::{live::LiveRegistry, registry_revision},
    stage::{Nudge, Progress, Stage},
};

/// Results that one transaction writes at most.
const RESULTS_MAX: usize = 2_000;

/// The delivering stage.
pub struct Deliver {
    database: Database,
    registry: LiveRegistry,
    outbox: Outbox,
    results: mpsc::UnboundedReceiver<Done>,
    nudge: Nudge,
    instance: Uuid,
    lease: Duration,
    poll: Duration,
    drain: Duration,
    /// Results that are not yet written; kept when a transaction fails.
    unwritten: Vec<Done>,
    /// The last claim was as large as it could be, or there was no room for one.
    has_more: bool,
    next_at: Option<DateTime<Utc>>,
    looked_at: Option<Instant>,
}

impl Deliver {
    /// The stage of one instance; `results` is where `outbox` tells what became of deliveries.
    #[must_use]
    pub fn new(
        database: Database,
        registry: LiveRegistry,
        outbox: Outbox,
        results: mpsc::UnboundedReceiver<Done>,
        nudge: Nudge,
        instance: Uuid,
        limits: &Limits,
    ) -> Self {
        Self {
            database,
            registry,
            outbox,
            results,
            nudge,
            instance,
            lease: limits.lease(),
            poll: Duration::from_millis(limits.deliver_poll_ms),
            drain: Duration::from_millis(limits.drain_ms),
            unwritten: Vec::new(),
            has_more: false,
            next_at: None,
            looked_at: None,
        }
    }

    /// Writes the results that are there. Returns how many.
    async fn write_results(&mut self, now: DateTime<Utc>) -> Result<usize, DbError> {
        while self.unwritten.len() < RESULTS_MAX {
            match self.results.try_recv() {
                Ok(done) => self.unwritten.push(done),
                Err(_) => break,
            }
        }
        if self.unwritten.is_empty() {
            return Ok(0);
        }
        let (results, instance) = (std::mem::take(&mut self.unwritten), self.instance);
        let results = Arc::new(results);
        let shared = Arc::clone(&results);
        let written = self
            .database
            .transaction(move |connection| results_write(connection, &shared, instance, now))
            .await;
        // The closure and its clone are gone with the transaction.
        let results = Arc::into_inner(results).unwrap_or_default();
        match written {
            Ok(released) => {
                if released > 0 {
                    self.has_more = true;
                }
                self.outbox.free(results.len());
                results_count(&results);
                Ok(results.len())
            }
            Err(error) => {
                self.unwritten = results;
                Err(error)
            }
        }
    }

    /// Whether the repository may hold something to claim.
    fn should_claim(&mut self, now: DateTime<Utc>) -> bool {
        self.outbox.take_look()
            || self.has_more
            || self.next_at.is_some_and(|next| next <= now)
            || self
                .looked_at
                .is_none_or(|looked| looked.elapsed() >= self.poll)
    }

    async fn claim(&mut self, now: DateTime<Utc>) -> Result<usize, DbError> {
        let mut room = self.outbox.reserve();
        if room.is_empty() {
            self.has_more = true;
            return Ok(0);
        }
        let (registry, instance, places) = (self.registry.clone(), self.instance, room.len());
        let (lease, started) = (self.lease, Instant::now());
        let claimed = self
            .database
            .transaction(move |connection| {
                claim(connection, &registry, instance, places, lease, started, now)
            })
            .await;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.has_more = true;
                return Err(error);
            }
        };
        self.looked_at = Some(started);
        self.next_at = claimed.next_at;
        self.has_more = claimed.is_full;
        let count = claimed
            .chains
            .iter()
            .map(|chain| chain.deliveries.len())
            .sum();
        for chain in claimed.chains {
            self.outbox.push(chain, &mut room);
        }
        Ok(count)
    }
}

impl Stage for Deliver {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "deliver"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let written = self.write_results(now).await?;
        let claimed = if self.should_claim(now) {
            self.claim(now).await?
        } else {
            0
        };
        Ok(if written + claimed > 0 {
            Progress::Worked
        } else {
            Progress::Idle
        })
    }

    async fn rest(&mut self, now: DateTime<Utc>) {
        let until_next = self
            .next_at
            .map(|next| (next - now).to_std().unwrap_or_default());
        let wait = until_next.map_or(self.poll, |next| next.min(self.poll));
        self.nudge.wait(wait).await;
    }

    /// Returns what is not under way, waits for what is, and writes the results.
    async fn close(&mut self) {
        self.outbox.close();
        let end = Instant::now() + self.drain;
        while (self.outbox.in_memory() > 0 || self.outbox.senders() > 0) && Instant::now() < end {
            let now = self.outbox.clock().now();
            match self.write_results(now).await {
                Ok(0) => {
                    self.nudge
                        .wait(end.saturating_duration_since(Instant::now()))
                        .await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "results were not written; their deliveries are sent again");
                    return;
                }
            }
        }
    }
}

/// What a claiming transaction found.
struct ClaimedChains {
    chains: Vec<Chain>,
    is_full: bool,
    next_at: Option<DateTime<Utc>>,
}

fn claim(
    connection: &mut Connection,
    registry: &LiveRegistry,
    instance: Uuid,
    places: usize,
    lease: Duration,
    started: Instant,
    now: DateTime<Utc>,
) -> Result<ClaimedChains, DbError> {
    let rescued = lease_rescue(connection, now)?;
    if rescued > 0 {
        tracing::info!(rescued, "took back expired leases");
    }
    let lease_until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
    let found = delivery_claim(connection, instance, places, lease_until, now)?;
    // Asked for after the claim: whatever was claimed belongs to a subscription of this revision.
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let events: HashSet<Uuid> = found.claimed.iter().map(|row| row.event_id).collect();
    let bodies: HashMap<Uuid, Arc<str>> =
        event_bodies(connection, &events.into_iter().collect::<Vec<_>>())?
            .into_iter()
            .map(|(id, body)| (id, body.into()))
            .collect();
    let mut by_lane: HashMap<(Uuid, Option<i64>, Option<Uuid>), Vec<ClaimedRow>> = HashMap::new();
    for row in found.claimed {
        // What is not ordered is a chain of its own.
        let own = row.lane.is_none().then_some(row.id);
        by_lane
            .entry((row.subscription_id, row.lane, own))
            .or_default()
            .push(row);
    }
    let mut chains = Vec::with_capacity(by_lane.len());
    for ((subscription_id, ..), mut rows) in by_lane {
        let Some(place) = registry.by_id.get(&subscription_id) else {
            continue;
        };
        rows.sort_unstable_by_key(|row| row.position);
        let registered = &registry.subscriptions[*place as usize];
        let mut chain = Chain::new(Arc::clone(registered), started + lease);
        for row in rows {
            let Some(body) = bodies.get(&row.event_id) else {
                continue;
            };
            chain.push(Claimed {
                id: row.id,
                event_id: row.event_id,
                lane: row.lane,
                lane_previous: row.lane_previous,
                sequence: row.sequence,
                attempts: u32::try_from(row.attempts).unwrap_or(0),
                body: Arc::clone(body),
            });
        }
        chains.push(chain);
    }
    let next_at = delivery_next_at(connection)?;
    Ok(ClaimedChains {
        chains,
        is_full: found.is_full,
        next_at,
    })
}
