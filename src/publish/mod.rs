//! Publishing: changes become events, and events become deliveries, in one transaction with the
//! cursor.
//!
//! Players: [`detect`] makes events of changes, [`event`] is what goes on the wire, [`plan`]
//! decides who is owed what and how each delivery is born, `written` makes rows and chains of that,
//! [`store`] writes them. [`submitted`] is what the API accepted instead of a change.
//!
//! Guaranteed: each change is published exactly once, because cursor, events and deliveries commit
//! together and the cursor is moved by compare-and-swap. Nothing is sent before that commit.

pub mod detect;
pub mod event;
pub mod facts;
pub mod judge;
pub mod plan;
pub mod store;
pub mod submitted;
mod written;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::{
    detect::{Circumstances, detect},
    judge::judge_all,
    plan::{Birth, Planned, assign, lanes, matched},
    store::{delivery_insert, event_insert, lane_busy, sequence_take},
    written::{Lease, Written},
};
use crate::{
    capture::{
        batch::{Batch, ReadError, Reader},
        doorbell::{Doorbell, Duty},
        store::cursor_advance,
    },
    catalog::model::DEFAULT_SOURCE,
    config::{Limits, PublicUrl},
    constraint::store::judgement_insert,
    db::{Connection, Database, DbError, QueryError},
    deliver::{chain::Chain, outbox::Outbox},
    digest::gather::digest_gather,
    observe::metrics::{CHANGES_PUBLISHED, DELIVERIES_CREATED, EVENTS_PUBLISHED},
    registry::{
        live::{LiveRegistry, Registry},
        registry_share,
    },
    stage::{Nudge, Progress, Stage},
};

/// Why a batch was not published. Its transaction was rolled back, and it will be read again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The changes could not be read.
    #[error("the batch could not be read")]
    Read(#[from] ReadError),
    /// A statement or the connection failed.
    #[error("the batch could not be published")]
    Database(#[from] DbError),
    /// Another instance published it first.
    #[error("another instance published the batch")]
    Overtaken,
}

impl From<QueryError> for PublishError {
    fn from(error: QueryError) -> Self {
        Self::Database(error.into())
    }
}

/// The publishing stage.
pub struct Publish {
    database: Database,
    doorbell: Doorbell,
    work: Arc<Mutex<Work>>,
    outbox: Outbox,
    digests: Nudge,
    events: metrics::Counter,
    changes: metrics::Counter,
    deliveries: metrics::Counter,
}

/// What a publishing transaction needs on its blocking thread.
struct Work {
    reader: Reader,
    registry: LiveRegistry,
    /// What the links in events begin with.
    public_url: Option<PublicUrl>,
    lease: Duration,
    /// The longest that a delayed delivery waits for its event's synchronous ones.
    barrier: Duration,
}

/// What a transaction published.
#[derive(Default)]
struct Published {
    changes: usize,
    events: usize,
    deliveries: usize,
    chains: Vec<Chain>,
    has_due: bool,
    /// A digest is full.
    has_closed: bool,
}

impl Publish {
    /// The stage of one instance. `url` is the repository's, for a second session while a large
    /// batch is read; `digests` is rung when a digest is full.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another part of the instance"
    )]
    pub fn new(
        database: Database,
        doorbell: Doorbell,
        url: &str,
        registry: LiveRegistry,
        outbox: Outbox,
        digests: Nudge,
        public_url: Option<PublicUrl>,
        limits: &Limits,
    ) -> Self {
        let reader = Reader::new(DEFAULT_SOURCE, url, limits.changes_per_batch_max);
        let work = Work {
            reader,
            registry,
            public_url,
            lease: limits.lease(),
            barrier: limits.barrier(),
        };
        Self {
            database,
            doorbell,
            work: Arc::new(Mutex::new(work)),
            outbox,
            digests,
            events: metrics::counter!(EVENTS_PUBLISHED),
            changes: metrics::counter!(CHANGES_PUBLISHED),
            deliveries: metrics::counter!(DELIVERIES_CREATED),
        }
    }
}

impl Publish {
    /// Lets the size of batches follow what became of this one.
    fn learn(&self, published: &Result<Published, PublishError>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match published {
            Ok(_) => work.reader.succeeded(),
            Err(PublishError::Overtaken) => {}
            Err(_) => work.reader.failed(),
        }
    }
}

impl Stage for Publish {
    type Error = PublishError;

