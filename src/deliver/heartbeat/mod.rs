//! Heartbeats: a receiver that asks for it is told at its interval how far its numbers go, so that
//! it notices a loss even if nothing follows what was lost.
//!
//! Players: `store` claims what is due; `body` is what is told; `places` bounds the requests to one
//! receiver. What is due is a row of `rowcall.heartbeat`, made of the registration list whenever
//! that has changed; whoever moves its time sends it, so one instance does.
//!
//! Guaranteed: a heartbeat is no delivery. It has no number, is in no account, is tried once, and
//! whatever is answered changes nothing. It has senders of its own, so it never waits for a
//! delivery nor a delivery for it. It is signed and guarded as everything, and sent only to a
//! subscription that is active.

mod body;
mod places;
pub mod store;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::Bytes;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::{
    places::Places,
    store::{Numbers, heartbeat_claim, heartbeat_defer, heartbeat_next_at, heartbeat_sync},
};
use super::send::CONTENT_TYPE;
use crate::{
    config::Limits,
    db::{Connection, Database, DbError},
    lookout::UNRUNG_POLL,
    observe::metrics::HEARTBEATS,
    publish::detect::Ids,
    registry::{
        live::{LiveRegistry, Registry},
        registered::Registered,
        registry_revision, registry_share,
    },
    sink::{Message, Outcome, Sink},
    stage::{Nudge, Progress, Stage},
    subscription::model::{SinkSpec, State},
};

/// Heartbeats under way at once, of one instance: one at most to each subscription.
pub const REQUESTS_MAX: usize = 64;
/// The same to one host.
pub const REQUESTS_PER_HOST_MAX: usize = 8;
/// When one is tried again for whose host too many are under way.
const HOST_FULL_WAIT: TimeDelta = TimeDelta::seconds(5);
/// The shortest rest: what is due may be another instance's at this moment.
const REST_MIN: Duration = Duration::from_millis(50);

/// The stage that sends heartbeats.
pub struct Heartbeat {
    database: Database,
    registry: LiveRegistry,
    timeout: Duration,
    ids: Ids,
    /// The requests under way by host,
    hosts: Places<String>,
    /// and by subscription.
    told: Places<Uuid>,
    under_way: JoinSet<()>,
    /// Rung when a request ends, and by the lookout.
    nudge: Nudge,
    /// The revision of the registration list that the repository's heartbeats are of.
    synced: Option<i64>,
    next_at: Option<DateTime<Utc>>,
}

/// What a transaction claimed.
struct Claim {
    registry: Arc<Registry>,
    claimed: Vec<Numbers>,
    next_at: Option<DateTime<Utc>>,
}

impl Heartbeat {
    /// The stage of one instance; several of them share the work.
    #[must_use]
    pub fn new(database: Database, registry: LiveRegistry, limits: &Limits) -> Self {
        Self {
            database,
            registry,
            timeout: limits.request_timeout(),
            ids: Ids::new(),
            hosts: Places::default(),
            told: Places::default(),
            under_way: JoinSet::new(),
            nudge: Nudge::default(),
            synced: None,
            next_at: None,
        }
    }

    /// To be rung when the registration list was edited, or something is due soon.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Requests that have not ended.
    fn requests(&mut self) -> usize {
        while self.under_way.try_join_next().is_some() {}
        self.under_way.len()
    }

    async fn claim(&mut self, limit: usize, now: DateTime<Utc>) -> Result<Claim, DbError> {
        let (registry, synced) = (self.registry.clone(), self.synced);
        self.database
            .transaction(move |connection| claim(connection, &registry, synced, limit, now))
            .await
    }

