//! The snapshot cursor: what was committed since the last batch, exactly once, in the order of
//! capture.
//!
//! A batch is what is visible in one snapshot and not in an earlier one. It is the same whenever it
//! is read, so it may be published in several transactions and read again after a crash.

use super::store::{
    ChangeRow, Cursor, changes_declare, changes_fetch, changes_read, cursor_get, snapshot_now,
};
use crate::db::{Connection, DbError, QueryError, connect};

/// Why no batch could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A statement or the connection failed.
    #[error("the changes can't be read")]
    Database(#[from] DbError),
    /// The source is not registered.
    #[error("source `{0}` is not registered in the repository; run `rowcall migrate`")]
    NoSource(String),
    /// The database is not the one that was read before, or an older state of it.
    #[error(
        "the transaction ids of source `{source_name}` went backwards (read up to {read}, now at \
         {now}): the database was restored or replaced. Reading stops, because changes would be lost \
         or doubled"
    )]
    Backwards {
        /// The source's name.
        source_name: String,
        /// The cursor's upper bound.
        read: u64,
        /// The database's next transaction id.
        now: u64,
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
    /// The most changes of a batch.
    changes_max: usize,
    /// Fewer, after a batch that could not be published.
    changes_now: usize,
    large: Option<LargeBatch>,
}

/// A batch that is too large for one transaction: its own session, which keeps it sorted.
struct LargeBatch {
    connection: Connection,
    snapshot: String,
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
            changes_max,
            changes_now: changes_max,
            large: None,
        }
    }

    /// The last batch could not be published: the next ones are smaller. So one that takes too long
    /// or is too large gets through in pieces, and what can't be published at all stands alone.
    pub fn failed(&mut self) {
        self.changes_now = (self.changes_now / 2).max(1);
    }

    /// The last batch was published: the next ones may be larger again.
    pub fn succeeded(&mut self) {
        self.changes_now = (self.changes_now * 2).min(self.changes_max);
    }

    /// Reads the next changes in the publishing transaction, which must not have written yet: its
    /// own transaction id would be missing from the snapshot. `None`: there are none.
    pub fn read(&mut self, connection: &mut Connection) -> Result<Option<Batch>, ReadError> {
        self.read_upto(connection, None)
    }

    /// As [`Reader::read`]; with `upto`, a snapshot that was taken in the same transaction, the
    /// next batch reaches to it, and is given even if nothing changed. A batch that was begun is
    /// finished first.
    pub fn read_upto(
        &mut self,
        connection: &mut Connection,
        upto: Option<&str>,
    ) -> Result<Option<Batch>, ReadError> {
        let from = cursor_get(connection, &self.source)?
            .ok_or_else(|| ReadError::NoSource(self.source.clone()))?;
        match &from.batch_snapshot {
            Some(snapshot) => {
                let (snapshot, seq) = (snapshot.clone(), from.batch_seq.unwrap_or(i64::MIN));
                let (changes, is_last) = self.next_of_large(&from, &snapshot, seq)?;
                Ok(Some(Self::batch(changes, is_last, from, snapshot)))
            }
            None => {
                self.large = None;
                let snapshot = match upto {
                    Some(snapshot) => snapshot.to_owned(),
                    None => snapshot_now(connection)?,
                };
                self.check_epoch(&from.snapshot, &snapshot)?;
                let limit = self.changes_now as i64;
                let mut changes =
                    changes_read(connection, &from.snapshot, &snapshot, i64::MIN, limit)?;
                let is_last = changes.len() < self.changes_now;
                if changes.is_empty() && upto.is_none() {
                    return Ok(None);
                }
                if !is_last {
                    changes.truncate(whole_moves(&changes));
                }
                Ok(Some(Self::batch(changes, is_last, from, snapshot)))
            }
        }
    }

    fn batch(changes: Vec<ChangeRow>, is_last: bool, from: Cursor, snapshot: String) -> Batch {
        let mut to = from.clone();
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
        snapshot: &str,
        seq: i64,
    ) -> Result<(Vec<ChangeRow>, bool), ReadError> {
        let reusable = self
            .large
            .take()
            .filter(|large| large.snapshot == snapshot && large.seq == seq);
        let mut large = match reusable {
            Some(large) => large,
            None => {
                let mut connection = connect(&self.url)?;
                changes_declare(&mut connection, &from.snapshot, snapshot, seq)?;
                LargeBatch {
                    connection,
                    snapshot: snapshot.to_owned(),
                    seq,
                    carried: Vec::new(),
                }
            }
        };
        let mut changes = std::mem::take(&mut large.carried);
        let wanted = self.changes_now.saturating_sub(changes.len()).max(1);
        let fetched = changes_fetch(&mut large.connection, wanted as i64)?;
        let is_last = fetched.len() < wanted;
        changes.extend(fetched);
        if is_last {
            return Ok((changes, true));
        }
        large.carried = changes.split_off(whole_moves(&changes));
        large.seq = changes.last().map_or(seq, |change| change.seq);
        self.large = Some(large);
        Ok((changes, false))
    }

    fn check_epoch(&self, read: &str, now: &str) -> Result<(), ReadError> {
        let (read, now) = (xmax(read), xmax(now));
        if now < read {
            return Err(ReadError::Backwards {
                source_name: self.source.clone(),
                read,
                now,
            });
        }
        Ok(())
    }
}

/// How many changes of a full chunk to take, so that the two halves of a row's move between
/// partitions stay together: a delete that is its transaction's last here may be the first half. If
/// that left less than half the chunk, all are taken, for a chunk must make progress.
fn whole_moves(changes: &[ChangeRow]) -> usize {
    let mut last_of = std::collections::HashMap::new();
    for (index, change) in changes.iter().enumerate() {
        last_of.insert(change.xid, index);
    }
    let cut = last_of
        .into_values()
        .filter(|index| changes[*index].op == "d" && *index > changes.len() / 2)
        .min();
    cut.unwrap_or(changes.len())
}

/// The upper bound in a snapshot's text, `xmin:xmax:xip,...`.
fn xmax(snapshot: &str) -> u64 {
    snapshot
        .split(':')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn change(xid: i64, op: &str) -> ChangeRow {
        ChangeRow {
            seq: 0,
            xid,
            target: 1,
            relation: 1,
            op: op.to_owned(),
            before: None,
            after: None,
            at: DateTime::<Utc>::UNIX_EPOCH,
            role: String::new(),
            actor: None,
            traceparent: None,
        }
    }

    #[test]
    fn a_chunk_ends_before_what_may_be_half_a_move() {
        let changes: Vec<_> = [(1, "u"), (1, "u"), (1, "u"), (2, "d"), (1, "c")]
            .map(|(x, op)| change(x, op))
            .into();
        assert_eq!(whole_moves(&changes), 3);
        assert_eq!(whole_moves(&changes[..3]), 3);
        assert_eq!(
            whole_moves(&[change(1, "d")]),
            1,
            "a chunk must make progress"
        );
    }

    #[test]
    fn xmax_is_read_from_a_snapshots_text() {
        assert_eq!(xmax("728828:728882:728877,728880"), 728_882);
        assert_eq!(xmax("10:10:"), 10);
    }
}
