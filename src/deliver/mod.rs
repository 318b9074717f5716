//! Delivering: what is owed is claimed with a lease, sent, and finished by the holder of the lease.
//!
//! Players: `claim` takes what is due, as the subscription's [`rate`] allows; [`outbox`] holds what
//! is claimed and runs the senders, in turns that `lines` and each receiver's [`breaker`] give, and
//! sets `aside` what a barrier keeps;
//! [`send`] sends a [`chain`] of one [`lane`]; [`retry`] decides what follows an attempt; `finish`
//! writes what became of it; the [`barrier`] lets the delayed ones go; [`store`] is the SQL.
//!
//! Guaranteed: no transaction is open during a send; an attempt and what it made of its delivery
//! are written together; whoever lost the lease writes nothing; per lane, a delivery is first sent
//! when the ones before it are settled.

mod aside;
pub mod attempt;
pub mod barrier;
pub mod breaker;
pub mod chain;
pub mod claim;
pub(crate) mod finish;
pub(crate) mod health;
pub mod heartbeat;
pub mod lane;
mod lines;
pub mod outbox;
pub mod rate;
mod release;
mod requests;
pub mod retry;
pub mod send;
pub mod store;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{
    claim::{
        Claim, Terms, claim,
        store::{delivery_set_aside, held_judge_again},
    },
    finish::finish,
    outbox::Outbox,
    send::Done,
};
use crate::{
    config::Limits,
    db::{Database, DbError},
    lookout::UNRUNG_POLL,
    observe::metrics::{ATTEMPT_SECONDS, ATTEMPTS},
    pace::Pace,
    registry::live::LiveRegistry,
    stage::{Nudge, Progress, Stage, chain},
};

/// Results that one transaction writes at most.
const RESULTS_MAX: usize = 2_000;
/// The most that the first claim takes; each may take twice as much as the one before. Receivers
/// that have not answered yet have room for few, and what has none goes back for a second.
const FIRST_CLAIM: usize = 250;
/// The shortest rest. What is due and could not be claimed is somebody else's at this moment.
const REST_MIN: Duration = Duration::from_millis(10);
/// How soon results are written again while stopping, when it failed.
const CLOSE_RETRY_WAIT: Duration = Duration::from_millis(100);

/// The delivering stage.
pub struct Deliver {
    database: Database,
    registry: LiveRegistry,
    outbox: Outbox,
    results: mpsc::UnboundedReceiver<Done>,
    nudge: Nudge,
    wake: Nudge,
    /// Rung when results were written, which may have opened a digest.
    gathered: Nudge,
    instance: Uuid,
    lease: Duration,
    /// The longest that a delayed delivery waits for its event's synchronous ones.
    barrier: Duration,
    poll: Duration,
    drain: Duration,
    /// Results that are not yet written; kept when a transaction fails.
    unwritten: Vec<Done>,
    /// The last claim was as large as it could be, or there was no room for one.
    has_more: bool,
    next_at: Option<DateTime<Utc>>,
    looked_at: Option<Instant>,
    /// The most that a claim takes, at first and when bodies are large; it doubles while they fit.
    places_max: usize,
    /// How fast results come.
    pace: Pace,
    /// The constraints of the last claim.
    constraints: Option<BTreeMap<String, i64>>,
}

