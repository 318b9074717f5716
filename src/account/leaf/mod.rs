//! Leaves of the change table that retention drops, counted so that the account stays exact.
//!
//! A leaf may be large, and whoever drops it keeps readers out. So it is counted ahead, without a
//! lock, as of a snapshot. The transaction that drops it adds the changes that the snapshot did not
//! see, which the index on `xid` finds at once: of a leaf that was closed days ago there are none.

mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};

use self::store::{dropped_add, leaf_count, leaf_is_counted};
use crate::{
    capture::rotation::{Expired, drop_expired, next_expired},
    db::{Connection, QueryError},
};

/// Drops the oldest leaf that retention has passed, as [`rotation`](crate::capture::rotation) does,
/// and counts it: in one run the count, in the next the drop. Tells how much was done: 0 or 1.
///
/// # Errors
///
/// Those of the database; also if the leaf is in use.
pub fn drop_one_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<usize, QueryError> {
    for number in next_expired(connection, retention, now)? {
        if !leaf_is_counted(connection, number)? {
            leaf_count(connection, number)?;
            return Ok(1);
        }
        if drop_expired(connection, number, dropped_add)? == Expired::Dropped {
            return Ok(1);
        }
    }
    Ok(0)
}
