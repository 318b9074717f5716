//! The SQL of lanes: what was held back goes on.

use crate::db::kept;
use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    sql_types::{Array, BigInt, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Locks what has come to stand first in these lanes, after something in them was settled and
/// before they are released.
///
/// Two kinds of transaction work on such a delivery at the same moment, and neither sees the
/// other's uncommitted part: whoever settles the last one before it in its other lane, if it is a
/// change of the key; and whoever takes back its expired lease. Each would leave its release to the
/// other. With the lock, this transaction waits for the other and then sees all.
pub fn lane_head_lock(connection: &mut PgConnection, lanes: &[(Uuid, i64)]) -> QueryResult<usize> {
    if lanes.is_empty() {
        return Ok(0);
    }
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = lanes.iter().copied().unzip();
    kept(include_str!("head_lock.sql"))
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .execute(connection)
}

/// Makes the heads of these lanes due, after something in them was settled or returned. A delayed
/// one that has to wait for its event's synchronous ones is due at `barrier_ends`. Returns how many
/// it released.
pub fn lane_release(
    connection: &mut PgConnection,
    lanes: &[(Uuid, i64)],
    now: DateTime<Utc>,
    barrier_ends: DateTime<Utc>,
) -> QueryResult<usize> {
    if lanes.is_empty() {
        return Ok(0);
    }
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = lanes.iter().copied().unzip();
    kept(include_str!("release.sql"))
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(barrier_ends)
        .execute(connection)
}
