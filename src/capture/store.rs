//! The SQL of reading changes.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz},
};

const CHANGES_READ: &str = include_str!("changes_read.sql");

/// How far a source was read.
#[derive(Clone, Debug, QueryableByName)]
pub struct Cursor {
    /// What is visible in this snapshot was published.
    #[diesel(sql_type = Text)]
    pub snapshot: String,
    /// What is visible in this one is being published, in several transactions.
    #[diesel(sql_type = Nullable<Text>)]
    pub batch_snapshot: Option<String>,
    /// The last change of that batch that was published.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub batch_seq: Option<i64>,
    /// The position of the last event.
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// Raised with every batch.
    #[diesel(sql_type = BigInt)]
    pub revision: i64,
}

/// A change as it stands in the change table.
#[derive(Clone, Debug, QueryableByName)]
pub struct ChangeRow {
    /// The order of capture.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The transaction that wrote it here: the writer's, or that of the copier.
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    /// The writer's transaction in another database, for a change that was copied from there.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub source_xid: Option<i64>,
    /// `rowcall.capture_target.id`
    #[diesel(sql_type = Integer)]
    pub target: i32,
    /// The leaf that was written.
    #[diesel(sql_type = BigInt)]
    pub relation: i64,
    /// c, u, d, t, g or e
    #[diesel(sql_type = Text)]
    pub op: String,
    /// The row before, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub before: Option<String>,
    /// The row after, as JSON; of a gap, what is known of it; of an event, the event.
    #[diesel(sql_type = Nullable<Text>)]
    pub after: Option<String>,
    /// When it was made, by the database's clock.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// The session's user.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// Who the writer says it acts for.
    #[diesel(sql_type = Nullable<Text>)]
    pub actor: Option<String>,
    /// The writer's trace.
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
}

