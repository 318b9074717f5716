//! The snapshot cursor: what was committed since the last batch, exactly once, in the order of
//! capture.
//!
//! A batch is what is visible in one snapshot and not in an earlier one. It is the same whenever it
//! is read, so it may be published in several transactions and read again after a crash.

use std::time::{Duration, Instant};

use super::{
    cut::whole_moves,
    epoch::{
        Deviation, judge, judge_numbers,
        store::{Sighting, epoch_adopt, source_stop},
    },
    store::{
        ChangeRow, Cursor, Look, backlog_declare, changes_declare, changes_fetch, changes_read,
        look,
    },
};
use crate::{
    db::{Connection, DbError, QueryError, connect},
    stage::chain,
};

/// Why no batch could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A statement or the connection failed.
    #[error("the changes can't be read")]
    Database(#[from] DbError),
    /// The source is not registered.
    #[error("source `{0}` is not registered in the repository; run `rowcall migrate`")]
    NoSource(String),
    /// The database is not the one that was read before, or an earlier state of it.
    #[error(
        "source `{source_name}` is not read any more, because changes would be lost or doubled: \
         {reason}. See what happened to the database, then run `rowcall source rebase {source_name}`"
    )]
    Stopped {
        /// The source's name.
        source_name: String,
        /// What differs, see [`Deviation`].
        reason: String,
    },
}

impl From<QueryError> for ReadError {
    fn from(error: QueryError) -> Self {
        Self::Database(error.into())
    }
}

/// Some changes, and how the cursor moves when they are published.
#[derive(Debug)]
pub struct Batch {
    /// In the order of capture; empty only where a batch that was split ends at a chunk's end, and
    /// where a batch was asked for up to a snapshot.
    pub changes: Vec<ChangeRow>,
    /// The cursor that they were read from.
    pub from: Cursor,
    /// The cursor after them; its position is publishing's to set.
    pub to: Cursor,
}

/// Reads a source, batch by batch.
pub struct Reader {
    source: String,
    url: String,
    /// Where a stop is recorded; none, if that is the database that is read.
    repository_url: Option<String>,
    /// The most changes of a batch.
    changes_max: usize,
    /// Fewer, after a batch that could not be published, or whose changes made much.
    changes_now: usize,
    large: Option<LargeBatch>,
    /// The highest revision of the cursor that was read.
    revision_seen: Option<i64>,
    /// How long the server took to answer with the cursor.
    answered_in: Duration,
    /// The last number that was given to a change, at the last look.
    seq_last: Option<i64>,
    /// How many were given between that look and the one before.
    written: usize,
    /// The registry's revision at that look.
    registry_revision: i64,
}

/// What is read in several transactions.
#[derive(Clone, PartialEq, Eq)]
enum Part {
    /// What is visible in this snapshot and not in the cursor's.
    Batch(String),
    /// What was unread when the source was rebased.
    Backlog,
}

/// A batch that is too large for one transaction: its own session, which keeps it sorted.
struct LargeBatch {
    connection: Connection,
    part: Part,
    /// The last change handed out.
    seq: i64,
    /// Fetched, but left for the next chunk.
    carried: Vec<ChangeRow>,
}

impl Reader {
    /// A reader of `source` that takes at most `changes_max` changes at a time. `url` is used for a
    /// second session while a larger batch is published.
    #[must_use]
    pub fn new(source: &str, url: &str, changes_max: usize) -> Self {
        Self {
            source: source.to_owned(),
            url: url.to_owned(),
            repository_url: None,
            changes_max,
            changes_now: changes_max,
            large: None,
            revision_seen: None,
            answered_in: Duration::ZERO,
            seq_last: None,
            written: 0,
            registry_revision: 0,
        }
    }

    /// How long the server took, the last time, for a statement that finds one row by its key.
    #[must_use]
    pub fn answered_in(&self) -> Duration {
        self.answered_in
    }

    /// How many changes were written between the last two looks, also by transactions that are
    /// still open.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// The registry's revision when this was read, of a source that is its own repository.
    #[must_use]
    pub fn registry_revision(&self) -> i64 {
        self.registry_revision
    }

    /// The cursor is kept in another database than the one that is read.
    #[must_use]
    pub fn of_repository(mut self, repository_url: &str) -> Self {
        self.repository_url = Some(repository_url.to_owned());
        self
    }

