//! The SQL of replays: what was asked for, and how far each is.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::db::kept;

/// A replay as it is written.
#[derive(Clone, Debug)]
pub(super) struct NewReplay<'a> {
    pub(super) id: Uuid,
    pub(super) subscription_id: Uuid,
    pub(super) asked_by: &'a str,
    pub(super) selection: &'a str,
    pub(super) rate: &'a str,
    pub(super) interval_us: i64,
    pub(super) state: &'static str,
    pub(super) looked_at: Uuid,
    pub(super) looked_upto: Uuid,
    pub(super) found: i64,
}

/// Writes a replay.
pub(super) fn replay_insert(
    connection: &mut PgConnection,
    new: &NewReplay<'_>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.replay (id, subscription_id, asked_by, selection, rate, interval_us, \
             state, created_at, looked_at, looked_upto, found, paced_until, due_at) \
         values ($1, $2, $3, $4::json, $5, $6, $7, $8, $9, $10, $11, $8, $8)",
    )
    .bind::<SqlUuid, _>(new.id)
    .bind::<SqlUuid, _>(new.subscription_id)
    .bind::<Text, _>(new.asked_by)
    .bind::<Text, _>(new.selection)
    .bind::<Text, _>(new.rate)
    .bind::<BigInt, _>(new.interval_us)
    .bind::<Text, _>(new.state)
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(new.looked_at)
    .bind::<SqlUuid, _>(new.looked_upto)
    .bind::<BigInt, _>(new.found)
    .execute(connection)
    .map(drop)
}

/// How many replays are under way.
///
/// # Errors
///
/// Those of the database.
pub fn replay_running_count(connection: &mut PgConnection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Row = sql_query(
        "select count(*) as count from rowcall.replay where state in ('searching', 'sending')",
    )
    .get_result(connection)?;
    Ok(row.count)
}

/// What is to be done.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Due {
    /// A replay has deliveries to look for.
    #[diesel(sql_type = Bool)]
    pub(super) is_searching: bool,
    /// A replay may send.
    #[diesel(sql_type = Bool)]
    pub(super) is_sending: bool,
    /// A lease has ended.
    #[diesel(sql_type = Bool)]
    pub(super) is_expired: bool,
    /// A replay's subscription was deleted.
    #[diesel(sql_type = Bool)]
    pub(super) is_orphaned: bool,
    /// When there will be more.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// What is to be done at `now`.
pub(super) fn replay_due(connection: &mut PgConnection, now: DateTime<Utc>) -> QueryResult<Due> {
    kept(
        "with running as ( \
             select r.state, s.state as subscription, greatest(r.due_at, r.paced_until) as at \
             from rowcall.replay r join rowcall.subscription s on s.id = r.subscription_id \
             where r.state in ('searching', 'sending')), \
         sending as ( \
             select at from running where state = 'sending' and subscription = 'active'), \
         lease as ( \
             select min(lease_until) as until from rowcall.replay_item where state = 'sending') \
         select exists (select from running where state = 'searching' and at <= $1) \
                 as is_searching, \
             exists (select from sending where at <= $1) as is_sending, \
             coalesce((select until <= $1 from lease), false) as is_expired, \
             exists (select from running where subscription = 'deleted') as is_orphaned, \
             least((select min(at) from sending), (select until from lease), \
                 (select min(at) from running where state = 'searching')) as next_at",
    )
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
}

