//! How a subscription begins with what is there already: with the rows of its tables, or with the
//! events since a time.
//!
//! Players: [`begin`] writes down at registration that there is a start; [`Starts`], a part of the
//! publisher, gives the starts that are under way their turns, one for each publishing transaction;
//! `existing` reads the next rows, `past` the next events; [`shown`] tells how far they are. What
//! they give is published like everything else, and in the same transaction as their progress.
//!
//! Guaranteed for rows: a chunk is read before the transaction has an id, with its snapshot, and
//! published by the transaction that brings the cursor to that very snapshot. So each row is told
//! as it was when all changes before were told, and all changes after it come later: nothing is
//! missed, and nothing is told that was no longer so. An object whose row the subscription has from
//! an event of a change is not told again.
//!
//! Guaranteed for events: while its start is under way the subscription is owed nothing else, and
//! the transaction in which the start reaches the last event makes it live. So every event is owed
//! once, and in order.

pub mod begin;
mod existing;
mod past;
mod rows;
pub mod shown;
mod store;
mod trial;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(crate) use self::existing::{Around, Chunk};
use self::{
    existing::{Reading, object_type_of},
    past::{Recall, recall},
    store::{Advance, RunningRow, TurnRow, start_advance, start_fail, start_next, start_running},
    trial::{Bounds, Trial},
};
use crate::{
    capture::store::{Cursor, cursor_get, snapshot_now},
    catalog::model::DEFAULT_SOURCE,
    config::Limits,
    db::{Connection, DbError, QueryError},
    publish::event::Event,
    registry::{
        live::{LiveRegistry, Registry},
        registry_revision,
    },
};

/// Why the start of a subscription fails that another version wrote.
const UNREADABLE: &str = "this version of Rowcall can't read the subscription's definition";

/// The publisher's part: which starts are under way, and whose turn it is.
pub(crate) struct Starts {
    bounds: Bounds,
    recall_bounds: past::Bounds,
    undelivered_max: i64,
    /// At this revision of the registry no start was under way.
    idle_at: Option<i64>,
    /// Read, and to be published when the cursor has reached its snapshot.
    held: Option<Box<Chunk>>,
    trials: HashMap<Uuid, Trial>,
}

/// What a publishing transaction found about starts before it had an id.
#[derive(Default)]
pub(crate) struct Turn {
    revision: i64,
    running: Vec<RunningRow>,
    /// The turn of one that tells events.
    of_events: Option<TurnRow>,
    failed: Option<(Uuid, String)>,
    upto: Option<String>,
    waits: bool,
    is_retried: bool,
}

impl Turn {
    /// Up to which snapshot the next batch must be read.
    pub(crate) fn upto(&self) -> Option<&str> {
        self.upto.as_deref()
    }

    /// Whether fewer rows of a start are to be read at once, for those were too many.
    pub(crate) fn is_retried(&self) -> bool {
        self.is_retried
    }

    /// Whether a start is under way that could not have a turn now, and may soon.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }
}

/// What starts bring to a publishing transaction.
#[derive(Default)]
pub(crate) struct Brought {
    /// Subscriptions that are owed no events of this batch, by their places in the registry.
    pub(crate) deferred: HashSet<u32>,
    /// Past events for one subscription.
    pub(crate) recalled: Vec<Event>,
    /// Rows for one subscription.
    pub(crate) chunk: Option<Box<Chunk>>,
    advance: Option<Advance>,
    failed: Option<(Uuid, String)>,
    is_put_off: bool,
}