    /// The last batch could not be published: the next ones are smaller. So one that takes too long
    /// or is too large gets through in pieces, and what can't be published at all stands alone.
    pub fn failed(&mut self) {
        self.changes_now = (self.changes_now / 2).max(1);
    }

    /// The last batch was published: the next ones may be larger again, up to so many changes as
    /// are `fitting` into one transaction.
    pub fn succeeded(&mut self, fitting: usize) {
        self.changes_now = (self.changes_now * 2).min(self.changes_max);
        self.limit(fitting);
    }

    /// The next batch has so many changes at most, and one at least.
    pub fn limit(&mut self, changes: usize) {
        self.changes_now = self.changes_now.min(changes).max(1);
    }

    /// Reads the next changes. The transaction, if there is one, must not have written yet: its own
    /// transaction id would be missing from the snapshot. `None`: there are none.
    pub fn read(&mut self, connection: &mut Connection) -> Result<Option<Batch>, ReadError> {
        self.read_upto(connection, None)
    }

    /// As [`Reader::read`]; with `upto`, a snapshot that was taken before in the same transaction,
    /// the next batch reaches to it, and is given even if nothing changed. A batch that was begun
    /// is finished first.
    pub fn read_upto(
        &mut self,
        connection: &mut Connection,
        upto: Option<&str>,
    ) -> Result<Option<Batch>, ReadError> {
        let asked = Instant::now();
        let Look {
            cursor: from,
            sighting,
            registry_revision,
        } = look(connection, &self.source)?
            .ok_or_else(|| ReadError::NoSource(self.source.clone()))?;
        self.answered_in = asked.elapsed();
        self.registry_revision = registry_revision;
        self.judge(&from, &sighting)?;
        let written = self.seq_last.map_or(0, |last| sighting.seq_last - last);
        self.written = usize::try_from(written).unwrap_or(0);
        self.seq_last = Some(sighting.seq_last);
        let first_of = sighting.epoch().filter(|_| from.epoch().is_none());
        let batch = self.next(connection, from, &sighting, upto)?;
        // Last: a stop is recorded in another session, which would wait for this one's lock.
        if let Some(epoch) = first_of {
            epoch_adopt(connection, &self.source, epoch)?;
        }
        Ok(batch)
    }

    /// Reads the next changes after `from`, a cursor of the repository, in the database of
    /// `connection`, of which `sighting` was just taken. `None`: there are none.
    pub fn read_there(
        &mut self,
        connection: &mut Connection,
        from: Cursor,
        sighting: &Sighting,
    ) -> Result<Option<Batch>, ReadError> {
        self.judge(&from, sighting)?;
        self.next(connection, from, sighting, None)
    }

    fn next(
        &mut self,
        connection: &mut Connection,
        from: Cursor,
        sighting: &Sighting,
        upto: Option<&str>,
    ) -> Result<Option<Batch>, ReadError> {
        if let Some(seq) = from.backlog_seq {
            let (changes, is_last) = self.next_of_large(&from, Part::Backlog, seq)?;
            let mut to = from.clone();
            to.backlog_seq = match changes.last() {
                Some(last) if !is_last => Some(last.seq),
                _ => None,
            };
            return Ok(Some(Batch { changes, from, to }));
        }
        if let Some(snapshot) = from.batch_snapshot.clone() {
            let seq = from.batch_seq.unwrap_or(from.seq_floor);
            let part = Part::Batch(snapshot.clone());
            let (changes, is_last) = self.next_of_large(&from, part, seq)?;
            self.check_numbers(&changes, sighting.seq_last)?;
            return Ok(Some(Self::batch(
                changes, is_last, from, snapshot, sighting,
            )));
        }
        self.large = None;
        let limit = self.changes_now as i64;
        let snapshot = upto.unwrap_or(&sighting.snapshot).to_owned();
        let mut changes =
            changes_read(connection, &from.snapshot, &snapshot, from.seq_floor, limit)?;
        self.check_numbers(&changes, sighting.seq_last)?;
        let is_last = changes.len() < self.changes_now;
        if changes.is_empty() && upto.is_none() {
            return Ok(None);
        }
        if !is_last {
            changes.truncate(whole_moves(&changes));
        }
        Ok(Some(Self::batch(
            changes, is_last, from, snapshot, sighting,
        )))
    }

