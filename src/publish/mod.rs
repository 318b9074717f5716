//! Publishing: changes become events, and events become deliveries, in one transaction with the
//! cursor.
//!
//! Players: [`detect`] makes events of changes, [`event`] is what goes on the wire, [`plan`]
//! decides who is owed what and how each delivery is born, `written` makes rows and chains of that,
//! [`store`] writes them; `work` is the transaction in which they do. [`courtesy`] makes way for
//! the writers. [`submitted`] is what the API accepted instead of a change. [`floor`] is for
//! whoever looks for the events of a time.
//!
//! Guaranteed: each change is published exactly once, because cursor, events and deliveries commit
//! together and the cursor is moved by compare-and-swap. Nothing is sent before that commit.

mod audience;
pub mod courtesy;
pub mod detect;
pub mod event;
pub mod facts;
pub mod floor;
pub mod judge;
mod locks;
pub mod plan;
mod portion;
pub mod store;
pub mod submitted;
mod wanted;
mod work;
mod written;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use self::{
    courtesy::{Courtesy, Seen},
    plan::Places,
    work::{Published, Work},
};
use crate::{
    capture::{
        batch::{ReadError, Reader},
        doorbell::{Doorbell, Duty},
    },
    catalog::model::DEFAULT_SOURCE,
    config::{Limits, PublicUrl},
    db::{Database, DbError, QueryError},
    deliver::outbox::Outbox,
    observe::metrics::{CHANGES_PUBLISHED, DELIVERIES_CREATED, EVENTS_PUBLISHED},
    pace::Pace,
    registry::live::LiveRegistry,
    stage::{Nudge, Progress, Stage},
    start::Starts,
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
    /// It would have made too many deliveries for one transaction; so many changes of it do not.
    #[error("the batch is to be published in pieces of {0} changes")]
    Split(usize),
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
    /// Rung when events were published, of which a digest may have been opened.
    gathered: Nudge,
    /// Nobody rings when a start that waits can go on.
    has_waiting: bool,
    courtesy: Courtesy,
    /// How fast the writers write, whatever is read of it.
    writers: Pace,
    /// For how long the writers come first, after the last run.
    pause: Duration,
    /// How many places the next run would need, if the last one found too few for a large batch.
    wanted_places: usize,
    events: metrics::Counter,
    changes: metrics::Counter,
    deliveries: metrics::Counter,
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
            gathered: Nudge::default(),
            has_waiting: false,
            courtesy: Courtesy::new(limits.writers_first()),
            writers: Pace::default(),
            pause: Duration::ZERO,
            wanted_places: 0,
            events: metrics::counter!(EVENTS_PUBLISHED),
            changes: metrics::counter!(CHANGES_PUBLISHED),
            deliveries: metrics::counter!(DELIVERIES_CREATED),
        }
    }
}

impl Publish {
    /// The same, and it rings `gathered` whenever it has published events.
    #[must_use]
    pub fn telling(mut self, gathered: Nudge) -> Self {
        self.gathered = gathered;
        self
    }

    /// Lets the size of batches follow what became of this one.
    fn learn(&self, published: &Result<Published, PublishError>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match published {
            Ok(published) => return work.reader.succeeded(published.fitting),
            Err(PublishError::Overtaken) => {}
            Err(PublishError::Split(changes)) => work.reader.limit(*changes),
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
        let wanted = Places {
            all: room.len(),
            aside: room.aside(),
        };
        let publishing = self.database.run(move |connection| {
            let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
            work.publish(connection, wanted, started, now)
        });
        let published = self.doorbell.beside(publishing).await;
        self.learn(&published);
        let published = match published {
            Ok(published) => published,
            Err(PublishError::Overtaken) => return Ok(Progress::Idle),
            Err(PublishError::Split(_)) => return Ok(Progress::Worked),
            Err(error) => return Err(error),
        };
        // First, since somebody waits for them.
        for chain in published.chains {
            self.outbox.push(chain, &mut room);
        }
        let found = published.changes.max(usize::from(published.has_start));
        self.doorbell.found(found, started).await;
        self.writers.count(published.written, started);
        self.pause = published.since.map_or(Duration::ZERO, |since| {
            self.courtesy.pause(Seen {
                answered_in: published.answered_in,
                ran_for: started.elapsed(),
                behind: (now - since).to_std().unwrap_or_default(),
                is_fast: self.writers.is_very_high(),
            })
        });
        self.has_waiting = published.has_waiting;
        self.changes.increment(published.changes as u64);
        self.events.increment(published.events as u64);
        self.deliveries.increment(published.deliveries as u64);
        if published.has_due {
            self.outbox.look();
        }
        let is_large = published.deliveries >= portion::DELIVERIES / 2;
        self.wanted_places = if published.has_due && is_large {
            published.deliveries
        } else {
            0
        };
        if published.events > 0 {
            self.gathered.ring();
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
        // What is not born claimed has to be claimed, which costs about as much as to publish it.
        self.outbox.wait_for_births(self.wanted_places).await;
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        if self.has_waiting {
            return tokio::time::sleep(WAITING_POLL).await;
        }
        self.doorbell.rest().await;
    }
}
