//! The SQL of the barrier.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl, sql_query,
    sql_types::{Array, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::super::outbox::HOST_FULL_WAIT;

/// Makes the delayed deliveries of these events due whose synchronous ones are all tried. Returns
/// how many.
pub fn barrier_release(
    connection: &mut PgConnection,
    events: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    if events.is_empty() {
        return Ok(0);
    }
    sql_query(include_str!("release.sql"))
        .bind::<Array<SqlUuid>, _>(events)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(now + HOST_FULL_WAIT)
        .execute(connection)
}
