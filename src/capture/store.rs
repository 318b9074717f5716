//! The SQL of reading changes.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz},
};

use crate::db::{by_index, kept};

const CHANGES_READ: &str = include_str!("changes_read.sql");
const BACKLOG_READ: &str = include_str!("backlog_read.sql");

/// How far a source was read.
#[derive(Clone, Debug, Default, QueryableByName)]
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
    /// The last number that the sequence of changes had given when a batch was read.
    #[diesel(sql_type = BigInt)]
    pub seq_seen: i64,
    /// Changes up to this number are not looked at, or are in the backlog.
    #[diesel(sql_type = BigInt)]
    pub seq_floor: i64,
    /// While there is a backlog, which comes first: the last change of it that was published.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub backlog_seq: Option<i64>,
    /// Of the cluster when it was read.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub system_identifier: Option<i64>,
    /// Of the database when it was read.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub database_oid: Option<i64>,
    /// Of the cluster when it was read.
    #[diesel(sql_type = Nullable<Integer>)]
    pub timeline: Option<i32>,
    /// Since when the source is not read.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub stopped_at: Option<DateTime<Utc>>,
    /// See [`StopKind`](super::epoch::StopKind).
    #[diesel(sql_type = Nullable<Text>)]
    pub stop_kind: Option<String>,
    /// Why, for people.
    #[diesel(sql_type = Nullable<Text>)]
    pub stop_reason: Option<String>,
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

/// The cursor of a source; `None` if there is no such source.
pub fn cursor_get(
    connection: &mut PgConnection,
    source: &str,
) -> Result<Option<Cursor>, diesel::result::Error> {
    kept(
        "select s.snapshot::text, s.batch_snapshot::text, s.batch_seq, s.position, s.revision, \
             s.seq_seen, s.seq_floor, s.system_identifier, s.database_oid::bigint, s.timeline, \
             s.stopped_at, s.stop_kind, s.stop_reason, \
             (select b.seq from rowcall.source_backlog b where b.source = s.name \
              order by b.seq_to limit 1) as backlog_seq \
         from rowcall.source s where s.name = $1",
    )
    .bind::<Text, _>(source)
    .get_result(connection)
    .optional()
}

/// The present snapshot. To be asked for before the transaction writes: a snapshot does not list
/// the transaction id of whoever asks, and would take what that one captures for seen.
pub fn snapshot_now(connection: &mut PgConnection) -> Result<String, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        snapshot: String,
    }
    let row: Row =
        kept("select pg_catalog.pg_current_snapshot()::text as snapshot").get_result(connection)?;
    Ok(row.snapshot)
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
    kept(concat!(include_str!("changes_read.sql"), " limit $4"))
        .bind::<Text, _>(lower)
        .bind::<Text, _>(upper)
        .bind::<BigInt, _>(seq)
        .bind::<BigInt, _>(limit)
        .load(connection)
}

/// Opens a cursor over the same changes, `seq` itself included, without a limit, which outlives the
/// transaction. Postgres keeps what it has sorted in a file of its own, so a transaction of ten
/// million changes is sorted once.
pub fn changes_declare(
    connection: &mut PgConnection,
    lower: &str,
    upper: &str,
    seq: i64,
) -> Result<(), diesel::result::Error> {
    // A snapshot's text is digits, colons and commas.
    let query = CHANGES_READ
        .replace("$1", &format!("'{lower}'"))
        .replace("$2", &format!("'{upper}'"));
    declare(
        connection,
        "set local enable_seqscan = off; ",
        &query.replace("$3", &before(seq)),
    )
}

/// The same for the changes of a source's backlog: those that were unread when it was rebased.
pub fn backlog_declare(
    connection: &mut PgConnection,
    source: &str,
    seq: i64,
) -> Result<(), diesel::result::Error> {
    let source = format!("'{}'", source.replace('\'', "''"));
    // By its numbers, of which there is no index.
    declare(
        connection,
        "",
        &BACKLOG_READ
            .replace("$1", &source)
            .replace("$2", &before(seq)),
    )
}

fn before(seq: i64) -> String {
    seq.saturating_sub(1).to_string()
}

/// DECLARE takes no parameters, so `query` has none. It is planned by `settings`.
fn declare(
    connection: &mut PgConnection,
    settings: &str,
    query: &str,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "begin; set local statement_timeout = 0; {settings}declare rowcall_changes no scroll cursor \
         with hold for {query}; commit"
    ))
}

