//! The SQL of starts: how far each is, what was told already, and past events.

use crate::db::kept;
use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A start that is under way.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct RunningRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    /// It tells events, and is told no others until it is done.
    #[diesel(sql_type = Bool)]
    pub(super) is_of_events: bool,
    /// It is neither paused nor disabled.
    #[diesel(sql_type = Bool)]
    pub(super) is_active: bool,
}

/// The starts that are under way.
pub(super) fn start_running(connection: &mut PgConnection) -> QueryResult<Vec<RunningRow>> {
    kept(
        "select t.subscription_id, t.since is not null as is_of_events, \
             s.state = 'active' as is_active \
         from rowcall.start t join rowcall.subscription s on s.id = t.subscription_id \
         where t.state = 'running' and s.state <> 'deleted'",
    )
    .load(connection)
}

/// How many starts are under way.
pub(super) fn start_running_count(connection: &mut PgConnection) -> QueryResult<i64> {
    Ok(start_running(connection)?.len() as i64)
}

/// A start whose turn it is.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct TurnRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) begun_at: DateTime<Utc>,
    #[diesel(sql_type = Array<Text>)]
    pub(super) object_types: Vec<String>,
    #[diesel(sql_type = Integer)]
    pub(super) place: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) relation: Option<i64>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub(super) last_key: Option<Vec<String>>,
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
    /// The last position before the registration.
    #[diesel(sql_type = BigInt)]
    pub(super) registered_at: i64,
}

/// The start that waits longest for its turn, of those that are not paused, not among `resting`,
/// and of which fewer than `undelivered_max` deliveries are undelivered.
pub(super) fn start_next(
    connection: &mut PgConnection,
    resting: &[Uuid],
    undelivered_max: i64,
) -> QueryResult<Option<TurnRow>> {
    kept(
        "select t.subscription_id, t.since, t.begun_at, t.object_types, t.place, \
             t.relation::bigint as relation, t.last_key, t.position, t.registered_at \
         from rowcall.start t join rowcall.subscription s on s.id = t.subscription_id \
         where t.state = 'running' and s.state = 'active' and t.subscription_id <> all($1) \
             and (select count(*) from (select from rowcall.delivery d \
                 where d.subscription_id = t.subscription_id \
                     and d.settled_at is null limit $2) as u) < $2 \
         order by t.turn, t.subscription_id limit 1",
    )
    .bind::<Array<SqlUuid>, _>(resting)
    .bind::<BigInt, _>(undelivered_max)
    .get_result(connection)
    .optional()
}

/// A start as it is written when its subscription is registered.
#[derive(Clone, Debug)]
pub(super) struct NewStart<'a> {
    pub(super) subscription_id: Uuid,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) object_types: &'a [String],
    pub(super) position: i64,
    pub(super) registered_at: i64,
    pub(super) complete_from: Option<DateTime<Utc>>,
    pub(super) estimate: Option<i64>,
}

/// Writes a start. The caller holds the registry's lock.
pub(super) fn start_insert(
    connection: &mut PgConnection,
    start: &NewStart<'_>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    kept(
        "insert into rowcall.start (subscription_id, since, state, begun_at, object_types, \
             position, complete_from, estimate, registered_at) \
         values ($1, $2, 'running', $3, $4, $5, $6, $7, $8)",
    )
    .bind::<SqlUuid, _>(start.subscription_id)
    .bind::<Nullable<Timestamptz>, _>(start.since)
    .bind::<Timestamptz, _>(now)
    .bind::<Array<Text>, _>(start.object_types)
    .bind::<BigInt, _>(start.position)
    .bind::<Nullable<Timestamptz>, _>(start.complete_from)
    .bind::<Nullable<BigInt>, _>(start.estimate)
    .bind::<BigInt, _>(start.registered_at)
    .execute(connection)
    .map(drop)
}

/// How far a start has come.
#[derive(Clone, Debug)]
pub(crate) struct Advance {
    pub(crate) subscription_id: Uuid,
    pub(super) place: i32,
    pub(super) relation: Option<i64>,
    pub(super) last_key: Option<Vec<String>>,
    pub(super) position: i64,
    /// Rows or events that were looked at in this turn.
    pub(super) done: i64,
    pub(super) is_done: bool,
}

