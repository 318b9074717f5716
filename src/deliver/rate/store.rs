//! The SQL of rates.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Reads when the buckets of these subscriptions are full again, and keeps other claims from them
/// until the transaction ends. One that was never used is full.
pub fn bucket_lock(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<Vec<(Uuid, DateTime<Utc>)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        full_at: DateTime<Utc>,
    }
    if subscriptions.is_empty() {
        return Ok(Vec::new());
    }
    sql_query(
        "insert into rowcall.subscription_rate (subscription_id, full_at) \
         select s.id, $2 from unnest($1) as s (id) order by s.id on conflict do nothing",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    let rows: Vec<Row> = sql_query(
        "select subscription_id, full_at from rowcall.subscription_rate \
         where subscription_id = any($1) order by subscription_id for no key update",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)?;
    let row = |row: Row| (row.subscription_id, row.full_at);
    Ok(rows.into_iter().map(row).collect())
}

/// Writes buckets that [`bucket_lock`] has locked.
pub fn bucket_save(
    connection: &mut PgConnection,
    buckets: &[(Uuid, DateTime<Utc>)],
) -> QueryResult<()> {
    if buckets.is_empty() {
        return Ok(());
    }
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = buckets.iter().copied().unzip();
    sql_query(
        "update rowcall.subscription_rate r set full_at = b.full_at \
         from unnest($1, $2) as b (id, full_at) where r.subscription_id = b.id",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Timestamptz>, _>(times)
    .execute(connection)
    .map(|_| ())
}