/// The next changes of the cursor that [`changes_declare`] or [`backlog_declare`] opened.
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
    let moved = kept(
        "update rowcall.source set snapshot = $3::pg_snapshot, batch_snapshot = $4::pg_snapshot, \
         batch_seq = $5, position = $6, revision = revision + 1, \
         changes_published = changes_published + $7, seq_seen = greatest(seq_seen, $8) \
         where name = $1 and revision = $2",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(from.revision)
    .bind::<Text, _>(&to.snapshot)
    .bind::<Nullable<Text>, _>(&to.batch_snapshot)
    .bind::<Nullable<BigInt>, _>(to.batch_seq)
    .bind::<BigInt, _>(to.position)
    .bind::<BigInt, _>(changes)
    .bind::<BigInt, _>(to.seq_seen)
    .execute(connection)?
        == 1;
    if moved && from.backlog_seq.is_some() {
        backlog_advance(connection, source, to.backlog_seq)?;
    }
    Ok(moved)
}

/// Moves on in the oldest backlog; `None`: it was published to its end.
fn backlog_advance(
    connection: &mut PgConnection,
    source: &str,
    seq: Option<i64>,
) -> Result<(), diesel::result::Error> {
    let oldest = "source = $1 and seq_to = (select min(seq_to) from rowcall.source_backlog \
                  where source = $1)";
    let moved = match seq {
        Some(seq) => sql_query(format!(
            "update rowcall.source_backlog set seq = $2 where {oldest}"
        ))
        .bind::<Text, _>(source)
        .bind::<BigInt, _>(seq)
        .execute(connection),
        None => sql_query(format!("delete from rowcall.source_backlog where {oldest}"))
            .bind::<Text, _>(source)
            .execute(connection),
    };
    moved.map(|_| ())
}

/// An event that is captured instead of a row's change.
#[derive(Clone, Copy, Debug)]
pub struct NewChange<'a> {
    /// The event as JSON.
    pub event: &'a str,
    /// Who wrote it.
    pub author: &'a str,
    /// The writer's trace.
    pub traceparent: Option<&'a str>,
}

/// The number that stands for no table: of events that came through the API.
pub const SUBMITTED_TARGET: i32 = 0;

/// Appends events to the change table in their order, as operation `e`. `rotation` is the open
/// one's number. Read together with rows, in the order of capture.
pub fn change_append(
    connection: &mut PgConnection,
    rotation: i32,
    changes: &[NewChange<'_>],
) -> Result<(), diesel::result::Error> {
    let events: Vec<&str> = changes.iter().map(|change| change.event).collect();
    let authors: Vec<&str> = changes.iter().map(|change| change.author).collect();
    let traceparents: Vec<Option<&str>> = changes.iter().map(|change| change.traceparent).collect();
    kept(
        "insert into rowcall.change (seq, xid, rotation, target, relation, op, after, at, role, \
             actor, traceparent) \
         select pg_catalog.nextval('rowcall.change_seq'), pg_catalog.pg_current_xact_id(), $1, 0, \
             0, 'e', e.event::json, pg_catalog.clock_timestamp(), e.author, e.author, \
             e.traceparent \
         from (select * from unnest($2, $3, $4) with ordinality \
             as u (event, author, traceparent, place) order by u.place) as e",
    )
    .bind::<Integer, _>(rotation)
    .bind::<Array<Text>, _>(events)
    .bind::<Array<Text>, _>(authors)
    .bind::<Array<Nullable<Text>>, _>(traceparents)
    .execute(connection)
    .map(|_| ())
}

/// Rings the doorbell if the reader sleeps, exactly as the trigger does: after what was written, in
/// one expression (see capture/install/function.rs).
pub fn doorbell_ring_if_asleep(connection: &mut PgConnection) -> Result<(), diesel::result::Error> {
    kept(
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
    kept("select pg_catalog.pg_notify('rowcall', '')")
        .execute(connection)
        .map(|_| ())
}

/// How many changes are committed and not yet published; for the account, not for the hot path.
pub fn changes_unread_count(
    connection: &mut PgConnection,
    source: &str,
) -> Result<i64, diesel::result::Error> {
    changes_unread_bounded(connection, source, i64::MAX)
}

/// The same, counted up to `limit`; for people.
pub fn changes_unread_bounded(
    connection: &mut PgConnection,
    source: &str,
    limit: i64,
) -> Result<i64, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Count = by_index(connection, |connection| {
        kept(include_str!("unread_count.sql"))
            .bind::<Text, _>(source)
            .bind::<BigInt, _>(limit)
            .get_result(connection)
    })?;
    Ok(row.count)
}
