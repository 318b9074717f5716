//! SQL of subscriptions as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) state_reason: Option<String>,
    #[diesel(sql_type = Text)]
    pub(super) origin: String,
    #[diesel(sql_type = Text)]
    pub(super) definition: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) updated_at: DateTime<Utc>,
}

/// One subscription that is not deleted; only `owner`'s, if one is given.
pub(super) fn subscription_get(
    connection: &mut PgConnection,
    id: Uuid,
    owner: Option<&str>,
) -> QueryResult<Option<Row>> {
    sql_query(
        "select id, name, state, state_reason, origin, definition::text as definition, \
             created_at, updated_at \
         from rowcall.subscription \
         where id = $1 and state <> 'deleted' and ($2 is null or owner = $2)",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

/// Subscriptions that are not deleted, by id, behind `after`; only `owner`'s, if one is given.
pub(super) fn subscription_list(
    connection: &mut PgConnection,
    owner: Option<&str>,
    after: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<Row>> {
    sql_query(
        "select id, name, state, state_reason, origin, definition::text as definition, \
             created_at, updated_at \
         from rowcall.subscription \
         where state <> 'deleted' and ($1 is null or owner = $1) and ($2 is null or id > $2) \
         order by id limit $3",
    )
    .bind::<Nullable<Text>, _>(owner)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}

/// The public key of a subscription, and until when its previous secret signs.
#[derive(QueryableByName)]
pub(super) struct SignedBy {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) public_key: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) previous_until: Option<DateTime<Utc>>,
}

/// What there is to tell of how these subscriptions are signed.
pub(super) fn signed_by(connection: &mut PgConnection, ids: &[Uuid]) -> QueryResult<Vec<SignedBy>> {
    sql_query(
        "select s.id, s.public_key, x.valid_until as previous_until from rowcall.subscription s \
         left join rowcall.subscription_secret x \
             on x.subscription_id = s.id and x.kind = 'previous' \
         where s.id = any ($1) and (s.public_key is not null or x.valid_until is not null)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)
}
