//! The SQL of backlogs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::{
    db::kept,
    deliver::{
        barrier::store::barrier_release,
        lane::store::{lane_head_lock, lane_release},
    },
    subscription::store::delivery_park,
};

/// A delivery that is not kept any longer; locked.
#[derive(Debug, QueryableByName)]
pub(super) struct Beyond {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    subscription_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    lane: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    lane_previous: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    awaited: Option<Uuid>,
}

/// Locks what disabled subscriptions are owed since before a time.
pub(super) fn backlog_beyond_age(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Beyond>> {
    kept(include_str!("beyond_age.sql"))
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(limit)
        .load(connection)
}

/// Locks what subscriptions that are not active are owed beyond the newest `count`.
pub(super) fn backlog_beyond_count(
    connection: &mut PgConnection,
    count: i64,
    limit: i64,
) -> QueryResult<Vec<Beyond>> {
    kept(include_str!("beyond_count.sql"))
        .bind::<BigInt, _>(count)
        .bind::<BigInt, _>(limit)
        .load(connection)
}

/// Cancels what is beyond, and lets what waits behind it take its place in the backlog. Returns how
/// many.
pub(super) fn delivery_cancel(
    connection: &mut PgConnection,
    beyond: &[Beyond],
    why: &str,
    barrier_ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    if beyond.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = beyond.iter().map(|row| row.id).collect();
    let cancelled = kept(
        "update rowcall.delivery set state = 'cancelled', cancelled_by = $2, due_at = null, \
             settled_at = greatest($3, created_at) \
         where id = any($1) and settled_at is null and lease_until is null",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Text, _>(why)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    let lanes: BTreeSet<(Uuid, i64)> = beyond
        .iter()
        .flat_map(|row| {
            let lanes = row.lane.into_iter().chain(row.lane_previous);
            lanes.map(|lane| (row.subscription_id, lane))
        })
        .collect();
    let lanes: Vec<(Uuid, i64)> = lanes.into_iter().collect();
    lane_head_lock(connection, &lanes)?;
    lane_release(connection, &lanes, now, barrier_ends)?;
    let subscriptions: BTreeSet<Uuid> = beyond.iter().map(|row| row.subscription_id).collect();
    for id in subscriptions {
        delivery_park(connection, id)?;
    }
    let awaited: Vec<Uuid> = beyond.iter().filter_map(|row| row.awaited).collect();
    barrier_release(connection, &awaited, now, barrier_ends)?;
    Ok(cancelled)
}