/// Writes how far the search of a replay is, and what it found more. It is sent when all is looked
/// at.
pub(super) fn replay_advance(
    connection: &mut PgConnection,
    id: Uuid,
    looked_at: Uuid,
    (found, gone): (i64, i64),
    is_end: bool,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "update rowcall.replay set looked_at = $2, found = found + $3, gone = gone + $4, \
             due_at = $6, state = case when $5 then 'sending' else state end where id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<SqlUuid, _>(looked_at)
    .bind::<BigInt, _>(found)
    .bind::<BigInt, _>(gone)
    .bind::<Bool, _>(is_end)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Ends a replay that the caller has locked. What of one that is done is neither sent nor failed
/// is told by `gone`; of one that failed nothing was sent, which is told by `cancelled`.
pub(super) fn replay_end(
    connection: &mut PgConnection,
    id: Uuid,
    state: &str,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "update rowcall.replay set state = $2, reason = $3, ended_at = greatest($4, created_at), \
             gone = case when $2 = 'done' then found - sent - failed - cancelled else gone end, \
             cancelled = case when $2 = 'failed' then found - sent - failed - gone \
                 else cancelled end \
         where id = $1 and state in ('searching', 'sending')",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(state)
    .bind::<Nullable<Text>, _>(reason)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// A replay that may send.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct SendRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub(super) interval_us: i64,
}

/// Locks the replay that may send for the longest time, if no other instance has it.
pub(super) fn replay_send_next(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<Option<SendRow>> {
    kept(
        "select r.id, r.subscription_id, r.interval_us from rowcall.replay r \
         join rowcall.subscription s on s.id = r.subscription_id \
         where r.state = 'sending' and r.due_at <= $1 and r.paced_until <= $1 \
             and s.state = 'active' \
         order by greatest(r.due_at, r.paced_until), r.id limit 1 for update of r skip locked",
    )
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
    .optional()
}

/// Has the replay that is the next one in `state`, `searching` or `sending`, wait until `until`,
/// because working on it failed, so that the others go on. Returns which.
pub(super) fn replay_set_aside(
    connection: &mut PgConnection,
    state: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<Option<Uuid>> {
    let row: Option<IdRow> = sql_query(
        "update rowcall.replay set due_at = $2 where id = ( \
             select r.id from rowcall.replay r \
             join rowcall.subscription s on s.id = r.subscription_id \
             where r.state = $1 and r.due_at <= $3 and r.paced_until <= $3 \
                 and (s.state = 'active' or r.state = 'searching') \
             order by greatest(r.due_at, r.paced_until), r.id limit 1 for update of r skip locked) \
         returning id",
    )
    .bind::<Text, _>(state)
    .bind::<Timestamptz, _>(until)
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.id))
}

/// Writes when a replay that the caller has locked sends next: not before there is something, nor
/// before its rate allows it.
pub(super) fn replay_pace(
    connection: &mut PgConnection,
    id: Uuid,
    due_at: DateTime<Utc>,
    paced_until: Option<DateTime<Utc>>,
    gone: i64,
) -> QueryResult<()> {
    kept(
        "update rowcall.replay set due_at = $2, paced_until = coalesce($3, paced_until), \
             gone = gone + $4 where id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(due_at)
    .bind::<Nullable<Timestamptz>, _>(paced_until)
    .bind::<BigInt, _>(gone)
    .execute(connection)
    .map(drop)
}

/// Locks replays in the order of their ids. Returns those that are under way.
///
/// # Errors
///
/// Those of the database.
pub fn replay_lock(connection: &mut PgConnection, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Bool)]
        is_running: bool,
    }
    let rows: Vec<Row> = kept(
        "select id, state in ('searching', 'sending') as is_running from rowcall.replay \
         where id = any($1) order by id for update",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?;
    let running = rows.into_iter().filter(|row| row.is_running);
    Ok(running.map(|row| row.id).collect())
}

/// What became of items of a replay.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) sent: i64,
    pub(super) failed: i64,
    pub(super) cancelled: i64,
}

/// Counts what became of items of a replay that the caller has locked; it is looked at again.
pub(super) fn replay_count(
    connection: &mut PgConnection,
    id: Uuid,
    settled: Settled,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    kept(
        "update rowcall.replay set sent = sent + $2, failed = failed + $3, \
             cancelled = cancelled + $4, due_at = least(due_at, $5) where id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(settled.sent)
    .bind::<BigInt, _>(settled.failed)
    .bind::<BigInt, _>(settled.cancelled)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Cancels a replay: what waits of it is not sent. What is under way is sent, and counted when it
/// is. Belongs into a transaction.
///
/// # Errors
///
/// Those of the database.
pub fn replay_cancel(
    connection: &mut PgConnection,
    id: Uuid,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    if replay_lock(connection, &[id])?.is_empty() {
        return Ok(());
    }
    let cancelled = super::item_cancel(connection, id, now)?;
    let settled = Settled {
        cancelled: i64::try_from(cancelled).unwrap_or(i64::MAX),
        ..Settled::default()
    };
    replay_count(connection, id, settled, now)?;
    replay_end(connection, id, "cancelled", reason, now)
}

/// Cancels the replays of deleted subscriptions. Returns how many.
pub(super) fn replay_cancel_deleted(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let rows: Vec<IdRow> = sql_query(
        "select r.id from rowcall.replay r \
         join rowcall.subscription s on s.id = r.subscription_id \
         where r.state in ('searching', 'sending') and s.state = 'deleted' \
         order by r.id for update of r skip locked",
    )
    .load(connection)?;
    for row in &rows {
        let reason = "its subscription was deleted";
        replay_cancel(connection, row.id, Some(reason), now)?;
    }
    Ok(rows.len())
}

/// Forgets a part of the first replay that ended before `before`: up to `limit` of its items, or
/// itself, when it has none any more. Returns how many rows are gone.
pub(super) fn replay_prune(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    let row: Option<IdRow> = sql_query(
        "select r.id from rowcall.replay r where r.ended_at < $1 and not exists ( \
             select from rowcall.replay_item i where i.replay_id = r.id and i.state = 'sending') \
         order by r.ended_at, r.id limit 1 for update skip locked",
    )
    .bind::<Timestamptz, _>(before)
    .get_result(connection)
    .optional()?;
    let Some(IdRow { id }) = row else {
        return Ok(0);
    };
    let forgotten = sql_query(
        "delete from rowcall.replay_item where id = any(array( \
             select i.id from rowcall.replay_item i where i.replay_id = $1 limit $2))",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(limit)
    .execute(connection)?;
    if forgotten > 0 {
        return Ok(forgotten);
    }
    sql_query("delete from rowcall.replay where id = $1")
        .bind::<SqlUuid, _>(id)
        .execute(connection)
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}
