//! The SQL of the barrier.

use crate::db::kept;
use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    sql_types::{Array, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Makes the delayed deliveries of these events due whose synchronous ones are all tried.
/// `barrier_ends` is when one would be due that was written now. Returns how many.
pub fn barrier_release(
    connection: &mut PgConnection,
    events: &[Uuid],
    now: DateTime<Utc>,
    barrier_ends: DateTime<Utc>,
) -> QueryResult<usize> {
    if events.is_empty() {
        return Ok(0);
    }
    // Two that try the last two synchronous deliveries of an event at the same moment do not see
    // each other. Here one waits for the other, and the statement after it sees all.
    kept(include_str!("lock.sql"))
        .bind::<Array<SqlUuid>, _>(events)
        .execute(connection)?;
    kept(include_str!("release.sql"))
        .bind::<Array<SqlUuid>, _>(events)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(barrier_ends)
        .execute(connection)
}
