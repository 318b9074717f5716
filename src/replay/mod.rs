//! Replaying: settled deliveries are sent again, because somebody asks for it.
//!
//! Players: [`order`] is what was asked for; `search` finds the deliveries, a chunk at a time, and
//! writes an item for each; `claim` takes items that are due, as fast as the replay may, and hands
//! them to the senders of [`deliver`](crate::deliver), marked by [`again`]; `finish` writes what
//! became of them.
//!
//! Guaranteed: a replay sends each delivery that it found at least once, with the id, the body and
//! the number that it had, whichever instance dies meanwhile: where it is stands in the repository,
//! and an item is claimed with a lease and finished by its holder only. Nothing is sent before all
//! is found. The delivery keeps its state, its attempts and its lane, so the account does not
//! change; only a dead one that holds its lane lets it go when it was sent again with success.
//!
//! A replay on which working fails waits a while, and the others go on.
//!
//! The locks are taken in this order: the registry, replays by id, the bucket of a rate, items,
//! deliveries, what is noted of subscriptions that fail.

pub mod again;
mod claim;
mod finish;
mod item;
pub mod order;
mod search;
pub mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{
    claim::{Terms, claim},
    finish::finish,
    item::rescue,
    search::search,
    store::{Due, replay_cancel_deleted, replay_due, replay_prune, replay_set_aside},
};
use crate::{
    config::Limits,
    db::{Database, DbError, QueryError},
    deliver::{outbox::Outbox, send::Done},
    lookout::UNRUNG_POLL,
    observe::metrics::REPLAY_ATTEMPTS,
    registry::live::LiveRegistry,
    stage::{Nudge, Progress, Stage, chain},
};

pub use self::item::store::item_cancel;

/// How long a replay is told of after its end.
pub const KEPT: TimeDelta = TimeDelta::days(30);
/// Items of a replay that one transaction forgets, with their attempts.
const FORGOTTEN_MAX: i64 = 2_000;
/// When a replay is looked at again on which working failed.
const FAILED_WAIT: TimeDelta = TimeDelta::seconds(60);
/// How often old replays are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
/// Results that one transaction writes at most.
const RESULTS_MAX: usize = 2_000;
/// How soon results are looked for again while stopping.
const CLOSE_WAIT: Duration = Duration::from_millis(100);

/// The replaying stage.
pub struct Replay {
    database: Database,
    registry: LiveRegistry,
    outbox: Outbox,
    nudge: Nudge,
    instance: Uuid,
    lease: Duration,
    barrier: Duration,
    drain: Duration,
    deliveries_max: i64,
    told: mpsc::UnboundedSender<Done>,
    results: mpsc::UnboundedReceiver<Done>,
    /// Results that are not yet written; kept when a transaction fails.
    unwritten: Vec<Done>,
    next_at: Option<DateTime<Utc>>,
    forgot_at: Option<Instant>,
}

impl Replay {
    /// The stage of one instance, which sends by `outbox`.
    #[must_use]
    pub fn new(
        database: &Database,
        registry: &LiveRegistry,
        outbox: &Outbox,
        instance: Uuid,
        limits: &Limits,
    ) -> Self {
        let (told, results) = mpsc::unbounded_channel();
        Self {
            database: database.clone(),
            registry: registry.clone(),
            outbox: outbox.clone(),
            nudge: Nudge::default(),
            instance,
            lease: limits.lease(),
            barrier: limits.barrier(),
            drain: Duration::from_millis(limits.drain_ms),
            deliveries_max: i64::try_from(limits.replay_deliveries_max).unwrap_or(i64::MAX),
            told,
            results,
            unwritten: Vec::new(),
            next_at: None,
            forgot_at: None,
        }
    }

