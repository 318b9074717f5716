//! One publishing transaction: a batch of changes is read, judged and planned, and written together
//! with the cursor.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    PublishError,
    detect::{Circumstances, Ids, detect},
    event::Event,
    judge::judge_all,
    locks::{busy_lanes, sequences, wanted_lanes},
    plan::{Birth, Places, Planned, assign, matched},
    portion::Portion,
    store::{NewBatch, batch_insert},
    written::{Lease, Written},
};
use crate::{
    capture::{
        batch::{Batch, Reader},
        store::Advance,
    },
    catalog::model::DEFAULT_SOURCE,
    config::PublicUrl,
    constraint::{judge::Decision, store::judgement_insert},
    db::{Connection, transaction},
    deliver::chain::Chain,
    digest::gather::digest_gather,
    registry::{
        live::{LiveRegistry, Registry},
        registry_share,
    },
    start::{Around, Starts, Turn},
};

/// What a publishing transaction needs on its blocking thread.
pub(super) struct Work {
    pub(super) reader: Reader,
    pub(super) registry: LiveRegistry,
    /// What the links in events begin with.
    pub(super) public_url: Option<PublicUrl>,
    pub(super) starts: Starts,
    pub(super) lease: Duration,
    /// The longest that a delayed delivery waits for its event's synchronous ones.
    pub(super) barrier: Duration,
}

/// What a transaction published.
#[derive(Default)]
pub(super) struct Published {
    pub(super) changes: usize,
    /// A start went on, or one may have been registered.
    pub(super) has_start: bool,
    /// A start is under way that can't go on now, and may soon.
    pub(super) has_waiting: bool,
    pub(super) events: usize,
    pub(super) deliveries: usize,
    pub(super) chains: Vec<Chain>,
    pub(super) has_due: bool,
    /// A digest is full.
    pub(super) has_closed: bool,
    /// How long the server took to answer the first question.
    pub(super) answered_in: Duration,
    /// How many changes were written since the last look.
    pub(super) written: usize,
    /// When the first of the changes was made.
    pub(super) since: Option<DateTime<Utc>>,
    /// How many such changes fit into one transaction.
    pub(super) fitting: usize,
}

impl Work {
    /// Publishes the next batch, if there is one, and what a start has to add. `room` is how many
    /// deliveries may be born claimed; `started` goes with `now`.
    pub(super) fn publish(
        &mut self,
        connection: &mut Connection,
        room: Places,
        started: Instant,
        now: DateTime<Utc>,
    ) -> Result<Published, PublishError> {
        if self.starts.are_idle() {
            // Of the looks that find nothing most are such. They begin no transaction, and what
            // others find is the same in another transaction.
            let Some(batch) = self.reader.read(connection)? else {
                return Ok(self.nothing(&Turn::default()));
            };
            return transaction(connection, |connection| {
                self.write(connection, Turn::default(), batch, room, started, now)
            });
        }
        transaction(connection, |connection| {
            // Snapshots come before anything is written: see `Reader::read` and `Starts::prepare`.
            let turn = self.starts.prepare(connection, &self.registry)?;
            match self.reader.read_upto(connection, turn.upto())? {
                Some(batch) => self.write(connection, turn, batch, room, started, now),
                None => Ok(self.nothing(&turn)),
            }
        })
    }

    /// There were no changes.
    fn nothing(&mut self, turn: &Turn) -> Published {
        let is_noticed = self.starts.notice(self.reader.registry_revision());
        Published {
            has_start: is_noticed || turn.is_retried(),
            has_waiting: turn.waits(),
            fitting: usize::MAX,
            written: self.reader.written(),
            ..Published::default()
        }
    }

    fn write(
        &mut self,
        connection: &mut Connection,
        turn: Turn,
        batch: Batch,
        room: Places,
        started: Instant,
        now: DateTime<Utc>,
    ) -> Result<Published, PublishError> {
        let waits = turn.waits();
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
        let portion = Portion {
            changes: count,
            deliveries: planned.len(),
            body_bytes: events.iter().map(|event| event.body.len()).sum(),
        };
        if portion.is_to_be_split() {
            return Err(PublishError::Split(portion.fitting()));
        }
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
        let new_batch = NewBatch {
            events: new_events,
            deliveries: &rows,
            lease: lease.id,
            advance: Advance {
                source: DEFAULT_SOURCE,
                from: &from,
                to: &to,
                changes: count,
            },
        };
        if !batch_insert(connection, new_batch, now)? {
            return Err(PublishError::Overtaken);
        }
        judgement_insert(connection, &judgements)?;
        let gathered = digest_gather(connection, &written.gatherings(), now)?;
        let told = planned.iter().filter(|delivery| delivery.is_of_start);
        brought.record(connection, told.count(), from.revision + 1, now)?;
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
            written: self.reader.written(),
            since,
            fitting: portion.fitting(),
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
