//! The SQL of searching: which deliveries a replay means.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::replay::order::{Selection, Which};

/// A replay whose deliveries are looked for.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::replay) struct SearchRow {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) subscription_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::replay) selection: String,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) looked_at: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) looked_upto: Uuid,
    #[diesel(sql_type = BigInt)]
    pub(in crate::replay) found: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::replay) gone: i64,
}

/// Locks the replay that waits longest for being searched for, if no other instance has it.
pub(in crate::replay) fn replay_search_next(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<Option<SearchRow>> {
    sql_query(
        "select id, subscription_id, selection::text as selection, looked_at, looked_upto, found, \
             gone \
         from rowcall.replay where state = 'searching' and greatest(due_at, paced_until) <= $1 \
         order by greatest(due_at, paced_until), id limit 1 for update skip locked",
    )
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
    .optional()
}

/// How far a chunk of deliveries reaches.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::replay) struct LookedRow {
    /// How many there are, of all subscriptions unless only dead ones are meant.
    #[diesel(sql_type = BigInt)]
    pub(in crate::replay) count: i64,
    /// The last of them.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::replay) last: Option<Uuid>,
}

/// The next chunk of up to `limit` deliveries to look at. Dead ones have an index of their own; of
/// others all deliveries of that time are walked over.
pub(in crate::replay) fn delivery_look(
    connection: &mut PgConnection,
    row: &SearchRow,
    which: Which,
    limit: i64,
) -> QueryResult<LookedRow> {
    let narrowed = match which {
        Which::Dead => "and state = 'dead' and subscription_id = $4",
        Which::Delivered | Which::Any => "and $4 is not null",
    };
    connection.batch_execute("set local plan_cache_mode = force_custom_plan")?;
    sql_query(format!(
        "with looked as ( \
             select id from rowcall.delivery where id > $1 and id < $2 {narrowed} \
             order by id limit $3) \
         select (select count(*) from looked) as count, \
             (select id from looked order by id desc limit 1) as last"
    ))
    .bind::<SqlUuid, _>(row.looked_at)
    .bind::<SqlUuid, _>(row.looked_upto)
    .bind::<BigInt, _>(limit)
    .bind::<SqlUuid, _>(row.subscription_id)
    .get_result(connection)
}

/// A delivery that may be meant.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::replay) struct MatchRow {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::replay) event_id: Option<Uuid>,
    /// What it owes can still be sent.
    #[diesel(sql_type = Bool)]
    pub(in crate::replay) is_kept: bool,
}

/// The deliveries of a chunk up to `last` that are meant, as far as columns tell. One whose event
/// is not kept can't be judged, and is among them.
pub(in crate::replay) fn delivery_matching(
    connection: &mut PgConnection,
    row: &SearchRow,
    selection: &Selection,
    last: Uuid,
) -> QueryResult<Vec<MatchRow>> {
    sql_query(include_str!("matching.sql"))
        .bind::<SqlUuid, _>(row.looked_at)
        .bind::<SqlUuid, _>(last)
        .bind::<SqlUuid, _>(row.subscription_id)
        .bind::<Array<Text>, _>(selection.state.states())
        .bind::<Nullable<Timestamptz>, _>(selection.from)
        .bind::<Nullable<Timestamptz>, _>(selection.to)
        .bind::<Nullable<Text>, _>(&selection.event_type)
        .bind::<Nullable<Text>, _>(&selection.object_type)
        .bind::<Nullable<Text>, _>(&selection.key)
        .load(connection)
}