    /// Sends one; false: too many are under way to its host.
    fn send(&mut self, registered: &Registered, numbers: Numbers, now: DateTime<Utc>) -> bool {
        let subscription = &registered.subscription;
        let sink = match &registered.sink {
            Ok(sink) => Arc::clone(sink),
            // Its deliveries say so, and are kept.
            Err(reason) => {
                tracing::debug!(subscription = subscription.name, reason, "no heartbeat");
                return true;
            }
        };
        // One that hangs is not told more often by that, and leaves places to the others.
        let Some(turn) = self.told.enter(subscription.id, 1) else {
            tracing::debug!(subscription = subscription.name, "the last heartbeat hangs");
            return true;
        };
        let host = sink.host().to_owned();
        let Some(place) = self.hosts.enter(host, REQUESTS_PER_HOST_MAX) else {
            return false;
        };
        let id = self.ids.next(now);
        let message = Message {
            id: id.to_string(),
            content_type: CONTENT_TYPE,
            body: Bytes::from(body::body(id, &subscription.name, numbers, now)),
            extra_headers: Vec::new(),
        };
        let (name, timeout) = (subscription.name.clone(), self.timeout);
        let nudge = self.nudge.clone();
        self.under_way.spawn(async move {
            tell(&*sink, &name, &message, now, timeout).await;
            drop((place, turn));
            nudge.ring();
        });
        true
    }
}

/// Makes one attempt; there is no other.
async fn tell(
    sink: &dyn Sink,
    subscription: &str,
    message: &Message,
    now: DateTime<Utc>,
    timeout: Duration,
) {
    let outcome = sink.send(message, now, timeout).await;
    let is_acknowledged = matches!(outcome, Outcome::Delivered { .. });
    let label = if is_acknowledged {
        "acknowledged"
    } else {
        "failed"
    };
    metrics::counter!(HEARTBEATS, "outcome" => label).increment(1);
    if !is_acknowledged {
        tracing::debug!(subscription, ?outcome, "a heartbeat failed");
    }
}

fn claim(
    connection: &mut Connection,
    registry: &LiveRegistry,
    synced: Option<i64>,
    limit: usize,
    now: DateTime<Utc>,
) -> Result<Claim, DbError> {
    let mut revision = registry_revision(connection)?;
    let is_synced = synced == Some(revision);
    if !is_synced {
        revision = registry_share(connection)?;
    }
    let registry = registry.at(connection, revision)?;
    if !is_synced {
        heartbeat_sync(connection, &wanted(&registry), now)?;
    }
    Ok(Claim {
        claimed: heartbeat_claim(connection, limit, now)?,
        next_at: heartbeat_next_at(connection)?,
        registry,
    })
}

/// The heartbeats of a registration list: subscription, and milliseconds between two.
fn wanted(registry: &Registry) -> Vec<(Uuid, i64)> {
    let subscriptions = registry.subscriptions.iter();
    let wanted = subscriptions.filter_map(|registered| {
        let subscription = &registered.subscription;
        let every = subscription.spec.heartbeat?;
        let is_told = subscription.state == State::Active
            && matches!(subscription.spec.sink, SinkSpec::Webhook { .. });
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        is_told.then_some((subscription.id, every))
    });
    wanted.collect()
}

impl Stage for Heartbeat {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "heartbeat"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let room = REQUESTS_MAX.saturating_sub(self.requests());
        if room == 0 {
            // The end of a request rings.
            self.next_at = None;
            return Ok(Progress::Idle);
        }
        let Claim {
            registry,
            claimed,
            next_at,
        } = self.claim(room, now).await?;
        self.synced = Some(registry.revision);
        self.next_at = next_at;
        let mut deferred = Vec::new();
        for numbers in &claimed {
            let Some(place) = registry.by_id.get(&numbers.subscription_id) else {
                continue;
            };
            if !self.send(&registry.subscriptions[*place as usize], *numbers, now) {
                deferred.push(numbers.subscription_id);
            }
        }
        if !deferred.is_empty() {
            let at = now + HOST_FULL_WAIT;
            self.next_at = self.next_at.into_iter().chain([at]).min();
            self.database
                .run(move |connection| {
                    Ok::<_, DbError>(heartbeat_defer(connection, &deferred, at)?)
                })
                .await?;
        }
        Ok(match claimed.len() {
            0 => Progress::Idle,
            _ => Progress::Worked,
        })
    }

    async fn rest(&mut self, now: DateTime<Utc>) {
        let until_next = self
            .next_at
            .map(|next| (next - now).to_std().unwrap_or_default());
        let wait = until_next.map_or(UNRUNG_POLL, |next| next.clamp(REST_MIN, UNRUNG_POLL));
        self.nudge.wait(wait).await;
    }
}
