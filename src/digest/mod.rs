//! Digests: what is published for a subscription of the mode `batch` is gathered, and leaves
//! condensed when its window closes.
//!
//! Players: [`schedule`] says when a window closes, and [`cron`] what a local time is; [`gather`]
//! adds events to the open digest, inside the transaction that publishes them; [`grouping`] is
//! which group an event is in; `window` closes what is due; [`late`] says what becomes of windows
//! that nobody closed in time; [`condense`] makes parts of what is closed, and deliveries of them;
//! `ticker` says when to look at what was gathered; `store` is the SQL of open digests.
//!
//! Guaranteed: each event of a batch subscription is in exactly one digest, and counts are exact.
//! Each step is a transaction that leaves a state from which anybody can go on: open, closed,
//! condensed. A digest is condensed once, and what was stored then is what is sent each time.

pub mod condense;
pub mod cron;
pub mod gather;
pub mod grouping;
pub mod late;
pub mod schedule;
mod store;
mod ticker;
mod window;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::{
    condense::{CondenseError, Condensed, digest_condense},
    ticker::Ticker,
    window::{Closed, Known, close_due, open_empty, review},
};
use crate::{
    config::Limits,
    db::{Connection, Database, DbError},
    observe::metrics::{
        DIGEST_EVENTS_VANISHED, DIGEST_OLDEST_CLOSED, DIGEST_PARTS, DIGESTS_CLOSED,
    },
    registry::{
        live::{LiveRegistry, Registry},
        registry_revision,
    },
    stage::{Nudge, Progress, Stage, chain},
};

/// How often digests are looked at without a nudge.
const POLL: Duration = Duration::from_secs(60);
/// How soon what is left is looked at again: somebody else held it.
const LEFT_WAIT: Duration = Duration::from_secs(1);
/// How often digests without a subscription are looked for while the registration list rests.
const REVIEW_INTERVAL: Duration = Duration::from_secs(60);
/// How long a digest that could not be condensed is left alone; doubles up to the maximum.
const ASIDE_MIN: Duration = Duration::from_secs(1);
const ASIDE_MAX: Duration = Duration::from_secs(300);

/// The digest stage.
pub struct Digest {
    database: Database,
    registry: LiveRegistry,
    limits: Arc<Limits>,
    /// Rings this stage.
    nudge: Nudge,
    /// Rung when something was published, which may have opened a digest.
    gathered: Nudge,
    /// Rings the deliver stage.
    deliver: Nudge,
    ticker: Option<Ticker>,
    /// Rung by the ticker.
    ticks: Nudge,
    reviewed: Option<Reviewed>,
    aside: HashMap<Uuid, Aside>,
    next_at: Option<DateTime<Utc>>,
}

/// The registration list as open digests were last compared with it.
struct Reviewed {
    /// `None`: some digest could not be looked at.
    revision: Option<i64>,
    at: Instant,
    known: Known,
}

impl Reviewed {
    fn holds_for(&self, revision: i64) -> bool {
        self.revision == Some(revision) && self.at.elapsed() < REVIEW_INTERVAL
    }
}

/// A digest that could not be condensed.
#[derive(Clone, Copy)]
struct Aside {
    until: Instant,
    wait: Duration,
}

impl Digest {
    /// The stage of one instance; several of them share the work. `nudge` rings it; it rings
    /// `deliver` when deliveries were written.
    #[must_use]
    pub fn new(
        database: Database,
        registry: LiveRegistry,
        nudge: Nudge,
        deliver: Nudge,
        limits: &Limits,
    ) -> Self {
        Self {
            database,
            registry,
            limits: Arc::new(limits.clone()),
            nudge,
            gathered: Nudge::default(),
            deliver,
            ticker: None,
            ticks: Nudge::default(),
            reviewed: None,
            aside: HashMap::new(),
            next_at: None,
        }
    }

    /// To be rung when events were published or released. The stage looks with its next tick,
    /// within a second: a look for each batch would cost more than the batch.
    #[must_use]
    pub fn gathered(&self) -> Nudge {
        self.gathered.clone()
    }

    /// How long to rest if nobody rings.
    fn wait(&self, now: DateTime<Utc>) -> Duration {
        let until_next = self
            .next_at
            .map(|next| (next - now).to_std().unwrap_or_default());
        let here = Instant::now();
        let set_aside = self.aside.values().filter(|aside| aside.until > here);
        let until_tried = set_aside.map(|aside| aside.until - here).min();
        let is_left = |reviewed: &&Reviewed| reviewed.revision.is_none();
        let until_left = self.reviewed.as_ref().filter(is_left).map(|_| LEFT_WAIT);
        let first = until_next.into_iter().chain(until_tried).chain(until_left);
        first.min().map_or(POLL, |first| first.min(POLL))
    }