    fn name(&self) -> &'static str {
        "publish"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, PublishError> {
        // Goes with `now`: counted from here, a lease ends in memory before it ends in the
        // repository.
        let started = Instant::now();
        if self.doorbell.duty().await? == Duty::Standby {
            return Ok(Progress::Idle);
        }
        let (work, mut room) = (Arc::clone(&self.work), self.outbox.reserve());
        let wanted = room.len();
        let published = self
            .database
            .transaction(move |connection| {
                let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
                work.publish(connection, wanted, started, now)
            })
            .await;
        self.learn(&published);
        let published = match published {
            Ok(published) => published,
            Err(PublishError::Overtaken) => return Ok(Progress::Idle),
            Err(error) => return Err(error),
        };
        self.doorbell.found(published.changes).await;
        self.changes.increment(published.changes as u64);
        self.events.increment(published.events as u64);
        self.deliveries.increment(published.deliveries as u64);
        for chain in published.chains {
            self.outbox.push(chain, &mut room);
        }
        if published.has_due {
            self.outbox.look();
        }
        if published.has_closed {
            self.digests.ring();
        }
        Ok(if published.changes == 0 {
            Progress::Idle
        } else {
            Progress::Worked
        })
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        self.doorbell.rest().await;
    }
}

impl Work {
    fn publish(
        &mut self,
        connection: &mut Connection,
        room: usize,
        started: Instant,
        now: DateTime<Utc>,
    ) -> Result<Published, PublishError> {
        // The batch's snapshot comes before anything is written: see `Reader::read`.
        let Some(batch) = self.reader.read(connection)? else {
            return Ok(Published::default());
        };
        let Batch {
            changes,
            from,
            mut to,
        } = batch;
        let count = changes.len();
        // Asked for after the snapshot, so every subscription whose 201 came before a change is in
        // it.
        let revision = registry_share(connection)?;
        let registry = self.registry.at(connection, revision)?;
        let around = Circumstances {
            targets: &registry.targets,
            public_url: self.public_url.as_ref(),
            position: from.position,
            now,
        };
        let events = detect(changes, around);
        to.position = events.last().map_or(from.position, |event| event.position);

        let mut planned = matched(&events, &registry, now);
        // In this order everywhere: locks of deliveries, rates, sequences, digests.
        let busy = busy_lanes(connection, &planned, &registry)?;
        let judgements = judge_all(connection, &mut planned, &events, &registry, now)?;
        let chains = assign(&mut planned, &registry.subscriptions, busy, room);
        let sequences = sequences(connection, &planned, &registry)?;
        let lease = Lease {
            id: Uuid::new_v4(),
            until: now + self.lease,
            ends: started + self.lease,
        };
        let written = Written {
            planned: &planned,
            events: &events,
            registry: &registry,
        };
        let rows = written.rows(sequences, lease.until, now + self.barrier, now);

        if !events.is_empty() {
            event_insert(connection, &events, now)?;
        }
        if !rows.is_empty() {
            delivery_insert(connection, &rows, lease.id, now)?;
        }
        judgement_insert(connection, &judgements)?;
        let gathered = digest_gather(connection, &written.gatherings(), now)?;
        if !cursor_advance(connection, DEFAULT_SOURCE, &from, &to, count as i64)? {
            return Err(PublishError::Overtaken);
        }
        Ok(Published {
            changes: count,
            events: events.len(),
            deliveries: rows.len(),
            has_closed: gathered.closed > 0,
            chains: written.chains(&rows, lease, chains),
            has_due: planned.iter().any(|delivery| delivery.birth == Birth::Due),
        })
    }
}

/// The lanes of this batch in which something is unsettled.
fn busy_lanes(
    connection: &mut Connection,
    planned: &[Planned],
    registry: &Registry,
) -> Result<HashSet<plan::LaneOf>, PublishError> {
    let wanted: HashSet<(Uuid, i64)> = lanes(planned)
        .into_iter()
        .map(|(place, lane)| (registry.id(place), lane))
        .collect();
    let busy = lane_busy(connection, &wanted)?;
    Ok(busy
        .into_iter()
        .filter_map(|(id, lane)| Some((*registry.by_id.get(&id)?, lane)))
        .collect())
}

/// The first sequence number of each subscription in this batch.
fn sequences(
    connection: &mut Connection,
    planned: &[Planned],
    registry: &Registry,
) -> Result<HashMap<Uuid, i64>, PublishError> {
    let mut counts: HashMap<Uuid, i64> = HashMap::new();
    for delivery in planned.iter().filter(|delivery| delivery.is_numbered()) {
        *counts
            .entry(registry.id(delivery.subscription))
            .or_default() += 1;
    }
    if counts.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(sequence_take(connection, &counts)?)
}
