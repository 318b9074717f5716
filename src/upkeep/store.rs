//! The SQL of upkeep.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};

/// What upkeep finds when it looks: see due.sql.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Due {
    #[diesel(embed)]
    pub(super) ground: Ground,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) leaf_opened_at: Option<DateTime<Utc>>,
    /// A leaf may be dropped.
    #[diesel(sql_type = Bool)]
    pub(super) has_expired: bool,
    /// A deleted subscription is owed something.
    #[diesel(sql_type = Bool)]
    pub(super) has_orphans: bool,
    /// A subscription may have failed for too long.
    #[diesel(sql_type = Bool)]
    pub(super) has_failing: bool,
    /// A subscription keeps a backlog.
    #[diesel(sql_type = Bool)]
    pub(super) has_stopped: bool,
    #[diesel(sql_type = Bool)]
    pub(super) has_old_keys: bool,
    #[diesel(sql_type = Bool)]
    pub(super) has_old_rates: bool,
    #[diesel(sql_type = Bool)]
    pub(super) has_old_ids: bool,
    #[diesel(sql_type = Bool)]
    pub(super) has_old_secrets: bool,
}

/// What triggers and their functions are made of, beside the tables.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub(super) struct Ground {
    /// Of the registry.
    #[diesel(sql_type = BigInt)]
    revision: i64,
    /// The one that is written; none before the first.
    #[diesel(sql_type = Nullable<Integer>)]
    leaf: Option<i32>,
    /// The setting of which the doorbell depends.
    #[diesel(sql_type = Text)]
    prepared_max: String,
    /// The fingerprint of the functions that are installed; another instance may write others.
    #[diesel(sql_type = Nullable<Text>)]
    functions: Option<String>,
}

/// Before which times something is old, and what else is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) leaves: DateTime<Utc>,
    pub(super) failures_min: i64,
    pub(super) keys: DateTime<Utc>,
    pub(super) rates: DateTime<Utc>,
    pub(super) ids: DateTime<Utc>,
}

/// What there is to do.
pub(super) fn due(
    connection: &mut PgConnection,
    bounds: Bounds,
    now: DateTime<Utc>,
) -> QueryResult<Due> {
    sql_query(include_str!("due.sql"))
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(bounds.leaves)
        .bind::<BigInt, _>(bounds.failures_min)
        .bind::<Timestamptz, _>(bounds.keys)
        .bind::<Timestamptz, _>(bounds.rates)
        .bind::<Timestamptz, _>(bounds.ids)
        .get_result(connection)
}

/// A captured table whose columns are others than before.
#[derive(Debug, QueryableByName)]
pub(super) struct Shape {
    /// `rowcall.capture_target.id`
    #[diesel(sql_type = Integer)]
    pub(super) id: i32,
    /// Its columns' fingerprint.
    #[diesel(sql_type = Text)]
    pub(super) shape: String,
}

/// The captured tables whose columns are others than when they were last looked at.
pub(super) fn shapes_changed(connection: &mut PgConnection) -> QueryResult<Vec<Shape>> {
    sql_query(include_str!("shapes.sql")).load(connection)
}

/// Remembers how they look now.
pub(super) fn shapes_remember(connection: &mut PgConnection, shapes: &[Shape]) -> QueryResult<()> {
    let ids: Vec<i32> = shapes.iter().map(|shape| shape.id).collect();
    let texts: Vec<&str> = shapes.iter().map(|shape| shape.shape.as_str()).collect();
    sql_query(
        "update rowcall.capture_target t set shape = u.shape \
         from unnest($1, $2) as u (id, shape) where t.id = u.id",
    )
    .bind::<Array<Integer>, _>(ids)
    .bind::<Array<Text>, _>(texts)
    .execute(connection)
    .map(drop)
}

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
                 where w.subscription_id = s.id and w.settled_at is null and w.lease_until is null limit $2) as d \
             where s.state = 'deleted' limit $2), \
         locked as (select d.id from rowcall.delivery d join owed on owed.id = d.id \
             where d.settled_at is null and d.lease_until is null order by d.id for update of d skip locked) \
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
