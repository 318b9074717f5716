//! SQL of deliveries as they are shown.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Replays of one delivery that are shown: the last ones.
const REPLAYS_MAX: i64 = 20;

/// Which deliveries are asked for; `None`: any.
#[derive(Debug)]
pub(super) struct DeliveryFilter {
    pub(super) state: Option<&'static str>,
    pub(super) subscription: Option<Uuid>,
    /// Only those of the subscriptions of this key.
    pub(super) owner: Option<String>,
}

#[derive(Debug, QueryableByName)]
pub(super) struct DeliveryRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) subscription_name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) event_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_key: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) digest_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) part: Option<i32>,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Bool)]
    pub(super) blocks: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) sequence: Option<i64>,
    #[diesel(sql_type = Integer)]
    pub(super) attempts: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) last_status: Option<i32>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) due_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) settled_at: Option<DateTime<Utc>>,
    /// What it owes can still be sent.
    #[diesel(sql_type = Bool)]
    pub(super) is_kept: bool,
}

/// What is shown of the deliveries `d`.
const SHOWN: &str = "select d.id, d.subscription_id, s.name as subscription_name, d.event_id, \
        coalesce(e.type, case when d.digest_id is not null then 'rowcall.digest' end) \
            as event_type, \
        e.object_type, e.object_key, d.digest_id, d.part, d.state, d.blocks, d.sequence, \
        d.attempts, (select a.status from rowcall.attempt a where a.delivery_id = d.id \
            order by a.number desc limit 1) as last_status, \
        d.created_at, nullif(d.due_at, 'infinity') as due_at, d.settled_at, \
        (e.id is not null or exists (select from rowcall.digest_part p \
            where p.digest_id = d.digest_id and p.part = d.part)) and d.sequence is not null \
            as is_kept \
    from rowcall.delivery d join rowcall.subscription s on s.id = d.subscription_id \
    left join rowcall.event e on e.id = d.event_id";

/// Deliveries by id, behind `after`. Belongs into a transaction.
pub(super) fn delivery_list(
    connection: &mut PgConnection,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<DeliveryRow>> {
    // A plan that serves any combination of filters could use no index.
    connection.batch_execute("set local plan_cache_mode = force_custom_plan")?;
    sql_query(format!(
        "{SHOWN} where ($1 is null or d.id > $1) and ($2 is null or d.state = $2) \
             and ($3 is null or d.subscription_id = $3) and ($4 is null or s.owner = $4) \
         order by d.id limit $5"
    ))
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<Nullable<Text>, _>(filter.state)
    .bind::<Nullable<SqlUuid>, _>(filter.subscription)
    .bind::<Nullable<Text>, _>(&filter.owner)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}

/// One delivery; only if it is of a subscription of `owner`, if one is given.
pub(super) fn delivery_get(
    connection: &mut PgConnection,
    id: Uuid,
    owner: Option<&str>,
) -> QueryResult<Option<DeliveryRow>> {
    sql_query(format!(
        "{SHOWN} where d.id = $1 and ($2 is null or s.owner = $2)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

/// A delivery in a replay.
#[derive(Debug, QueryableByName)]
pub(super) struct ItemRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) replay_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) settled_at: Option<DateTime<Utc>>,
}

/// The last replays of a delivery, oldest first.
pub(super) fn item_list(
    connection: &mut PgConnection,
    delivery: Uuid,
) -> QueryResult<Vec<ItemRow>> {
    sql_query(
        "select * from ( \
             select id, replay_id, state, settled_at from rowcall.replay_item \
             where delivery_id = $1 order by id desc limit $2) as last \
         order by id",
    )
    .bind::<SqlUuid, _>(delivery)
    .bind::<BigInt, _>(REPLAYS_MAX)
    .load(connection)
}