impl ChangeRow {
    /// The writer's transaction in the writer's database. Together with the target, which is of one
    /// database, it tells one transaction from every other.
    #[must_use]
    pub fn writer_xid(&self) -> i64 {
        self.source_xid.unwrap_or(self.xid)
    }
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The cursor of a source; `None` if there is no such source.
pub fn cursor_get(
    connection: &mut PgConnection,
    source: &str,
) -> Result<Option<Cursor>, diesel::result::Error> {
    sql_query(
        "select snapshot::text, batch_snapshot::text, batch_seq, position, revision \
         from rowcall.source where name = $1",
    )
    .bind::<Text, _>(source)
    .get_result(connection)
    .optional()
}

/// The present snapshot. To be asked for before the transaction writes: a snapshot does not list
/// the transaction id of whoever asks, and would take what that one captures for seen.
pub fn snapshot_now(connection: &mut PgConnection) -> Result<String, diesel::result::Error> {
    let row: Value = sql_query("select pg_catalog.pg_current_snapshot()::text as value")
        .get_result(connection)?;
    Ok(row.value)
}

/// The changes visible in `upper` and not in `lower` after `seq`, in the order of capture, at most
/// `limit`. The same arguments give the same changes at any later time.
pub fn changes_read(
    connection: &mut PgConnection,
    lower: &str,
    upper: &str,
    seq: i64,
    limit: i64,
) -> Result<Vec<ChangeRow>, diesel::result::Error> {
    // The planner has no statistics of a table that only grows; the index on xid is always right.
    connection.batch_execute("set local enable_seqscan = off")?;
    sql_query(format!("{CHANGES_READ} limit $4"))
        .bind::<Text, _>(lower)
        .bind::<Text, _>(upper)
        .bind::<BigInt, _>(seq)
        .bind::<BigInt, _>(limit)
        .load(connection)
}

/// Opens a cursor over the same changes without a limit, which outlives the transaction. Postgres
/// keeps what it has sorted in a file of its own, so a transaction of ten million changes is sorted
/// once.
pub fn changes_declare(
    connection: &mut PgConnection,
    lower: &str,
    upper: &str,
    seq: i64,
) -> Result<(), diesel::result::Error> {
    // DECLARE takes no parameters. A snapshot's text is digits, colons and commas.
    let query = CHANGES_READ
        .replace("$1", &format!("'{lower}'"))
        .replace("$2", &format!("'{upper}'"))
        .replace("$3", &seq.to_string());
    connection.batch_execute(&format!(
        "begin; set local enable_seqscan = off; set local statement_timeout = 0; \
         declare rowcall_changes no scroll cursor with hold for {query}; commit"
    ))
}

/// The next changes of the cursor that [`changes_declare`] opened.
pub fn changes_fetch(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<ChangeRow>, diesel::result::Error> {
    sql_query(format!("fetch {limit} from rowcall_changes")).load(connection)
}

/// Moves the cursor. Returns false, and changes nothing, if another publisher moved it first.
pub fn cursor_advance(
    connection: &mut PgConnection,
    source: &str,
    from: &Cursor,
    to: &Cursor,
    changes: i64,
) -> Result<bool, diesel::result::Error> {
    sql_query(
        "update rowcall.source set snapshot = $3::pg_snapshot, batch_snapshot = $4::pg_snapshot, \
         batch_seq = $5, position = $6, revision = revision + 1, \
         changes_published = changes_published + $7 where name = $1 and revision = $2",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(from.revision)
    .bind::<Text, _>(&to.snapshot)
    .bind::<Nullable<Text>, _>(&to.batch_snapshot)
    .bind::<Nullable<BigInt>, _>(to.batch_seq)
    .bind::<BigInt, _>(to.position)
    .bind::<BigInt, _>(changes)
    .execute(connection)
    .map(|rows| rows == 1)
}

/// An event that is captured instead of a row's change.
#[derive(Clone, Copy, Debug)]
pub struct NewChange<'a> {
    /// The event as JSON.
    pub event: &'a str,
    /// The writer's trace.
    pub traceparent: Option<&'a str>,
}

/// The number that stands for no table: of events that came through the API.
pub const SUBMITTED_TARGET: i32 = 0;

/// Appends events to the change table in their order, as operation `e`. `rotation` is the open
/// one's number, `author` who wrote them. Read together with rows, in the order of capture.
pub fn change_append(
    connection: &mut PgConnection,
    rotation: i32,
    author: &str,
    changes: &[NewChange<'_>],
) -> Result<(), diesel::result::Error> {
    let events: Vec<&str> = changes.iter().map(|change| change.event).collect();
    let traceparents: Vec<Option<&str>> = changes.iter().map(|change| change.traceparent).collect();
    sql_query(
        "insert into rowcall.change (seq, xid, rotation, target, relation, op, after, at, role, \
             actor, traceparent) \
         select pg_catalog.nextval('rowcall.change_seq'), pg_catalog.pg_current_xact_id(), $1, 0, \
             0, 'e', e.event::json, pg_catalog.clock_timestamp(), $2, $2, e.traceparent \
         from (select * from unnest($3, $4) with ordinality as u (event, traceparent, place) \
             order by u.place) as e",
    )
    .bind::<Integer, _>(rotation)
    .bind::<Text, _>(author)
    .bind::<Array<Text>, _>(events)
    .bind::<Array<Nullable<Text>>, _>(traceparents)
    .execute(connection)
    .map(|_| ())
}

/// Rings the doorbell if the reader sleeps, exactly as the trigger does: after what was written, in
/// one expression (see capture/install/function.rs).
pub fn doorbell_ring_if_asleep(connection: &mut PgConnection) -> Result<(), diesel::result::Error> {
    sql_query(
        "select pg_catalog.pg_notify('rowcall', '') \
         from (select 'rowcall.change'::regclass::oid::integer as class) as k \
         where not (case when pg_catalog.pg_try_advisory_lock_shared(k.class, 1) \
                 then pg_catalog.pg_advisory_unlock_shared(k.class, 1) else false end) \
             and pg_catalog.current_setting('rowcall.doorbell', true) is distinct from 'off' \
             and pg_catalog.current_setting('max_prepared_transactions') = '0'",
    )
    .execute(connection)
    .map(|_| ())
}

/// Rings the doorbell, as a writer would.
pub fn doorbell_ring(connection: &mut PgConnection) -> Result<(), diesel::result::Error> {
    sql_query("select pg_catalog.pg_notify('rowcall', '')")
        .execute(connection)
        .map(|_| ())
}

/// How many changes are committed and not yet published; for the account, not for the hot path.
pub fn changes_unread_count(
    connection: &mut PgConnection,
    source: &str,
) -> Result<i64, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    connection.batch_execute("set local enable_seqscan = off")?;
    let row: Count = sql_query(
        "select count(*) from rowcall.change c, rowcall.source s \
         where s.name = $1 and c.xid >= pg_catalog.pg_snapshot_xmin(s.snapshot) \
         and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot) \
         and (s.batch_snapshot is null or c.seq > s.batch_seq \
              or not pg_catalog.pg_visible_in_snapshot(c.xid, s.batch_snapshot))",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    Ok(row.count)
}
