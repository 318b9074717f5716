//! The SQL of reading changes.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz},
};

use super::epoch::store::Sighting;
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
    kept(include_str!("cursor.sql"))
        .bind::<Text, _>(source)
        .get_result(connection)
        .optional()
}

/// What a reader asks first, at one moment.
#[derive(Debug, QueryableByName)]
pub struct Look {
    /// How far the source was read.
    #[diesel(embed)]
    pub cursor: Cursor,
    /// What it is now.
    #[diesel(embed)]
    pub sighting: Sighting,
    /// The registry's.
    #[diesel(sql_type = BigInt)]
    pub registry_revision: i64,
}

/// The cursor of a source that is its own repository, and what the source is now; `None` if there
/// is no such source. To be asked for as [`sighting_take`](super::epoch::store::sighting_take) is.
pub fn look(
    connection: &mut PgConnection,
    source: &str,
) -> Result<Option<Look>, diesel::result::Error> {
    kept(concat!(
        "select cursor.*, sighting.*, (select revision from rowcall.registry) as registry_revision from (",
        include_str!("cursor.sql"),
        ") as cursor, (",
        include_str!("epoch/sighting.sql"),
        ") as sighting"
    ))
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

/// How a source's cursor moves.
#[derive(Clone, Copy, Debug)]
pub struct Advance<'a> {
    /// Whose.
    pub source: &'a str,
    /// Where it stands.
    pub from: &'a Cursor,
    /// Where it moves.
    pub to: &'a Cursor,
    /// How many changes lie between.
    pub changes: usize,
}

/// Moves the cursor. Returns false, and changes nothing, if another publisher moved it first.
pub fn cursor_advance(
    connection: &mut PgConnection,
    advance: Advance<'_>,
) -> Result<bool, diesel::result::Error> {
    let Advance {
        source,
        from,
        to,
        changes,
    } = advance;
    let moved = kept(include_str!("cursor_advance.sql"))
        .bind::<Text, _>(source)
        .bind::<BigInt, _>(from.revision)
        .bind::<Text, _>(&to.snapshot)
        .bind::<Nullable<Text>, _>(&to.batch_snapshot)
        .bind::<Nullable<BigInt>, _>(to.batch_seq)
        .bind::<BigInt, _>(to.position)
        .bind::<BigInt, _>(changes as i64)
        .bind::<BigInt, _>(to.seq_seen)
        .execute(connection)?
        == 1;
    if moved {
        backlog_advance(connection, advance)?;
    }
    Ok(moved)
}

/// Moves on in the oldest backlog, if the cursor stood in one; at its end it is done with.
pub(crate) fn backlog_advance(
    connection: &mut PgConnection,
    advance: Advance<'_>,
) -> Result<(), diesel::result::Error> {
    if advance.from.backlog_seq.is_none() {
        return Ok(());
    }
    let oldest = "source = $1 and seq_to = (select min(seq_to) from rowcall.source_backlog \
                  where source = $1)";
    let moved = match advance.to.backlog_seq {
        Some(seq) => sql_query(format!(
            "update rowcall.source_backlog set seq = $2 where {oldest}"
        ))
        .bind::<Text, _>(advance.source)
        .bind::<BigInt, _>(seq)
        .execute(connection),
        None => sql_query(format!("delete from rowcall.source_backlog where {oldest}"))
            .bind::<Text, _>(advance.source)
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
    kept(include_str!("change_append.sql"))
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
