//! Rebasing: a source whose database was restored, replaced or rewound is read on.
//!
//! The old cursor can't go on: its snapshot, and the transaction ids of the changes that came with
//! a dump, are of another history. What still says what was read is the pair of both, and the
//! numbers of the changes: of those that the repository holds, exactly those were published that
//! the old cursor's snapshot saw and whose numbers the sequence had given by then. So a rebase
//! 1. keeps every writer out of the change table for a moment. Then all of it is committed, and
//!    nothing has a number above the sequence's last: the *floor*;
//! 2. writes the old cursor down as a *backlog* up to the floor, and begins a new cursor above it
//!    from a snapshot of that moment. The changes below are never again judged by their
//!    transaction ids, so those that the new database gives a second time do no harm;
//! 3. tells the gap, after the backlog and before what is new.
//!
//! Publishing then reads the backlog first. Where the sequence was set back, unread changes are
//! numbered anew before: by their time, which is the order in which they were made.
//!
//! What is published twice, with another id: changes that the lost history published after the
//! state that the restore went back to. Nothing that the database holds is lost, unless
//! [`Unread::Skip`] says so.

pub mod elsewhere;
mod store;

use chrono::{DateTime, Utc};

use self::store::{
    backlog_begin, backlog_count, backlog_drop, change_lock, change_renumber, cursor_begin,
    last_published_at, sequence_fault, sequence_raise, source_resume,
};
use super::{
    LOCK_TIMEOUT_MS, SourceError,
    detach::source_known,
    gap::{
        GapReason, Span,
        store::{gap_capture, gap_record},
    },
    patiently,
};
use crate::{
    capture::{
        epoch::{
            StopKind, judge,
            store::{sighting_take, source_stop},
        },
        store::{cursor_get, doorbell_ring_if_asleep},
    },
    catalog::model::{Catalog, DEFAULT_SOURCE},
    db::{Connection, Database},
};

/// What becomes of the changes that are captured and unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Unread {
    /// They are published.
    Publish,
    /// They are not, and that is told as a gap.
    Skip,
}

/// What a rebase did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebased {
    /// The source is read as ever.
    NotStopped,
    /// It is read on.
    Done {
        /// Why it was stopped.
        reason: String,
        /// How many changes were unread.
        unread: i64,
        /// How many of them had to be numbered anew.
        renumbered: i64,
    },
    /// It is another database, and read on from its present state.
    Skipped {
        /// Why it was stopped.
        reason: String,
    },
}

/// Lets a stopped source be read on.
///
/// # Errors
///
/// If there is no such source, or it is another database than Rowcall's own; if the change table
/// stays in use. Run again, it goes on.
pub async fn rebase(
    database: &Database,
    source: &str,
    unread: Unread,
) -> Result<Rebased, SourceError> {
    let name = source.to_owned();
    let stop = database
        .transaction(move |connection| stop_find(connection, &name))
        .await?;
    let Some((kind, reason)) = stop else {
        return Ok(Rebased::NotStopped);
    };
    let renumbered = renumber(database, source, kind).await?;

    let name = source.to_owned();
    patiently(database, "the change table", move |connection| {
        change_lock(connection, LOCK_TIMEOUT_MS)?;
        // Before anything is written: see `sighting_take`.
        let sighting = sighting_take(connection)?;
        backlog_begin(connection, &name, &sighting)?;
        Ok(cursor_begin(connection, &name, &sighting)?)
    })
    .await?;

    let name = source.to_owned();
    let count = database
        .transaction(move |connection| finish(connection, &name, kind, unread))
        .await?;
    Ok(Rebased::Done {
        reason,
        unread: count,
        renumbered,
    })
}

/// Why the source is stopped, or is to be: what nobody has noticed yet is recorded.
fn stop_find(
    connection: &mut Connection,
    source: &str,
) -> Result<Option<(StopKind, String)>, SourceError> {
    source_known(connection, source)?;
    if source != DEFAULT_SOURCE {
        let name = source.to_owned();
        return Err(SourceError::NotOwn { name });
    }
    if let Some(stopped) = stopped_of(connection, source)? {
        return Ok(Some(stopped));
    }
    let Some(cursor) = cursor_get(connection, source)? else {
        return Ok(None);
    };
    let sighting = sighting_take(connection)?;
    match judge(&cursor, &sighting, None) {
        Ok(()) => Ok(None),
        Err(deviation) => {
            source_stop(connection, source, &deviation)?;
            Ok(Some((deviation.kind(), deviation.to_string())))
        }
    }
}

/// Why the source is stopped, as it is recorded.
fn stopped_of(
    connection: &mut Connection,
    source: &str,
) -> Result<Option<(StopKind, String)>, SourceError> {
    source_known(connection, source)?;
    let Some(cursor) = cursor_get(connection, source)? else {
        return Ok(None);
    };
    Ok(match (&cursor.stop_kind, cursor.stop()) {
        (Some(kind), Some((_, reason))) => Some((StopKind::parse(kind), reason.to_owned())),
        _ => None,
    })
}

/// The object types of a source.
fn object_types(connection: &mut Connection, source: &str) -> Result<Vec<String>, SourceError> {
    let catalog = Catalog::load(connection)?;
    let of_source = catalog
        .object_types
        .iter()
        .filter(|(_, object_type)| object_type.source.0 == source);
    Ok(of_source.map(|(name, _)| name.clone()).collect())
}

/// Makes the numbers of unread changes rise again, if they do not. Returns of how many.
async fn renumber(database: &Database, source: &str, kind: StopKind) -> Result<i64, SourceError> {
    let is_needed = kind == StopKind::Sequence
        || database
            .transaction(|connection| Ok::<_, SourceError>(sequence_fault(connection)?))
            .await?;
    if !is_needed {
        return Ok(0);
    }
    // Behind all numbers there are, and behind room for those that are given anew.
    let name = source.to_owned();
    let base = patiently(database, "the change table", move |connection| {
        change_lock(connection, LOCK_TIMEOUT_MS)?;
        Ok(sequence_raise(connection, &name)?)
    })
    .await?;
    let name = source.to_owned();
    database
        .transaction(move |connection| Ok(change_renumber(connection, &name, base)?))
        .await
}

fn finish(
    connection: &mut Connection,
    source: &str,
    kind: StopKind,
    unread: Unread,
) -> Result<i64, SourceError> {
    let count = backlog_count(connection, source)?;
    let object_types = object_types(connection, source)?;
    let now = store::now(connection)?;
    // Rowcall's clock and the database's may differ.
    let from = last_published_at(connection, source)?.map(|from| from.min(now));
    let mut tell = |reason, from: Option<DateTime<Utc>>, changes| {
        let span = Span { from, to: now };
        gap_record(connection, source, reason, span, changes)?;
        gap_capture(connection, &object_types, reason, span).map(|_| ())
    };
    match kind {
        StopKind::Restored => tell(GapReason::Restored, from, None)?,
        StopKind::Failover => tell(GapReason::Failover, from, None)?,
        // Nothing is missing.
        StopKind::Sequence => {}
    }
    if unread == Unread::Skip && count > 0 {
        tell(GapReason::Skipped, from, Some(count))?;
    }
    if unread == Unread::Skip || count == 0 {
        backlog_drop(connection, source)?;
    }
    source_resume(connection, source)?;
    doorbell_ring_if_asleep(connection)?;
    Ok(count)
}
