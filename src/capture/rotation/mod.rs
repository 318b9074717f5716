//! Rotation of the change table: a new leaf from time to time, and old leaves dropped whole.
//!
//! A leaf is made apart and attached, which never blocks a writer (`CREATE TABLE ... PARTITION OF`
//! would). The trigger functions are then replaced to write into it; a writer that is still in the
//! old function finishes in the old leaf, which stays until retention has passed.

pub mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::store::{
    leaf_attach, leaf_create, leaf_drop, leaf_has_unread, leaf_lock, rotation_close,
    rotation_current, rotation_open, rotations_expired,
};
use super::install::{LOCK_TIMEOUT_MS, store::ddl_lock};
use crate::db::{Connection, QueryError};

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

/// Opens the next leaf if the current one is older than `age`. The functions must be written anew
/// in the same transaction. `None`: it is not due.
pub fn open_next_if_due(
    connection: &mut Connection,
    age: Duration,
    now: DateTime<Utc>,
) -> Result<Option<i32>, QueryError> {
    match rotation_current(connection)? {
        Some(current) if now - current.opened_at >= time_delta(age) => {
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
    /// Something of it is unread.
    Unread,
}

/// The leaves that were closed longer than `retention` ago, the oldest first.
pub fn next_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<i32>, QueryError> {
    rotations_expired(connection, now - time_delta(retention))
}

/// Drops a leaf if it was read to its end; fails if it is in somebody's use. `before` is done with
/// it first, when nobody can write it any more.
pub fn drop_expired(
    connection: &mut Connection,
    number: i32,
    before: impl FnOnce(&mut Connection, i32) -> Result<(), QueryError>,
) -> Result<Expired, QueryError> {
    // Locked before the look, or a late writer could commit between the look and the drop.
    leaf_lock(connection, number, LOCK_TIMEOUT)?;
    if leaf_has_unread(connection, number)? {
        return Ok(Expired::Unread);
    }
    before(connection, number)?;
    leaf_drop(connection, number)?;
    Ok(Expired::Dropped)
}

/// Drops the oldest leaf that [`next_expired`] gives and that was read. Tells how many were
/// dropped: 0 or 1.
pub fn drop_one_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<usize, QueryError> {
    for number in next_expired(connection, retention, now)? {
        if drop_expired(connection, number, |_, _| Ok(()))? == Expired::Dropped {
            return Ok(1);
        }
    }
    Ok(0)
}

fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