impl Deliver {
    /// The stage of one instance; `results` is where `outbox` tells what became of deliveries and
    /// `nudge` what it rings then. `wake` is rung by others, when something became due.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another part of the instance"
    )]
    pub fn new(
        database: Database,
        registry: LiveRegistry,
        outbox: Outbox,
        results: mpsc::UnboundedReceiver<Done>,
        nudge: Nudge,
        wake: Nudge,
        instance: Uuid,
        limits: &Limits,
    ) -> Self {
        Self {
            database,
            registry,
            outbox,
            results,
            nudge,
            wake,
            gathered: Nudge::default(),
            instance,
            lease: limits.lease(),
            barrier: limits.barrier(),
            poll: Duration::from_millis(limits.deliver_poll_ms),
            drain: Duration::from_millis(limits.drain_ms),
            unwritten: Vec::new(),
            has_more: false,
            next_at: None,
            looked_at: None,
            places_max: FIRST_CLAIM,
            pace: Pace::default(),
            constraints: None,
        }
    }

    /// The same, beside a [`Lookout`](crate::lookout::Lookout) that rings `wake` when there may be
    /// something to claim; and it rings `gathered` whenever it has written results.
    #[must_use]
    pub fn rung(mut self, gathered: Nudge) -> Self {
        self.poll = UNRUNG_POLL;
        self.gathered = gathered;
        self
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
        let barrier_ends = now + self.barrier;
        let results = Arc::new(results);
        let (shared, registry) = (Arc::clone(&results), self.registry.clone());
        let written = self
            .database
            .transaction(move |connection| {
                finish(connection, &registry, &shared, instance, barrier_ends, now)
            })
            .await;
        // The closure and its clone are gone with the transaction.
        let results = Arc::into_inner(results).unwrap_or_default();
        match written {
            Ok(finished) => {
                self.has_more |= finished.due > 0;
                self.next_at = self.next_at.into_iter().chain(finished.next_at).min();
                self.outbox.free(&results);
                self.gathered.ring();
                count(&results);
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

    /// Claims what there is room for. `started` goes with `now`: counted from it, a lease ends in
    /// memory before it ends in the repository.
    async fn claim(&mut self, now: DateTime<Utc>, started: Instant) -> Result<usize, DbError> {
        let mut room = self.outbox.reserve();
        // Until it is known better, there is more.
        self.has_more = true;
        if room.is_empty() {
            // The next result makes room, and rings; the time of what is due must not keep us
            // awake.
            self.next_at = None;
            return Ok(0);
        }
        let (registry, places) = (self.registry.clone(), room.len().min(self.places_max));
        let terms = Terms {
            now,
            started,
            lease: self.lease,
            barrier: self.barrier,
        };
        let Claim {
            chains,
            results,
            inactive,
            is_full,
            is_cut,
            next_at,
            registry,
        } = self
            .database
            .transaction(move |connection| claim(connection, &registry, places, terms))
            .await?;
        let sent: usize = chains.iter().map(|chain| chain.deliveries.len()).sum();
        let count = sent + results.len();
        // What goes back was claimed in vain.
        self.places_max = if is_cut { sent.max(1) } else { self.places_max }.saturating_mul(2);
        // They hold places until they are written, as every result does.
        room.take(&results);
        self.unwritten.extend(results);
        for chain in chains {
            self.outbox.push(chain, &mut room);
        }
        if !inactive.is_empty() {
            // Not in the claiming transaction: the registry's lock comes before those of
            // deliveries.
            self.database
                .transaction(move |connection| {
                    Ok::<_, DbError>(delivery_set_aside(connection, &inactive)?)
                })
                .await?;
        }
        // What was held because of constraints that are not what they were need not wait on.
        let constraints = Some(registry.constraints.clone());
        // At the start nobody knows what they were.
        let is_known = self.constraints == constraints;
        if !is_known {
            self.database
                .transaction(move |connection| Ok::<_, DbError>(held_judge_again(connection, now)?))
                .await?;
        }
        self.constraints = constraints;
        self.looked_at = Some(started);
        self.next_at = next_at;
        self.has_more = is_full || !is_known;
        Ok(count)
    }
}

impl Stage for Deliver {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "deliver"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let started = Instant::now();
        let written = self.write_results(now).await?;
        self.outbox.return_late();
        self.pace.count(written, started);
        let claimed = if self.should_claim(now) {
            self.claim(now, started).await?
        } else {
            0
        };
        Ok(if written + claimed > 0 {
            Progress::Worked
        } else {
            Progress::Idle
        })
    }

    async fn gather(&mut self) {
        self.pace.gather().await;
    }

    async fn rest(&mut self, now: DateTime<Utc>) {
        let wait = rest_for(self.next_at, self.poll, now);
        tokio::select! {
            () = self.nudge.wait(wait) => {}
            () = self.wake.rung() => self.has_more = true,
        }
    }

    /// Returns what is not under way, waits for what is, and writes the results.
    async fn close(&mut self) {
        self.outbox.close();
        let end = Instant::now() + self.drain;
        while (self.outbox.in_memory() > 0 || self.outbox.senders() > 0) && Instant::now() < end {
            let now = self.outbox.clock().now();
            match self.write_results(now).await {
                Ok(0) => {
                    let left = end.saturating_duration_since(Instant::now());
                    self.nudge.wait(left).await;
                }
                Ok(_) => {}
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(error, "results were not written; trying again");
                    tokio::time::sleep(CLOSE_RETRY_WAIT).await;
                }
            }
        }
        let left = self.outbox.in_memory();
        if left > 0 {
            tracing::warn!(
                left,
                "stopped with results not written; their deliveries are sent again"
            );
        }
    }
}

/// How long to rest until `next_at`, if nobody rings.
fn rest_for(next_at: Option<DateTime<Utc>>, poll: Duration, now: DateTime<Utc>) -> Duration {
    let until_next = next_at.map(|next| (next - now).to_std().unwrap_or_default());
    until_next.map_or(poll, |next| next.max(REST_MIN).min(poll))
}

fn count(results: &[Done]) {
    for done in results {
        let Done::Tried(tried) = done else { continue };
        metrics::counter!(ATTEMPTS, "outcome" => tried.outcome()).increment(1);
        metrics::histogram!(ATTEMPT_SECONDS).record(tried.duration.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn it_rests_until_the_next_is_due_and_never_not_at_all() {
        let (now, poll) = (DateTime::UNIX_EPOCH, Duration::from_secs(2));
        for (next_ms, rest_ms) in [
            (None, 2_000),
            (Some(500), 500),
            (Some(60_000), 2_000),
            // Due, and not claimed: whoever has it needs a moment.
            (Some(0), 10),
            (Some(-60_000), 10),
        ] {
            let next_at = next_ms.map(|ms| now + TimeDelta::milliseconds(ms));
            let rest = Duration::from_millis(rest_ms);
            assert_eq!(rest_for(next_at, poll, now), rest, "{next_ms:?}");
        }
    }
}
