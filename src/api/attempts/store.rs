//! SQL of attempts as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::deliver::attempt::store::Whose;

/// Attempts that are shown of each: the last ones.
const ATTEMPTS_MAX: i64 = 100;

#[derive(Debug, QueryableByName)]
pub(super) struct AttemptRow {
    /// The delivery, or the item of a replay.
    #[diesel(sql_type = SqlUuid)]
    pub(super) of_id: Uuid,
    #[diesel(sql_type = Integer)]
    pub(super) number: i32,
    #[diesel(sql_type = Timestamptz)]
    pub(super) started_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(super) duration_ms: i32,
    #[diesel(sql_type = Text)]
    pub(super) outcome: String,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) status: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) detail: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) answer: Option<String>,
}

/// The last attempts of each of `ids`, each one's in their order.
pub(super) fn attempt_list(
    connection: &mut PgConnection,
    whose: Whose,
    ids: &[Uuid],
) -> QueryResult<Vec<AttemptRow>> {
    let (table, of) = whose.table();
    sql_query(format!(
        "select l.* from unnest($1) as i (id) cross join lateral ( \
             select {of} as of_id, number, started_at, duration_ms, outcome, status, detail, \
                 answer \
             from rowcall.{table} where {of} = i.id order by number desc limit $2) as l \
         order by l.of_id, l.number"
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<BigInt, _>(ATTEMPTS_MAX)
    .load(connection)
}
