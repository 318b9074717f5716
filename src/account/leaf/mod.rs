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
    capture::rotation::{Expired, next_expired, remove_expired},
    db::{Connection, QueryError},
};

/// Drops or empties the oldest leaf that retention has passed, as
/// [`rotation`](crate::capture::rotation) does, and counts it: in one run the count, in the next
/// the drop. Tells how much was done: 0 or 1.
///
/// # Errors
///
/// Those of the database.
pub fn drop_one_expired(
    connection: &mut Connection,
    retention: Duration,
    now: DateTime<Utc>,
) -> Result<usize, QueryError> {
    let mut may_drop = true;
    for number in next_expired(connection, retention, now)? {
        if !leaf_is_counted(connection, number)? {
            leaf_count(connection, number)?;
            return Ok(1);
        }
        match remove_expired(connection, number, &mut may_drop, dropped_add)? {
            Expired::Dropped | Expired::Emptied => return Ok(1),
            Expired::Unread | Expired::Kept => {}
        }
    }
    Ok(0)
}
