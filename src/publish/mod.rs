//! Publishing: changes become events, and events become deliveries, in one transaction with the
//! cursor.
//!
//! Players: [`detect`] makes events of changes, [`event`] is what goes on the wire, [`plan`]
//! decides who is owed what and how each delivery is born, `written` makes rows and chains of that,
//! [`store`] writes them. [`submitted`] is what the API accepted instead of a change.
//!
//! Guaranteed: each change is published exactly once, because cursor, events and deliveries commit
//! together and the cursor is moved by compare-and-swap. Nothing is sent before that commit.

mod audience;
pub mod courtesy;
pub mod detect;
pub mod event;
pub mod facts;
pub mod judge;
mod locks;
pub mod plan;
pub mod store;
pub mod submitted;
mod written;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::{
    courtesy::{Courtesy, Seen},
    detect::{Circumstances, Ids, detect},
    event::Event,
    judge::judge_all,
    locks::{busy_lanes, sequences, wanted_lanes},
    plan::{Birth, Planned, assign, matched},
    store::{delivery_insert, event_insert},
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
    constraint::{judge::Decision, store::judgement_insert},
    db::{Connection, Database, DbError, QueryError},
    deliver::{chain::Chain, outbox::Outbox},
    digest::gather::digest_gather,
    observe::metrics::{CHANGES_PUBLISHED, DELIVERIES_CREATED, EVENTS_PUBLISHED},
    registry::{
        live::{LiveRegistry, Registry},
        registry_share,
    },
    stage::{Nudge, Progress, Stage},
    start::{Around, Starts},
};

/// How often a start that waits is looked at, and changes with it.
const WAITING_POLL: Duration = Duration::from_millis(20);

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
    /// Nobody rings when a start that waits can go on.
    has_waiting: bool,
    courtesy: Courtesy,
    /// For how long the writers come first, after the last run.
    pause: Duration,
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
    starts: Starts,
    lease: Duration,
    /// The longest that a delayed delivery waits for its event's synchronous ones.
    barrier: Duration,
}

