//! SQL of idempotency keys.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Binary, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = SqlUuid)]
    resource_id: Uuid,
}

/// The fingerprint of the request that first had the key, and what it made.
pub(super) fn idempotency_get(
    connection: &mut PgConnection,
    principal: &str,
    key: &str,
) -> QueryResult<Option<(Vec<u8>, Uuid)>> {
    let row: Option<Row> = sql_query(
        "select fingerprint, resource_id from rowcall.idempotency where principal = $1 and key = $2",
    )
    .bind::<Text, _>(principal)
    .bind::<Text, _>(key)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| (row.fingerprint, row.resource_id)))
}

/// Keeps a key. Fails if it is kept already.
pub(super) fn idempotency_insert(
    connection: &mut PgConnection,
    principal: &str,
    key: &str,
    fingerprint: &[u8],
    resource: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.idempotency (principal, key, fingerprint, resource_id, created_at) \
         values ($1, $2, $3, $4, $5)",
    )
    .bind::<Text, _>(principal)
    .bind::<Text, _>(key)
    .bind::<Binary, _>(fingerprint)
    .bind::<SqlUuid, _>(resource)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Keeps a key, unless it is kept already.
pub(super) fn idempotency_ensure(
    connection: &mut PgConnection,
    principal: &str,
    key: &str,
    fingerprint: &[u8],
    resource: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.idempotency (principal, key, fingerprint, resource_id, created_at) \
         values ($1, $2, $3, $4, $5) on conflict (principal, key) do nothing",
    )
    .bind::<Text, _>(principal)
    .bind::<Text, _>(key)
    .bind::<Binary, _>(fingerprint)
    .bind::<SqlUuid, _>(resource)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}
