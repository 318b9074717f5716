//! The SQL of subscriptions whose attempts all fail.
//!
//! Locks of these rows come after those of deliveries, and in the order of the subscriptions' ids.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::Failing;
use crate::db::kept;

/// Notes attempts that failed, each subscription's in one.
pub fn failing_note(connection: &mut PgConnection, failed: &[Failing]) -> QueryResult<()> {
    fn column<'a, T>(failed: &'a [Failing], of: impl Fn(&'a Failing) -> T) -> Vec<T> {
        failed.iter().map(of).collect()
    }
    if failed.is_empty() {
        return Ok(());
    }
    // One that is deleted meanwhile has nothing more to be disabled.
    kept(
        "insert into rowcall.subscription_failing as f \
             (subscription_id, since, last_at, failures, last_detail) \
         select n.id, n.since, n.last_at, n.failures, n.detail \
         from unnest($1, $2, $3, $4, $5) as n (id, since, last_at, failures, detail) \
         join rowcall.subscription s on s.id = n.id and s.state in ('active', 'paused') \
         order by n.id \
         on conflict (subscription_id) do update set \
             since = least(f.since, excluded.since), \
             last_at = greatest(f.last_at, excluded.last_at), \
             failures = f.failures + excluded.failures, \
             last_detail = excluded.last_detail",
    )
    .bind::<Array<SqlUuid>, _>(column(failed, |one| one.subscription_id))
    .bind::<Array<Timestamptz>, _>(column(failed, |one| one.since))
    .bind::<Array<Timestamptz>, _>(column(failed, |one| one.last_at))
    .bind::<Array<BigInt>, _>(column(failed, |one| one.failures))
    .bind::<Array<Text>, _>(column(failed, |one| one.last_detail.as_str()))
    .execute(connection)
    .map(drop)
}

/// Locks what is noted of these subscriptions, before some of it is removed and some added to: in
/// two steps, and without this, two transactions could wait for each other.
pub fn failing_lock(connection: &mut PgConnection, ids: &[Uuid]) -> QueryResult<()> {
    kept(
        "select from rowcall.subscription_failing where subscription_id = any($1) \
         order by subscription_id for update",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(connection)
    .map(drop)
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    subscription_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    last_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    failures: i64,
    #[diesel(sql_type = Text)]
    last_detail: String,
    #[diesel(sql_type = Nullable<Text>)]
    retry: Option<String>,
}

impl Row {
    fn failing(self) -> Failing {
        Failing {
            subscription_id: self.subscription_id,
            since: self.since,
            last_at: self.last_at,
            failures: self.failures,
            last_detail: self.last_detail,
        }
    }
}

/// Removes what is noted of a subscription, and returns it.
pub fn failing_take(connection: &mut PgConnection, id: Uuid) -> QueryResult<Option<Failing>> {
    let row: Option<Row> = kept(
        "delete from rowcall.subscription_failing where subscription_id = $1 \
         returning subscription_id, since, last_at, failures, last_detail, null::text as retry",
    )
    .bind::<SqlUuid, _>(id)
    .get_result(connection)
    .optional()?;
    Ok(row.map(Row::failing))
}

/// Active subscriptions of which at least `failures_min` attempts failed in a row, each with how it
/// is tried as it was asked for, in JSON. The longest first.
pub fn failing_list(
    connection: &mut PgConnection,
    failures_min: i64,
) -> QueryResult<Vec<(Failing, Option<String>)>> {
    let rows: Vec<Row> = kept(
        "select f.subscription_id, f.since, f.last_at, f.failures, f.last_detail, \
             (s.definition -> 'retry')::text as retry \
         from rowcall.subscription_failing f \
         join rowcall.subscription s on s.id = f.subscription_id \
         where s.state = 'active' and f.failures >= $1 order by f.since, s.id",
    )
    .bind::<BigInt, _>(failures_min)
    .load(connection)?;
    let read = |mut row: Row| {
        let retry = row.retry.take();
        (row.failing(), retry)
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Locks what is noted of a subscription, and tells whether it fails since that time still.
pub fn failing_still(
    connection: &mut PgConnection,
    id: Uuid,
    since: DateTime<Utc>,
) -> QueryResult<bool> {
    let found = kept(
        "select from rowcall.subscription_failing where subscription_id = $1 and since = $2 \
         for update",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(since)
    .execute(connection)?;
    Ok(found == 1)
}
