//! The SQL of windows that nobody closed in time.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A window that ended, and in which nothing happened.
#[derive(Clone, Debug)]
pub(super) struct Empty {
    pub(super) id: Uuid,
    pub(super) subscription_id: Uuid,
    pub(super) number: i64,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Writes digests without events that are born closed.
pub(super) fn empty_insert(connection: &mut PgConnection, windows: &[Empty]) -> QueryResult<()> {
    fn column<T>(windows: &[Empty], of: impl Fn(&Empty) -> T) -> Vec<T> {
        windows.iter().map(of).collect()
    }
    sql_query(
        "insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, \
             closed_by, close_at, close_by) \
         select w.id, w.subscription_id, w.number, 'closed', w.opened_at, w.closed_at, \
             'schedule', w.closed_at, 'schedule' \
         from unnest($1, $2, $3, $4, $5) as w (id, subscription_id, number, opened_at, closed_at)",
    )
    .bind::<Array<SqlUuid>, _>(column(windows, |one| one.id))
    .bind::<Array<SqlUuid>, _>(column(windows, |one| one.subscription_id))
    .bind::<Array<BigInt>, _>(column(windows, |one| one.number))
    .bind::<Array<Timestamptz>, _>(column(windows, |one| one.from))
    .bind::<Array<Timestamptz>, _>(column(windows, |one| one.to))
    .execute(connection)
    .map(drop)
}

/// Lets the windows of those among the digests `new` begin later whose subscriptions are in
/// `begins`.
pub(super) fn digest_begin(
    connection: &mut PgConnection,
    new: &[Uuid],
    begins: &[(Uuid, DateTime<Utc>)],
) -> QueryResult<()> {
    let (subscriptions, at): (Vec<Uuid>, Vec<DateTime<Utc>>) = begins.iter().copied().unzip();
    sql_query(
        "update rowcall.digest d set opened_at = b.at from unnest($2, $3) as b (id, at) \
         where d.id = any($1) and d.subscription_id = b.id",
    )
    .bind::<Array<SqlUuid>, _>(new)
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .bind::<Array<Timestamptz>, _>(at)
    .execute(connection)
    .map(drop)
}
