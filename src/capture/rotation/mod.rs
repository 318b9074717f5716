//! Rotation of the change table: a new leaf from time to time, and old leaves dropped whole.
//!
//! A leaf is made apart and attached, which never blocks a writer (`CREATE TABLE ... PARTITION OF`
//! would). The trigger functions are then replaced to write into it; a writer that is still in the
//! old function finishes in the old leaf, which stays until retention has passed.

pub mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::store::{
    leaf_attach, leaf_create, leaf_drop, leaf_has_unread, leaf_is_empty, leaf_lock, leaf_truncate,
    rotation_close, rotation_current, rotation_open, rotations_expired,
};
use super::install::{LOCK_TIMEOUT_MS, store::ddl_lock};
use crate::db::{Connection, QueryError, transaction};

/// How long a DROP may wait for the leaf's lock, and make writers behind it wait, before it is left
/// for the next time.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// The number of the leaf that is written; opens the first if there is none.
pub fn current_or_first(
    connection: &mut Connection,
    now: DateTime<Utc>,
) -> Result<i32, QueryError> {
    match rotation_current(connection)? {
        Some(current) => Ok(current.number),
        None => open(connection, 1, now),
    }
}

/// The number of the leaf that is written, for who writes into it by itself. Where nothing was ever
/// captured the first one is opened, under the lock that those who change leaves take.
pub fn writable(connection: &mut Connection, now: DateTime<Utc>) -> Result<i32, QueryError> {
    if let Some(current) = rotation_current(connection)? {
        return Ok(current.number);
    }
    ddl_lock(connection, LOCK_TIMEOUT_MS)?;
    current_or_first(connection, now)
}

/// Whether a leaf that was opened then is older than `age`.
#[must_use]
pub fn is_due(opened_at: DateTime<Utc>, age: Duration, now: DateTime<Utc>) -> bool {
    now - opened_at >= time_delta(age)
}

/// Opens the next leaf if the current one is older than `age`. The functions must be written anew
/// in the same transaction. `None`: it is not due.
pub fn open_next_if_due(
    connection: &mut Connection,
    age: Duration,
    now: DateTime<Utc>,
) -> Result<Option<i32>, QueryError> {
    match rotation_current(connection)? {
        Some(current) if is_due(current.opened_at, age, now) => {
            rotation_close(connection, current.number, now)?;
            open(connection, current.number + 1, now).map(Some)
        }
        _ => Ok(None),
    }
}

fn open(connection: &mut Connection, number: i32, now: DateTime<Utc>) -> Result<i32, QueryError> {
    leaf_create(connection, number)?;
    leaf_attach(connection, number)?;
    rotation_open(connection, number, now)?;
    Ok(number)
}

/// What became of a leaf that retention has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It is gone.
    Dropped,
    /// Its changes are gone; it could not be dropped, because the change table is in use.
    Emptied,
    /// Something of it is unread.
    Unread,
    /// It is in use, or it is empty and can't be dropped.
    Kept,
}

/// The leaves that were closed longer than `retention` ago, the oldest first.
pub fn next_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<i32>, QueryError> {
    rotations_expired(connection, now - time_delta(retention))
}

/// Drops or empties a leaf, if it was read to its end and is in nobody's use. `before` is done with
/// it first, when nobody can write it any more.
///
/// A transaction that nobody ends, as one that was prepared, keeps the leaf that it wrote into, and
/// may keep the whole change table from losing one; then the others are emptied, which needs no
/// lock but theirs, and are dropped when it has ended. Once the change table's lock was not to be
/// had, `may_drop` is false and it is not waited for again: new writers wait behind it.
pub fn remove_expired(
    connection: &mut Connection,
    number: i32,
    may_drop: &mut bool,
    before: impl Fn(&mut Connection, i32) -> Result<(), QueryError>,
) -> Result<Expired, QueryError> {
    // A savepoint: what was not to be had ends no more than this.
    let removed = transaction(connection, |connection| {
        // Locked before the look, or a late writer could commit between the look and the drop.
        leaf_lock(connection, number, LOCK_TIMEOUT)?;
        if leaf_has_unread(connection, number)? {
            return Ok(Expired::Unread);
        }
        if *may_drop {
            let dropped = transaction(connection, |connection| {
                before(connection, number)?;
                leaf_drop(connection, number)
            });
            match dropped {
                Ok(()) => return Ok(Expired::Dropped),
                Err(error) if is_lock_timeout(&error) => *may_drop = false,
                Err(error) => return Err(error),
            }
        }
        if leaf_is_empty(connection, number)? {
            return Ok(Expired::Kept);
        }
        before(connection, number)?;
        leaf_truncate(connection, number)?;
        Ok(Expired::Emptied)
    });
    match removed {
        Err(error) if is_lock_timeout(&error) => {
            tracing::info!(leaf = number, "an old leaf is in use; it is dropped later");
            Ok(Expired::Kept)
        }
        removed => removed,
    }
}

/// Drops or empties the oldest leaf that [`next_expired`] gives and that can be. Tells how many
/// were: 0 or 1.
pub fn drop_one_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<usize, QueryError> {
    let mut may_drop = true;
    for number in next_expired(connection, retention, now)? {
        match remove_expired(connection, number, &mut may_drop, |_, _| Ok(()))? {
            Expired::Dropped | Expired::Emptied => return Ok(1),
            Expired::Unread | Expired::Kept => {}
        }
    }
    Ok(0)
}

/// Diesel keeps no SQLSTATE for it.
fn is_lock_timeout(error: &QueryError) -> bool {
    error.to_string().contains("lock timeout")
}

fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
