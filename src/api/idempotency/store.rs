//! SQL of idempotency keys.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{super::events::ledger::Name, KeyName};
use crate::db::kept;

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

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    principal: String,
    #[diesel(sql_type = Text)]
    key: String,
}

#[derive(QueryableByName)]
struct FingerprintRow {
    #[diesel(sql_type = Nullable<Binary>)]
    fingerprint: Option<Vec<u8>>,
}

/// Keys of requests that make nothing of their own and may be done twice.
impl Name for KeyName<'_> {
    fn claim(
        connection: &mut PgConnection,
        names: &[(Self, &[u8])],
        now: DateTime<Utc>,
    ) -> QueryResult<Vec<bool>> {
        let rows: Vec<NameRow> = kept(
            "insert into rowcall.idempotency \
                 (principal, key, fingerprint, resource_id, created_at) \
             select k.principal, k.key, k.fingerprint, $4, $5 \
             from unnest($1, $2, $3) with ordinality as k (principal, key, fingerprint, place) \
             order by k.place on conflict (principal, key) do nothing returning principal, key",
        )
        .bind::<Array<Text>, _>(
            names
                .iter()
                .map(|(name, _)| name.principal)
                .collect::<Vec<_>>(),
        )
        .bind::<Array<Text>, _>(names.iter().map(|(name, _)| name.key).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(names.iter().map(|(_, print)| *print).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(Uuid::nil())
        .bind::<Timestamptz, _>(now)
        .load(connection)?;
        let new: BTreeSet<KeyName<'_>> = rows
            .iter()
            .map(|NameRow { principal, key }| KeyName { principal, key })
            .collect();
        Ok(names.iter().map(|(name, _)| new.contains(name)).collect())
    }

    fn digests(connection: &mut PgConnection, names: &[Self]) -> QueryResult<Vec<Option<Vec<u8>>>> {
        let rows: Vec<FingerprintRow> = kept(
            "select i.fingerprint from unnest($1, $2) with ordinality as k (principal, key, place) \
             left join rowcall.idempotency i on i.principal = k.principal and i.key = k.key \
             order by k.place",
        )
        .bind::<Array<Text>, _>(names.iter().map(|name| name.principal).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(names.iter().map(|name| name.key).collect::<Vec<_>>())
        .load(connection)?;
        Ok(rows.into_iter().map(|row| row.fingerprint).collect())
    }

    fn forget(connection: &mut PgConnection, names: &[Self]) -> QueryResult<()> {
        kept(
            "delete from rowcall.idempotency i using unnest($1, $2) as k (principal, key) \
             where i.principal = k.principal and i.key = k.key",
        )
        .bind::<Array<Text>, _>(names.iter().map(|name| name.principal).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(names.iter().map(|name| name.key).collect::<Vec<_>>())
        .execute(connection)
        .map(drop)
    }
}
