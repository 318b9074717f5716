//! Dead deliveries that hold their lanes, by `on_dead = "block"` of their subscription.
//!
//! A delivery that dies so stays dead in the account, and stands in its lanes as if it were not
//! settled: what is published behind it waits. Its lanes go on when an operator has sent it again
//! with success or has released it.
//!
//! The locks are those of settling (`lease_held`, then `lane_head_lock`): publishing either waits
//! for whoever unblocks, and sees the lane free, or is waited for, and its delivery is seen.

pub mod store;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::store::{BlockingRow, delivery_blocking_lock, delivery_blocking_of, delivery_unblock};
use super::store::{lane_head_lock, lane_release};
use crate::db::{Connection, QueryError};

/// Lets the lanes of those of `deliveries` go on that hold them. Returns how many did.
///
/// Belongs into a transaction that has locked no delivery. `barrier_ends` is when a delayed
/// delivery is due that has to wait for its event's synchronous ones.
///
/// # Errors
///
/// Those of the database.
pub fn unblock(
    connection: &mut Connection,
    deliveries: &[Uuid],
    now: DateTime<Utc>,
    barrier_ends: DateTime<Utc>,
) -> Result<usize, QueryError> {
    if deliveries.is_empty() {
        return Ok(0);
    }
    let blocking = delivery_blocking_lock(connection, deliveries)?;
    if blocking.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = blocking.iter().map(|row| row.id).collect();
    delivery_unblock(connection, &ids)?;
    let mut lanes: Vec<(Uuid, i64)> = blocking.iter().flat_map(BlockingRow::lanes).collect();
    lanes.sort_unstable();
    lanes.dedup();
    lane_head_lock(connection, &lanes)?;
    lane_release(connection, &lanes, now, barrier_ends)?;
    Ok(ids.len())
}

/// Lets all lanes of a subscription go on that does not block any more. Ring the sender after the
/// commit.
///
/// # Errors
///
/// Those of the database.
pub fn unblock_all(
    connection: &mut Connection,
    subscription: Uuid,
    now: DateTime<Utc>,
) -> Result<usize, QueryError> {
    let blocking = delivery_blocking_of(connection, subscription)?;
    // Claiming looks at the barrier once more, so what is due too early by this waits there.
    unblock(connection, &blocking, now, now)
}
