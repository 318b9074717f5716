//! The SQL of lanes: what was held back goes on.

use crate::db::kept;
use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Locks what has come to stand first in these lanes, after something in them was settled and
/// before they are released.
///
/// Two kinds of transaction work on such a delivery at the same moment, and neither sees the
/// other's uncommitted part: whoever settles the last one before it in its other lane, if it is a
/// change of the key; and whoever takes back its expired lease. Each would leave its release to the
/// other. With the lock, this transaction waits for the other and then sees all.
///
/// Returns the lanes of what it locked. In the others nothing waits to be released, and nothing
/// will: whoever writes something behind a delivery holds it from being settled.
pub fn lane_head_lock(
    connection: &mut PgConnection,
    lanes: &[(Uuid, i64)],
) -> QueryResult<Vec<(Uuid, i64)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane_previous: Option<i64>,
    }
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = lanes.iter().copied().unzip();
    let locked: Vec<Row> = kept(include_str!("head_lock.sql"))
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .load(connection)?;
    let lanes = |row: Row| {
        let lanes = row.lane.into_iter().chain(row.lane_previous);
        lanes.map(move |lane| (row.subscription_id, lane))
    };
    Ok(locked.into_iter().flat_map(lanes).collect())
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
