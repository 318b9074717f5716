//! SQL of replays as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

#[derive(Debug, QueryableByName)]
pub(super) struct ReplayRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) subscription_name: String,
    #[diesel(sql_type = Text)]
    pub(super) asked_by: String,
    #[diesel(sql_type = Text)]
    pub(super) selection: String,
    #[diesel(sql_type = Text)]
    pub(super) rate: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) reason: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    pub(super) found: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) gone: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) sent: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) failed: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) cancelled: i64,
    /// The time of the first event that is kept.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) first_kept: Option<DateTime<Utc>>,
}

/// What is shown of the replays `r`.
const SHOWN: &str = "select r.id, r.subscription_id, s.name as subscription_name, r.asked_by, \
        r.selection::text as selection, r.rate, r.state, r.reason, r.created_at, r.ended_at, \
        r.found, r.gone, r.sent, r.failed, r.cancelled, \
        (select e.\"time\" from rowcall.event e order by e.position limit 1) as first_kept \
    from rowcall.replay r join rowcall.subscription s on s.id = r.subscription_id";

/// One replay; only if it is of a subscription of `owner`, if one is given.
pub(super) fn replay_get(
    connection: &mut PgConnection,
    id: Uuid,
    owner: Option<&str>,
) -> QueryResult<Option<ReplayRow>> {
    sql_query(format!(
        "{SHOWN} where r.id = $1 and ($2 is null or s.owner = $2)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

/// Replays by id, newest first, older than `before`; only those of one subscription, or of the
/// subscriptions of `owner`, if they are given.
pub(super) fn replay_list(
    connection: &mut PgConnection,
    subscription: Option<Uuid>,
    owner: Option<&str>,
    before: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<ReplayRow>> {
    sql_query(format!(
        "{SHOWN} where ($1 is null or r.subscription_id = $1) and ($2 is null or s.owner = $2) \
             and ($3 is null or r.id < $3) \
         order by r.id desc limit $4"
    ))
    .bind::<Nullable<SqlUuid>, _>(subscription)
    .bind::<Nullable<Text>, _>(owner)
    .bind::<Nullable<SqlUuid>, _>(before)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The subscription with this id or name that is not deleted; only if it is of `owner`, if one is
/// given.
pub(super) fn subscription_find(
    connection: &mut PgConnection,
    id_or_name: &str,
    owner: Option<&str>,
) -> QueryResult<Option<Uuid>> {
    let row: Option<IdRow> = sql_query(
        "select id from rowcall.subscription \
         where (id = $1 or name = $2) and state <> 'deleted' and ($3 is null or owner = $3) \
         order by coalesce(id = $1, false) desc limit 1",
    )
    .bind::<Nullable<SqlUuid>, _>(Uuid::parse_str(id_or_name).ok())
    .bind::<Text, _>(id_or_name)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.id))
}

#[derive(QueryableByName)]
pub(super) struct SubscriptionRow {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Text)]
    pub(super) definition: String,
}

/// A subscription, deleted or not.
pub(super) fn subscription_get(
    connection: &mut PgConnection,
    id: Uuid,
) -> QueryResult<Option<SubscriptionRow>> {
    sql_query(
        "select name, state, definition::text as definition from rowcall.subscription \
         where id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .get_result(connection)
    .optional()
}
