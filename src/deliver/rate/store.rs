//! The SQL of rates.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Array, Nullable, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::Stored;
use crate::db::kept;

/// Reads the buckets of these subscriptions, and keeps other claims from them until the transaction
/// ends. One that was never used is full.
pub fn bucket_lock(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<Vec<(Uuid, Stored)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        full_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        told_upto: Option<DateTime<Utc>>,
    }
    if subscriptions.is_empty() {
        return Ok(Vec::new());
    }
    kept(
        "insert into rowcall.subscription_rate (subscription_id, full_at) \
         select s.id, $2 from unnest($1) as s (id) order by s.id on conflict do nothing",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    let rows: Vec<Row> = kept(
        "select subscription_id, full_at, told_upto from rowcall.subscription_rate \
         where subscription_id = any($1) order by subscription_id for no key update",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)?;
    let row = |row: Row| {
        let (full_at, told_upto) = (row.full_at, row.told_upto);
        (row.subscription_id, Stored { full_at, told_upto })
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Writes buckets that [`bucket_lock`] has locked.
pub fn bucket_save(connection: &mut PgConnection, buckets: &[(Uuid, Stored)]) -> QueryResult<()> {
    if buckets.is_empty() {
        return Ok(());
    }
    let (ids, stored): (Vec<Uuid>, Vec<Stored>) = buckets.iter().copied().unzip();
    kept(
        "update rowcall.subscription_rate r \
         set full_at = b.full_at, told_upto = b.told_upto \
         from unnest($1, $2, $3) as b (id, full_at, told_upto) where r.subscription_id = b.id",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Timestamptz>, _>(stored.iter().map(|one| one.full_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(
        stored.iter().map(|one| one.told_upto).collect::<Vec<_>>(),
    )
    .execute(connection)
    .map(|_| ())
}