impl Starts {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes_max = limits.start_bytes_per_chunk_max;
        Self {
            bounds: Bounds {
                rows_max: limits.start_rows_per_chunk_max,
                bytes_max,
                value_bytes_max: limits.value_bytes_max,
            },
            recall_bounds: past::Bounds {
                // At full load it must be faster than what is published meanwhile.
                events_max: limits
                    .start_rows_per_chunk_max
                    .max(limits.changes_per_batch_max),
                bytes_max,
            },
            undelivered_max: i64::try_from(limits.start_undelivered_max).unwrap_or(i64::MAX),
            idle_at: None,
            held: None,
            trials: HashMap::new(),
        }
    }

    /// The last transaction was not committed: what it read is to be read again.
    pub(crate) fn failed(&mut self) {
        self.held = None;
    }

    /// Whether no start was under way when this was last looked at.
    pub(crate) fn are_idle(&self) -> bool {
        self.idle_at.is_some()
    }

    /// Whether something may have been registered since, by the registry's present `revision`. For
    /// the publisher that finds no changes; with changes it sees for itself.
    pub(crate) fn notice(&mut self, revision: i64) -> bool {
        let is_same = self.idle_at.is_none_or(|idle_at| idle_at == revision);
        if !is_same {
            self.idle_at = None;
        }
        !is_same
    }

    /// Finds whose turn it is, and reads the rows of one that tells rows, if the cursor stands
    /// between two batches. To be called before the transaction has an id.
    pub(crate) fn prepare(
        &mut self,
        connection: &mut Connection,
        registry: &LiveRegistry,
    ) -> Result<Turn, DbError> {
        if self.are_idle() {
            return Ok(Turn::default());
        }
        // Before the list: what is registered in between is then noticed.
        let revision = registry_revision(connection)?;
        let running = start_running(connection)?;
        if running.is_empty() {
            self.idle(revision);
            return Ok(Turn::default());
        }
        let cursor = cursor_get(connection, DEFAULT_SOURCE)?.unwrap_or_default();
        if cursor.backlog_seq.is_some() {
            // What was unread when the source was rebased comes first.
            return Ok(Turn {
                revision,
                running,
                ..Turn::default()
            });
        }
        let batch = cursor.batch_snapshot;
        // One that is held belongs to the batch that is being published, or to none.
        self.held = self
            .held
            .take()
            .filter(|chunk| batch.as_ref() == Some(&chunk.snapshot) && chunk.revision == revision);
        let mut turn = Turn {
            revision,
            waits: running.iter().any(|start| start.is_active),
            running,
            ..Turn::default()
        };
        if self.held.is_some() {
            turn.waits = false;
            return Ok(turn);
        }
        let resting: Vec<Uuid> = self.resting().collect();
        let Some(next) = start_next(connection, &resting, self.undelivered_max)? else {
            return Ok(turn);
        };
        if next.since.is_some() {
            turn.waits = false;
            turn.of_events = Some(next);
        } else if batch.is_none() {
            self.read(connection, &next, revision, registry, &mut turn)?;
        }
        if turn.upto.is_none()
            && batch.is_none()
            && (turn.of_events.is_some() || turn.failed.is_some())
        {
            turn.upto = Some(snapshot_now(connection)?);
        }
        Ok(turn)
    }

    fn read(
        &mut self,
        connection: &mut Connection,
        next: &TurnRow,
        revision: i64,
        registry: &LiveRegistry,
        turn: &mut Turn,
    ) -> Result<(), DbError> {
        let id = next.subscription_id;
        let registry = registry.at(connection, revision)?;
        let Some(place) = registry.by_id.get(&id) else {
            turn.failed = Some((id, UNREADABLE.to_owned()));
            return Ok(());
        };
        let registered = &registry.subscriptions[*place as usize];
        let target = registry.target(object_type_of(next));
        let trial = self
            .trials
            .entry(id)
            .or_insert_with(|| Trial::new(self.bounds));
        match existing::read(
            connection,
            next,
            registered,
            target,
            revision,
            trial,
            self.bounds,
        )? {
            Reading::Read(chunk) => {
                turn.waits = false;
                turn.upto = Some(chunk.snapshot.clone());
                self.held = Some(chunk);
            }
            Reading::Failed(reason) => turn.failed = Some((id, reason)),
            Reading::Later => turn.is_retried = !trial.is_resting(),
        }
        Ok(())
    }

    /// What goes into the transaction that moves the cursor `from` one place `to` another, by the
    /// registry that it holds the lock of.
    pub(crate) fn bring(
        &mut self,
        connection: &mut Connection,
        turn: Turn,
        registry: &Registry,
        from: &Cursor,
        to: &Cursor,
    ) -> Result<Brought, DbError> {
        if self.idle_at == Some(registry.revision) {
            return Ok(Brought::default());
        }
        let is_same = turn.revision == registry.revision;
        let running = if is_same && !turn.running.is_empty() {
            turn.running
        } else {
            start_running(connection)?
        };
        if running.is_empty() {
            self.idle(registry.revision);
            return Ok(Brought::default());
        }
        self.idle_at = None;
        let of_events = running.iter().filter(|start| start.is_of_events);
        let mut brought = Brought {
            deferred: of_events
                .filter_map(|start| registry.by_id.get(&start.subscription_id).copied())
                .collect(),
            failed: turn.failed,
            ..Brought::default()
        };
        if !is_same {
            // Somebody edited the catalogue or a subscription since: it is looked at anew.
            self.held = None;
            brought.is_put_off = true;
            return Ok(brought);
        }
        let is_reached =
            |chunk: &Chunk| to.batch_snapshot.is_none() && chunk.snapshot == to.snapshot;
        if self.held.as_deref().is_some_and(is_reached) {
            brought.chunk = self.held.take();
            brought.advance = brought.chunk.as_ref().map(|chunk| chunk.advance.clone());
        }
        if let Some(next) = &turn.of_events
            && let Some(since) = next.since
        {
            let Some(place) = registry.by_id.get(&next.subscription_id) else {
                brought.failed = Some((next.subscription_id, UNREADABLE.to_owned()));
                return Ok(brought);
            };
            let registered = &registry.subscriptions[*place as usize];
            let Recall { events, advance } = recall(
                connection,
                next,
                since,
                registered,
                registry,
                from.position,
                self.recall_bounds,
            )?;
            if advance.is_done {
                brought.deferred.remove(place);
            }
            brought.recalled = events;
            brought.advance = Some(advance);
        }
        Ok(brought)
    }

    fn idle(&mut self, revision: i64) {
        self.idle_at = Some(revision);
        self.held = None;
        self.trials.clear();
    }

    fn resting(&self) -> impl Iterator<Item = Uuid> {
        let trials = self.trials.iter();
        trials
            .filter(|(_, trial)| trial.is_resting())
            .map(|(id, _)| *id)
    }
}

impl Brought {
    /// Whether a start went on, or would have.
    pub(crate) fn is_work(&self) -> bool {
        self.advance.is_some() || self.failed.is_some() || self.is_put_off
    }

    /// Writes down how far the start has come; `told` events are owed to its subscription. The
    /// source's revision tells the turns apart.
    pub(crate) fn record(
        &self,
        connection: &mut Connection,
        told: usize,
        revision: i64,
        now: DateTime<Utc>,
    ) -> Result<(), QueryError> {
        if let Some((subscription, reason)) = &self.failed {
            tracing::warn!(%subscription, reason, "a start failed");
            start_fail(connection, *subscription, reason, now)?;
        }
        match &self.advance {
            Some(advance) => start_advance(connection, advance, told as i64, revision, now),
            None => Ok(()),
        }
    }
}