    /// Closes what is due, and opens what is told empty.
    async fn close_windows(&mut self, now: DateTime<Utc>) -> Result<usize, DbError> {
        let reviewed = self.reviewed.take();
        let registry = self.registry.clone();
        let (closed, reviewed, registry) = self
            .database
            .transaction(move |connection| windows(connection, &registry, reviewed, now))
            .await?;
        self.reviewed = Some(reviewed);
        metrics::counter!(DIGESTS_CLOSED).increment(closed.count as u64);
        let waits = closed.waits_since.map_or(0, |at| (now - at).num_seconds());
        metrics::gauge!(DIGEST_OLDEST_CLOSED).set(waits.max(0) as f64);
        let opened = self
            .database
            .transaction(move |connection| {
                Ok::<_, DbError>(open_empty(connection, &registry, now)?)
            })
            .await?;
        self.next_at = closed.next_at.into_iter().chain(opened).min();
        Ok(closed.count)
    }

    /// Condenses one digest.
    async fn condense_one(&mut self, now: DateTime<Utc>) -> Result<Progress, CondenseError> {
        let aside: Vec<Uuid> = self
            .aside
            .iter()
            .filter(|(_, aside)| aside.until > Instant::now())
            .map(|(id, _)| *id)
            .collect();
        let (registry, limits) = (self.registry.clone(), Arc::clone(&self.limits));
        let condensed = self
            .database
            .transaction(move |connection| {
                let is_wanted = |registered: &_, fold: &condense::Fold<'_>| {
                    condense::is_wanted(registered, fold, now)
                };
                digest_condense(connection, &registry, &limits, &aside, &is_wanted, now)
            })
            .await;
        match condensed {
            Ok(Condensed::Nothing) => Ok(Progress::Idle),
            Ok(Condensed::Unreadable(id)) => {
                self.set_aside(id);
                Ok(Progress::Worked)
            }
            Ok(Condensed::Cancelled) => Ok(Progress::Worked),
            Ok(Condensed::Done { parts, vanished }) => {
                if parts > 0 {
                    self.deliver.ring();
                }
                metrics::counter!(DIGEST_PARTS).increment(u64::from(parts));
                metrics::counter!(DIGEST_EVENTS_VANISHED).increment(vanished.unsigned_abs());
                Ok(Progress::Worked)
            }
            Err(error) => {
                let Some(digest) = error.digest else {
                    return Err(error);
                };
                self.set_aside(digest);
                // If it is the database that fails, the next digest would fare no better.
                if error.source.is_passing() {
                    return Err(error);
                }
                let error = chain(&error);
                tracing::error!(%digest, error, "a digest stays closed; others go on");
                Ok(Progress::Worked)
            }
        }
    }

    /// Leaves a digest alone for a while, so that it does not keep others waiting.
    fn set_aside(&mut self, digest: Uuid) {
        let now = Instant::now();
        // Those whose time was over for long were condensed, here or elsewhere.
        self.aside.retain(|_, aside| aside.until + ASIDE_MAX > now);
        let wait = self
            .aside
            .get(&digest)
            .map_or(ASIDE_MIN, |aside| (aside.wait * 2).min(ASIDE_MAX));
        let until = now + wait;
        self.aside.insert(digest, Aside { until, wait });
    }
}

impl Stage for Digest {
    type Error = CondenseError;

    fn name(&self) -> &'static str {
        "digest"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, CondenseError> {
        let closed = self.close_windows(now).await?;
        let condensed = self.condense_one(now).await?;
        Ok(if closed > 0 {
            Progress::Worked
        } else {
            condensed
        })
    }

    async fn rest(&mut self, now: DateTime<Utc>) {
        if self.ticker.is_none() {
            match Ticker::start(self.ticks.clone()).await {
                Ok(ticker) => self.ticker = Some(ticker),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(
                        error,
                        "digests have no ticker; they are looked at less often"
                    );
                }
            }
        }
        let wait = self.wait(now);
        let tick_after_gathering = async {
            self.gathered.rung().await;
            self.ticks.rung().await;
        };
        tokio::select! {
            () = self.nudge.wait(wait) => {}
            () = tick_after_gathering => {}
        }
    }

    async fn close(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.stop().await;
        }
    }
}

/// Closes windows; looks at the registration list first if it was edited or it is time.
fn windows(
    connection: &mut Connection,
    registry: &LiveRegistry,
    reviewed: Option<Reviewed>,
    now: DateTime<Utc>,
) -> Result<(Closed, Reviewed, Arc<Registry>), DbError> {
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let mut ended = 0;
    let reviewed = match reviewed {
        Some(reviewed) if reviewed.holds_for(revision) => reviewed,
        other => {
            let known = other.map(|reviewed| reviewed.known).unwrap_or_default();
            let review = review(connection, &registry, &known, now)?;
            ended = review.ended;
            Reviewed {
                revision: review.is_complete.then_some(revision),
                at: Instant::now(),
                known: review.known,
            }
        }
    };
    let mut closed = close_due(connection, now)?;
    closed.count += ended;
    Ok((closed, reviewed, registry))
}
