//! The SQL of upkeep.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl, sql_query,
    sql_types::{BigInt, Timestamptz},
};

/// Cancels up to `limit` pending deliveries of deleted subscriptions. Returns how many.
pub(super) fn delivery_cancel_deleted(
    connection: &mut PgConnection,
    limit: i64,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query(
        "with owed as ( \
             select d.id from rowcall.subscription s \
             cross join lateral (select w.id from rowcall.delivery w \
                 where w.subscription_id = s.id and w.state in ('pending', 'held') limit $2) as d \
             where s.state = 'deleted' limit $2), \
         locked as (select d.id from rowcall.delivery d join owed on owed.id = d.id \
             where d.state in ('pending', 'held') order by d.id for update of d skip locked) \
         update rowcall.delivery d set state = 'cancelled', due_at = null, \
             settled_at = greatest($1, d.created_at) \
         from locked where d.id = locked.id",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(connection)
}

/// Forgets what requests with an `Idempotency-Key` made before `before`. Returns how many.
pub(super) fn idempotency_prune(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query("delete from rowcall.idempotency where created_at < $1")
        .bind::<Timestamptz, _>(before)
        .execute(connection)
}

/// Forgets up to `limit` ids of events that were submitted before `before`. Returns how many.
pub(super) fn event_accepted_prune(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    sql_query(
        "delete from rowcall.event_accepted where ctid = any(array( \
             select ctid from rowcall.event_accepted where accepted_at < $1 limit $2 \
             for update skip locked))",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(connection)
}
