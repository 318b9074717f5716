//! SQL of subscriptions as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
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

#[derive(QueryableByName)]
struct Sealed {
    #[diesel(sql_type = Nullable<Binary>)]
    secret: Option<Vec<u8>>,
}

/// The encrypted secret of a subscription that is not deleted.
pub(super) fn subscription_secret(
    connection: &mut PgConnection,
    id: Uuid,
) -> QueryResult<Option<Vec<u8>>> {
    let sealed: Option<Sealed> =
        sql_query("select secret from rowcall.subscription where id = $1 and state <> 'deleted'")
            .bind::<SqlUuid, _>(id)
            .get_result(connection)
            .optional()?;
    Ok(sealed.and_then(|sealed| sealed.secret))
}
