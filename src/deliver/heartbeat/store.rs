//! SQL of heartbeats.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::db::kept;

/// What a heartbeat tells a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Numbers {
    /// Which one.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// The last number that was given; 0 before the first.
    #[diesel(sql_type = BigInt)]
    pub assigned: i64,
    /// The largest number up to which each is of a settled delivery.
    #[diesel(sql_type = BigInt)]
    pub settled_through: i64,
}

/// Makes the heartbeats those that are `wanted`: subscription, and milliseconds between two. One
/// that is new, or has another interval, is due one interval from now. Run it under the registry's
/// lock, which orders it with edits of the registration list.
pub(super) fn heartbeat_sync(
    connection: &mut PgConnection,
    wanted: &[(Uuid, i64)],
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let (ids, intervals): (Vec<Uuid>, Vec<i64>) = wanted.iter().copied().unzip();
    kept(
        "with wanted as ( \
             select w.subscription_id, w.every_ms \
             from unnest($1, $2) as w (subscription_id, every_ms)), \
         gone as ( \
             delete from rowcall.heartbeat h where not exists ( \
                 select from wanted w where w.subscription_id = h.subscription_id)) \
         insert into rowcall.heartbeat as h (subscription_id, every_ms, due_at) \
         select w.subscription_id, w.every_ms, $3 + w.every_ms * interval '1 millisecond' \
         from wanted w \
         where not exists (select from rowcall.heartbeat as o \
             where o.subscription_id = w.subscription_id and o.every_ms = w.every_ms) \
         order by w.subscription_id \
         on conflict (subscription_id) do update \
             set every_ms = excluded.every_ms, due_at = excluded.due_at \
             where h.every_ms <> excluded.every_ms",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<BigInt>, _>(intervals)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Claims up to `limit` heartbeats that are due: nobody else sends them.
pub fn heartbeat_claim(
    connection: &mut PgConnection,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Numbers>> {
    kept(include_str!("claim.sql"))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
        .load(connection)
}

/// Makes claimed heartbeats due at `at` after all.
pub(super) fn heartbeat_defer(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
    at: DateTime<Utc>,
) -> QueryResult<()> {
    kept("update rowcall.heartbeat set due_at = least(due_at, $2) where subscription_id = any($1)")
        .bind::<Array<SqlUuid>, _>(subscriptions)
        .bind::<Timestamptz, _>(at)
        .execute(connection)
        .map(drop)
}

/// When the next one is due.
pub(super) fn heartbeat_next_at(
    connection: &mut PgConnection,
) -> QueryResult<Option<DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        next: Option<DateTime<Utc>>,
    }
    let row: Row =
        kept("select min(due_at) as next from rowcall.heartbeat").get_result(connection)?;
    Ok(row.next)
}
