//! The SQL of rebasing.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};

use crate::capture::epoch::store::Sighting;

/// Instances that published in a history that is lost have seen revisions of it, and would take
/// lower ones for those of an older copy. No instance publishes as many batches before it is asked.
const REVISIONS_PASSED: i64 = 1_000_000_000;

/// Room for changes that are numbered anew. Numbers are 64 bits wide, so there is plenty of it.
const RENUMBERED_MAX: i64 = 1_000_000_000;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Keeps writers out of the change table until the transaction ends, when those that are in it have
/// ended; fails after `lock_timeout_ms`.
pub(super) fn change_lock(connection: &mut PgConnection, lock_timeout_ms: u32) -> QueryResult<()> {
    connection.batch_execute(&format!(
        "set local lock_timeout = '{lock_timeout_ms}ms'; lock table rowcall.change in share mode; \
         set local lock_timeout = 0"
    ))
}

/// Whether a change has a number that the sequence is yet to give.
pub(super) fn sequence_fault(connection: &mut PgConnection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        fault: bool,
    }
    connection.batch_execute("set local statement_timeout = 0")?;
    let row: Row = sql_query(
        "select coalesce((select max(seq) from rowcall.change) > q.last_value, false) as fault \
         from rowcall.change_seq as q",
    )
    .get_result(connection)?;
    Ok(row.fault)
}

/// Moves the sequence behind every number that was ever given, leaving room for new ones. Returns
/// the room's beginning. Under [`change_lock`].
pub(super) fn sequence_raise(connection: &mut PgConnection, source: &str) -> QueryResult<i64> {
    connection.batch_execute("set local statement_timeout = 0")?;
    let base: Number = sql_query(
        "select greatest(q.last_value, s.seq_seen, s.seq_floor, \
             (select max(seq) from rowcall.change)) as number \
         from rowcall.change_seq as q, rowcall.source as s where s.name = $1",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    sql_query("select pg_catalog.setval('rowcall.change_seq', $1)")
        .bind::<BigInt, _>(base.number.saturating_add(RENUMBERED_MAX))
        .execute(connection)?;
    Ok(base.number)
}

/// Numbers the unread changes up to `base` anew, above it, in the order of their times. Unread is
/// what the cursor has not passed; below its floor, what was captured since that was set.
pub(super) fn change_renumber(
    connection: &mut PgConnection,
    source: &str,
    base: i64,
) -> QueryResult<i64> {
    connection.batch_execute("set local statement_timeout = 0")?;
    let count = sql_query(
        "with unread as ( \
             select c.tableoid, c.ctid, row_number() over (order by c.at, c.seq) as place \
             from rowcall.change as c, rowcall.source as s \
             where s.name = $1 and c.seq <= $2 \
                 and (c.seq > s.seq_floor or c.at > s.rebased_at) \
                 and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot) \
                 and (s.batch_snapshot is null or c.seq > s.batch_seq \
                     or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot))) \
         update rowcall.change as c set seq = $2 + u.place \
         from unread as u where c.tableoid = u.tableoid and c.ctid = u.ctid",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(base)
    .execute(connection)?;
    Ok(count as i64)
}

/// Writes the cursor down as a backlog up to the sequence's last number. Under [`change_lock`].
pub(super) fn backlog_begin(
    connection: &mut PgConnection,
    source: &str,
    sighting: &Sighting,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.source_backlog (source, seq_from, seq_to, snapshot, batch_snapshot, \
             batch_seq, seq_seen, seq) \
         select name, seq_floor, $2, snapshot, batch_snapshot, batch_seq, seq_seen, seq_floor \
         from rowcall.source where name = $1 and seq_floor < $2 \
         on conflict (source, seq_to) do nothing",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(sighting.seq_last)
    .execute(connection)
    .map(|_| ())
}

/// Begins a new cursor in the database that was sighted: what was captured before is never again
/// judged by its transaction ids, which may be those of another history.
pub(super) fn cursor_begin(
    connection: &mut PgConnection,
    source: &str,
    sighting: &Sighting,
) -> QueryResult<()> {
    sql_query(
        "update rowcall.source set snapshot = $2::pg_snapshot, batch_snapshot = null, \
             batch_seq = null, seq_floor = $3, seq_seen = $3, system_identifier = $4, \
             database_oid = $5::oid, timeline = $6, revision = revision + $7, \
             rebased_at = pg_catalog.clock_timestamp() \
         where name = $1",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(&sighting.snapshot)
    .bind::<BigInt, _>(sighting.seq_last)
    .bind::<BigInt, _>(sighting.system_identifier)
    .bind::<BigInt, _>(sighting.database_oid)
    .bind::<Nullable<Integer>, _>(sighting.timeline)
    .bind::<BigInt, _>(REVISIONS_PASSED)
    .execute(connection)
    .map(|_| ())
}

/// How many changes the backlogs of a source hold.
pub(super) fn backlog_count(connection: &mut PgConnection, source: &str) -> QueryResult<i64> {
    connection.batch_execute("set local statement_timeout = 0")?;
    let row: Number = sql_query(
        "select count(*) as number from rowcall.backlog_change \
         where source = $1 and seq > seq_published",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    Ok(row.number)
}

/// Gives the backlogs of a source up.
pub(super) fn backlog_drop(connection: &mut PgConnection, source: &str) -> QueryResult<usize> {
    sql_query("delete from rowcall.source_backlog where source = $1")
        .bind::<Text, _>(source)
        .execute(connection)
}

/// When the last event of the source was published.
pub(super) fn last_published_at(
    connection: &mut PgConnection,
    source: &str,
) -> QueryResult<Option<DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        published_at: DateTime<Utc>,
    }
    // Ids rise with the time of publishing.
    let row: Option<Row> = sql_query(
        "select published_at from rowcall.event where source = $1 order by id desc limit 1",
    )
    .bind::<Text, _>(source)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.published_at))
}

/// The database's clock.
pub(super) fn now(connection: &mut PgConnection) -> QueryResult<DateTime<Utc>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    let row: Row =
        sql_query("select pg_catalog.clock_timestamp() as now").get_result(connection)?;
    Ok(row.now)
}

/// The source is read again.
pub(super) fn source_resume(connection: &mut PgConnection, source: &str) -> QueryResult<usize> {
    sql_query(
        "update rowcall.source set stopped_at = null, stop_kind = null, stop_reason = null, \
             revision = revision + 1 where name = $1",
    )
    .bind::<Text, _>(source)
    .execute(connection)
}