    fn batch(
        changes: Vec<ChangeRow>,
        is_last: bool,
        from: Cursor,
        snapshot: String,
        sighting: &Sighting,
    ) -> Batch {
        let mut to = from.clone();
        to.seq_seen = from.seq_seen.max(sighting.seq_last);
        if is_last {
            to.snapshot = snapshot;
            to.batch_snapshot = None;
            to.batch_seq = None;
        } else {
            to.batch_snapshot = Some(snapshot);
            to.batch_seq = changes.last().map(|change| change.seq).or(from.batch_seq);
        }
        Batch { changes, from, to }
    }

    /// The next chunk of a batch that was begun, and whether it is the last. After a restart, or
    /// after a transaction that was rolled back, the batch is opened again behind what was
    /// published.
    fn next_of_large(
        &mut self,
        from: &Cursor,
        part: Part,
        seq: i64,
    ) -> Result<(Vec<ChangeRow>, bool), ReadError> {
        let reusable = self
            .large
            .take()
            .filter(|large| large.part == part && large.seq == seq);
        let mut large = match reusable {
            Some(large) => large,
            None => self.open_large(from, part, seq)?,
        };
        let mut changes = std::mem::take(&mut large.carried);
        let wanted = self.changes_now.saturating_sub(changes.len());
        if wanted > 0 {
            let fetched = changes_fetch(&mut large.connection, wanted as i64)?;
            let is_last = fetched.len() < wanted;
            changes.extend(fetched);
            if is_last {
                return Ok((changes, true));
            }
        }
        large.carried = changes.split_off(whole_moves(&changes[..self.changes_now]));
        large.seq = changes.last().map_or(seq, |change| change.seq);
        self.large = Some(large);
        Ok((changes, false))
    }

    fn open_large(&self, from: &Cursor, part: Part, seq: i64) -> Result<LargeBatch, ReadError> {
        let mut connection = connect(&self.url)?;
        match &part {
            Part::Batch(snapshot) => {
                changes_declare(&mut connection, &from.snapshot, snapshot, seq)?;
            }
            Part::Backlog => backlog_declare(&mut connection, &self.source, seq)?,
        }
        // It begins with the last change that was published. Two of that number would mean that the
        // second is passed over.
        let mut carried = changes_fetch(&mut connection, 2)?;
        self.check_numbers(&carried, i64::MAX)?;
        if carried.first().is_some_and(|change| change.seq == seq) {
            carried.remove(0);
        }
        Ok(LargeBatch {
            connection,
            part,
            seq,
            carried,
        })
    }

    /// Stops the reading if the source is not the one that was read before.
    fn judge(&mut self, from: &Cursor, sighting: &Sighting) -> Result<(), ReadError> {
        if let Some((_, reason)) = from.stop() {
            // What is read after the rebase is another history.
            self.revision_seen = None;
            return Err(self.stopped(reason.to_owned()));
        }
        judge(from, sighting, self.revision_seen).map_err(|deviation| self.stop(&deviation))?;
        self.revision_seen = self.revision_seen.max(Some(from.revision));
        Ok(())
    }

    fn check_numbers(&self, changes: &[ChangeRow], seq_last: i64) -> Result<(), ReadError> {
        judge_numbers(changes.iter().map(|change| change.seq), seq_last)
            .map_err(|deviation| self.stop(&deviation))
    }

    /// Records the stop in a session of its own, for the transaction that reads, if there is one,
    /// is rolled back: the deviation must not be forgotten when the numbers have caught up.
    fn stop(&self, deviation: &Deviation) -> ReadError {
        let url = self.repository_url.as_ref().unwrap_or(&self.url);
        let recorded = connect(url).and_then(|mut connection| {
            source_stop(&mut connection, &self.source, deviation).map_err(DbError::from)
        });
        if let Err(error) = recorded {
            tracing::error!(
                source = self.source,
                error = chain(&error),
                "the stop is not recorded; it will be tried again"
            );
        }
        self.stopped(deviation.to_string())
    }

    fn stopped(&self, reason: String) -> ReadError {
        ReadError::Stopped {
            source_name: self.source.clone(),
            reason,
        }
    }
}