/// Writes how far a start has come; `told` of what it looked at is owed to the subscription.
pub(super) fn start_advance(
    connection: &mut PgConnection,
    to: &Advance,
    told: i64,
    turn: i64,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    kept(
        "update rowcall.start set place = $2, relation = $3::oid, last_key = $4, position = $5, \
             done = done + $6, told = told + $7, turn = $8, reason = null, \
             state = case when $9 then 'done' else state end, \
             ended_at = case when $9 then greatest($10, begun_at) end \
         where subscription_id = $1 and state = 'running'",
    )
    .bind::<SqlUuid, _>(to.subscription_id)
    .bind::<Integer, _>(to.place)
    .bind::<Nullable<BigInt>, _>(to.relation)
    .bind::<Nullable<Array<Text>>, _>(to.last_key.as_ref())
    .bind::<BigInt, _>(to.position)
    .bind::<BigInt, _>(to.done)
    .bind::<BigInt, _>(told)
    .bind::<BigInt, _>(turn)
    .bind::<Bool, _>(to.is_done)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Ends a start that can't go on.
pub(super) fn start_fail(
    connection: &mut PgConnection,
    subscription: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    kept(
        "update rowcall.start set state = 'failed', reason = $2, ended_at = greatest($3, begun_at) \
         where subscription_id = $1 and state = 'running'",
    )
    .bind::<SqlUuid, _>(subscription)
    .bind::<Text, _>(reason)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// A start as it is shown.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct ShownRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) reason: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) begun_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    pub(super) done: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) told: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) estimate: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) complete_from: Option<DateTime<Utc>>,
}

/// The starts of these subscriptions.
pub(super) fn start_shown(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<ShownRow>> {
    kept(
        "select subscription_id, since, state, reason, begun_at, ended_at, done, told, estimate, \
             complete_from \
         from rowcall.start where subscription_id = any($1)",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)
}

/// Which of these objects the subscription was told of since: the last event of the object that it
/// is owed has the row. One that a constraint suppressed or withdrew was not told. `first_id` is
/// below the id of every event that can be owed to it.
pub(super) fn object_told(
    connection: &mut PgConnection,
    subscription: Uuid,
    object_type: &str,
    keys: &[&str],
    first_id: Uuid,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key: String,
    }
    let rows: Vec<Row> = kept(include_str!("object_told.sql"))
        .bind::<SqlUuid, _>(subscription)
        .bind::<Text, _>(object_type)
        .bind::<Array<Text>, _>(keys)
        .bind::<SqlUuid, _>(first_id)
        .load(connection)?;
    Ok(rows.into_iter().map(|row| row.key).collect())
}

/// Where the events begin and end.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct KeptRow {
    /// Of the oldest event that is kept.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) first_position: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) first_time: Option<DateTime<Utc>>,
    /// Of the last one that was published.
    #[diesel(sql_type = BigInt)]
    pub(super) last_position: i64,
}

/// Which events are kept. Under the registry's lock nothing is being published. The events of all
/// sources have their positions from one cursor, that of the repository's own database.
pub(super) fn event_kept(connection: &mut PgConnection) -> QueryResult<KeptRow> {
    kept(
        "select e.position as first_position, e.\"time\" as first_time, \
             s.position as last_position \
         from rowcall.source s left join lateral (select position, \"time\" from rowcall.event \
             order by position limit 1) as e on true \
         where s.name = 'default'",
    )
    .get_result(connection)
}

/// A past event without its body.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct PastRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) source: String,
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
    #[diesel(sql_type = Text)]
    pub(super) event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_key: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) previous_key: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) time: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) published_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub(super) change_seq: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) xid: i64,
    #[diesel(sql_type = Integer)]
    pub(super) bytes: i32,
}

/// The events with positions above `after` up to `upto`, in their order; of those that
/// were published before the registration, up to `registered_at`, only such that happened at
/// `since` or later.
pub(super) fn event_past(
    connection: &mut PgConnection,
    after: i64,
    upto: i64,
    since: DateTime<Utc>,
    registered_at: i64,
) -> QueryResult<Vec<PastRow>> {
    kept(
        "select id, source, position, type as event_type, object_type, object_key, previous_key, \"time\", \
             published_at, change_seq, xid::text::bigint as xid, octet_length(body) as bytes \
         from rowcall.event \
         where position > $1 and position <= $2 and (\"time\" >= $3 or position > $4) \
         order by position",
    )
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(upto)
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(registered_at)
    .load(connection)
}