    /// To be rung when a replay was asked for, and now and then while one is under way.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
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
        let results = Arc::new(std::mem::take(&mut self.unwritten));
        let (shared, instance) = (Arc::clone(&results), self.instance);
        let barrier_ends = now + TimeDelta::from_std(self.barrier).unwrap_or(TimeDelta::MAX);
        let written = self
            .database
            .transaction(move |connection| finish(connection, &shared, instance, barrier_ends, now))
            .await;
        // The closure and its clone are gone with the transaction.
        let results = Arc::into_inner(results).unwrap_or_default();
        match written {
            Ok(()) => {
                self.outbox.free(&results);
                // Lanes may go on by it, and whoever drains waits for the places.
                self.outbox.look();
                count(&results);
                Ok(results.len())
            }
            Err(error) => {
                self.unwritten = results;
                Err(error)
            }
        }
    }

    /// Does what is due. Returns whether something was done.
    async fn step(&mut self, due: Due, now: DateTime<Utc>) -> Result<bool, DbError> {
        let mut has_worked = false;
        if due.is_expired {
            let rescued = self
                .database
                .transaction(move |connection| Ok::<_, DbError>(rescue(connection, now)?))
                .await?;
            has_worked |= rescued > 0;
        }
        if due.is_orphaned {
            let cancel = move |connection: &mut _| -> Result<usize, QueryError> {
                replay_cancel_deleted(connection, now)
            };
            let cancelled = self
                .database
                .transaction(move |connection| Ok::<_, DbError>(cancel(connection)?))
                .await?;
            has_worked |= cancelled > 0;
        }
        if due.is_sending {
            let claimed = self.claim(now).await;
            has_worked |= self.or_set_aside(claimed, "sending", now).await?;
        }
        if due.is_searching {
            let (registry, deliveries_max) = (self.registry.clone(), self.deliveries_max);
            let searched = self
                .database
                .transaction(move |connection| search(connection, &registry, deliveries_max, now))
                .await;
            has_worked |= self.or_set_aside(searched, "searching", now).await?;
        }
        Ok(has_worked)
    }

    /// What came of working on the next replay in `state`. If it failed, that replay waits: what is
    /// wrong with it must not stop the others. If it is the database that fails, so does this.
    async fn or_set_aside(
        &self,
        done: Result<bool, DbError>,
        state: &'static str,
        now: DateTime<Utc>,
    ) -> Result<bool, DbError> {
        let error = match done {
            Ok(has_worked) => return Ok(has_worked),
            Err(error) => chain(&error),
        };
        let until = now + FAILED_WAIT;
        let set_aside = self
            .database
            .transaction(move |connection| {
                Ok::<_, DbError>(replay_set_aside(connection, state, until, now)?)
            })
            .await?;
        if let Some(replay) = set_aside {
            tracing::warn!(%replay, state, error, "working on a replay failed; it waits a minute");
        }
        Ok(true)
    }

    /// Hands what is due to the senders. Returns whether anything was.
    async fn claim(&mut self, now: DateTime<Utc>) -> Result<bool, DbError> {
        let started = Instant::now();
        let mut room = self.outbox.reserve();
        if room.is_empty() {
            return Ok(false);
        }
        let terms = Terms {
            now,
            started,
            lease: self.lease,
            places: room.len(),
            told: self.told.clone(),
            nudge: self.nudge.clone(),
        };
        let registry = self.registry.clone();
        let claimed = self
            .database
            .transaction(move |connection| claim(connection, &registry, &terms))
            .await?;
        for chain in claimed.chains {
            self.outbox.push(chain, &mut room);
        }
        Ok(claimed.has_worked)
    }

    /// Forgets replays that ended long ago, now and then.
    async fn forget(&mut self, now: DateTime<Utc>) -> Result<(), DbError> {
        if self
            .forgot_at
            .is_some_and(|forgot| forgot.elapsed() < FORGET_INTERVAL)
        {
            return Ok(());
        }
        let forgotten = self
            .database
            .transaction(move |connection| {
                Ok::<_, DbError>(replay_prune(connection, now - KEPT, FORGOTTEN_MAX)?)
            })
            .await?;
        if forgotten == 0 {
            self.forgot_at = Some(Instant::now());
        }
        Ok(())
    }
}

impl Stage for Replay {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "replay"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let written = self.write_results(now).await?;
        self.forget(now).await?;
        let due = self
            .database
            .run(move |connection| Ok::<_, DbError>(replay_due(connection, now)?))
            .await?;
        self.next_at = due.next_at;
        let has_worked = self.step(due, now).await?;
        Ok(if written > 0 || has_worked {
            Progress::Worked
        } else {
            Progress::Idle
        })
    }

    async fn rest(&mut self, now: DateTime<Utc>) {
        let until_next = self
            .next_at
            .filter(|next| *next > now)
            .map(|next| (next - now).to_std().unwrap_or_default());
        let wait = until_next.map_or(UNRUNG_POLL, |next| next.min(UNRUNG_POLL));
        self.nudge.wait(wait).await;
    }

    /// Writes the results of what is under way; the senders' owner returns what waits.
    async fn close(&mut self) {
        self.outbox.close();
        let end = Instant::now() + self.drain;
        while (self.outbox.in_memory() > 0 || self.outbox.senders() > 0) && Instant::now() < end {
            let now = self.outbox.clock().now();
            if let Err(error) = self.write_results(now).await {
                let error = chain(&error);
                tracing::warn!(error, "results of replays were not written; trying again");
            }
            self.nudge.wait(CLOSE_WAIT).await;
        }
    }
}

fn count(results: &[Done]) {
    for done in results {
        let Done::Tried(tried) = done else { continue };
        metrics::counter!(REPLAY_ATTEMPTS, "outcome" => tried.outcome()).increment(1);
    }
}