/// What a transaction published.
#[derive(Default)]
struct Published {
    changes: usize,
    /// A start went on, or one may have been registered.
    has_start: bool,
    /// A start is under way that can't go on now, and may soon.
    has_waiting: bool,
    events: usize,
    deliveries: usize,
    chains: Vec<Chain>,
    has_due: bool,
    /// A digest is full.
    has_closed: bool,
    /// How long the server took to answer the first question.
    answered_in: Duration,
    /// When the first of the changes was made.
    since: Option<DateTime<Utc>>,
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
            starts: Starts::new(limits),
            lease: limits.lease(),
            barrier: limits.barrier(),
        };
        Self {
            database,
            doorbell,
            work: Arc::new(Mutex::new(work)),
            outbox,
            digests,
            has_waiting: false,
            courtesy: Courtesy::new(limits.writers_first()),
            pause: Duration::ZERO,
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
            Ok(_) => return work.reader.succeeded(),
            Err(PublishError::Overtaken) => {}
            Err(_) => work.reader.failed(),
        }
        work.starts.failed();
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
        self.has_waiting = false;
        if self.doorbell.duty().await? == Duty::Standby {
            return Ok(Progress::Idle);
        }
        let (work, mut room) = (Arc::clone(&self.work), self.outbox.reserve_for_births());
        let wanted = room.len();
        let publishing = self.database.transaction(move |connection| {
            let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
            work.publish(connection, wanted, started, now)
        });
        let published = self.doorbell.beside(publishing).await;
        self.learn(&published);
        let published = match published {
            Ok(published) => published,
            Err(PublishError::Overtaken) => return Ok(Progress::Idle),
            Err(error) => return Err(error),
        };
        let found = published.changes.max(usize::from(published.has_start));
        self.doorbell.found(found, started).await;
        self.pause = published.since.map_or(Duration::ZERO, |since| {
            self.courtesy.pause(Seen {
                answered_in: published.answered_in,
                ran_for: started.elapsed(),
                behind: (now - since).to_std().unwrap_or_default(),
                is_fast: self.doorbell.is_busy(),
            })
        });
        self.has_waiting = published.has_waiting;
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
        Ok(if found == 0 {
            Progress::Idle
        } else {
            Progress::Worked
        })
    }

    async fn gather(&mut self) {
        tokio::time::sleep_until((Instant::now() + self.pause).into()).await;
        self.doorbell.gather().await;
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        if self.has_waiting {
            return tokio::time::sleep(WAITING_POLL).await;
        }
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
        // Snapshots come before anything is written: see `Reader::read` and `Starts::prepare`.
        let turn = self.starts.prepare(connection, &self.registry)?;
        let (waits, is_retried) = (turn.waits(), turn.is_retried());
        let Some(batch) = self.reader.read_upto(connection, turn.upto())? else {
            return Ok(Published {
                has_start: self.starts.look(connection)? || is_retried,
                has_waiting: waits,
                ..Published::default()
            });
        };
        let Batch {
            changes,
            from,
            mut to,
        } = batch;
        let count = changes.len();
        let since = changes.first().map(|change| change.at);
        // Asked for after the snapshot, so every subscription whose 201 came before a change is in
        // it.
        let revision = registry_share(connection)?;
        let targets = changes.iter().map(|change| change.target);
        let registry = self.registry.knowing(connection, revision, targets)?;
        let mut brought = self.starts.bring(connection, turn, &registry, &from, &to)?;
        let ids = Ids::new();
        let around = Circumstances {
            ids: &ids,
            targets: &registry.targets,
            public_url: self.public_url.as_ref(),
            position: from.position,
            now,
        };
        // Past events first: their subscription may be live from this batch on.
        let mut events = std::mem::take(&mut brought.recalled);
        let recalled = events.len();
        events.extend(detect(changes, around));
        let last = |events: &[Event]| events[recalled..].last().map(|event| event.position);

        let mut planned = matched(&events, 0, &registry, &brought.deferred, &ids, now);
        // In this order everywhere: locks of deliveries, rates, sequences, digests.
        let wanted = wanted_lanes(&planned, brought.chunk.as_deref(), &registry);
        let busy = busy_lanes(connection, &wanted, &registry)?;
        let mut judgements = judge_all(connection, &mut planned, &events, &registry, now)?;
        if let Some(chunk) = &brought.chunk {
            let around = Around {
                position: last(&events).unwrap_or(from.position),
                ids: &ids,
                source: DEFAULT_SOURCE,
                public_url: self.public_url.as_ref(),
                now,
            };
            let told = told_by(&planned, &events, &registry, chunk.subscription_id());
            let rows = chunk.events(connection, told, around)?;
            let first = events.len();
            events.extend(rows);
            let mut of_rows = matched(&events, first, &registry, &brought.deferred, &ids, now);
            judgements.extend(judge_all(
                connection,
                &mut of_rows,
                &events,
                &registry,
                now,
            )?);
            planned.extend(of_rows);
        }
        to.position = last(&events).unwrap_or(from.position);
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

        let new_events = &events[recalled..];
        if !new_events.is_empty() {
            event_insert(connection, new_events, now)?;
        }
        if !rows.is_empty() {
            delivery_insert(connection, &rows, lease.id, now)?;
        }
        judgement_insert(connection, &judgements)?;
        let gathered = digest_gather(connection, &written.gatherings(), now)?;
        let told = planned.iter().filter(|delivery| delivery.is_of_start);
        brought.record(connection, told.count(), from.revision + 1, now)?;
        if !cursor_advance(connection, DEFAULT_SOURCE, &from, &to, count as i64)? {
            return Err(PublishError::Overtaken);
        }
        Ok(Published {
            changes: count,
            has_start: brought.is_work(),
            has_waiting: waits,
            events: new_events.len(),
            deliveries: rows.len(),
            has_closed: gathered.closed > 0,
            chains: written.chains(&rows, lease, chains),
            has_due: planned.iter().any(|delivery| delivery.birth == Birth::Due),
            answered_in: self.reader.answered_in(),
            since,
        })
    }
}

/// What a subscription is owed of the events of a batch and told, in their order.
fn told_by<'a>(
    planned: &'a [Planned],
    events: &'a [Event],
    registry: &'a Registry,
    subscription: Uuid,
) -> impl Iterator<Item = &'a Event> {
    let is_told = move |delivery: &&Planned| {
        let judged = delivery.judged.as_ref().map(|judged| judged.decision);
        registry.id(delivery.subscription) == subscription && judged != Some(Decision::Suppress)
    };
    let told = planned.iter().filter(is_told);
    told.map(|delivery| &events[delivery.event])
}
