//! SQL of digests as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct DigestRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) subscription_name: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) number: Option<i64>,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) opened_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) closed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) close_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) closed_by: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub(super) events: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) vanished: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) parts: Option<i32>,
}

/// Digests by id, newest first, older than `before`; only those of one subscription, or of the
/// subscriptions of `owner`, if they are given.
pub(super) fn digest_list(
    connection: &mut PgConnection,
    subscription: Option<Uuid>,
    owner: Option<&str>,
    before: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<DigestRow>> {
    sql_query(
        "select d.id, d.subscription_id, s.name as subscription_name, d.number, d.state, \
             d.opened_at, d.closed_at, \
             case when d.state = 'open' then d.close_at end as close_at, \
             d.closed_by, d.events, d.vanished, d.parts \
         from rowcall.digest d join rowcall.subscription s on s.id = d.subscription_id \
         where ($1 is null or d.subscription_id = $1) and ($2 is null or s.owner = $2) \
             and ($3 is null or d.id < $3) \
         order by d.id desc limit $4",
    )
    .bind::<Nullable<SqlUuid>, _>(subscription)
    .bind::<Nullable<Text>, _>(owner)
    .bind::<Nullable<SqlUuid>, _>(before)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}
