//! The SQL of copying: what is asked of the source, and what is written into the repository.

use std::collections::HashMap;

use diesel::{
    Connection as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::{
    capture::{
        batch::{Batch, ReadError, Reader},
        epoch::store::{Epoch, sighting_take},
        store::{ChangeRow, Cursor},
    },
    db::{DbError, QueryError, SOURCE_LOCK},
};

/// The most bytes of rows that one statement writes; Postgres takes no message over 1 GiB.
const ROWS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a source's database must know of the repository.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Repository {
    /// Its own id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The encoding of its database.
    #[diesel(sql_type = Text)]
    pub encoding: String,
}

/// Who the repository is.
pub fn repository_get(connection: &mut PgConnection) -> QueryResult<Repository> {
    sql_query(
        "select repository as id, current_setting('server_encoding') as encoding \
         from rowcall.registry",
    )
    .get_result(connection)
}

/// Makes a source known: it will be read from `snapshot` on. Does nothing if it is known.
pub fn source_register(
    connection: &mut PgConnection,
    source: &str,
    snapshot: &str,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.source (name, snapshot) values ($1, $2::pg_snapshot) \
         on conflict (name) do nothing",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(snapshot)
    .execute(connection)
    .map(|_| ())
}

/// The number that copied changes of this object type of the source have as their target; makes it
/// if there is none.
pub fn source_target(
    connection: &mut PgConnection,
    source: &str,
    object_type: &str,
) -> QueryResult<i32> {
    #[derive(QueryableByName)]
    struct Target {
        #[diesel(sql_type = Integer)]
        id: i32,
    }
    let make = "insert into rowcall.source_target (source, object_type) values ($1, $2) \
         on conflict do nothing";
    sql_query(make)
        .bind::<Text, _>(source)
        .bind::<Text, _>(object_type)
        .execute(connection)?;
    let find = "select id from rowcall.source_target where source = $1 and object_type = $2";
    sql_query(find)
        .bind::<Text, _>(source)
        .bind::<Text, _>(object_type)
        .get_result(connection)
        .map(|target: Target| target.id)
}

/// Whose changes a source's database captures.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Claim {
    /// The repository's id.
    #[diesel(sql_type = SqlUuid)]
    pub repository: Uuid,
    /// What that one calls it.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// The database's encoding.
    #[diesel(sql_type = Text)]
    pub encoding: String,
    /// Up to where nothing has to be read: when it was claimed nothing was captured yet.
    #[diesel(sql_type = Text)]
    pub snapshot: String,
}

/// In the source: claims it, unless somebody has; tells who.
pub fn claim(connection: &mut PgConnection, repository: Uuid, source: &str) -> QueryResult<Claim> {
    connection.transaction(|connection| {
        let claimed = sql_query(
            "insert into rowcall.captured_for (repository, source) values ($1, $2) \
             on conflict do nothing",
        )
        .bind::<SqlUuid, _>(repository)
        .bind::<Text, _>(source)
        .execute(connection)?;
        if claimed > 0 {
            sql_query(
                "insert into rowcall.source (name, snapshot) \
                 values ('default', pg_catalog.pg_current_snapshot()) on conflict do nothing",
            )
            .execute(connection)?;
        }
        sql_query(
            "select c.repository, c.source, current_setting('server_encoding') as encoding, \
                 s.snapshot::text as snapshot \
             from rowcall.captured_for c, rowcall.source s where s.name = 'default'",
        )
        .get_result(connection)
    })
}

/// In the source: where its write-ahead log ends.
#[derive(QueryableByName)]
struct Log {
    #[diesel(sql_type = Text)]
    log_end: String,
}

/// What was read in a source.
pub(super) struct Read {
    pub(super) batch: Batch,
    /// How far the log must be flushed before that is certain to stay; `None` if it is known to be.
    pub(super) log_end: Option<String>,
    /// Which database it is, if the cursor does not know it yet.
    pub(super) epoch: Option<Epoch>,
}

/// In the source: has the session find changes by their index, as a stage's session does. The
/// change table only grows, and what the planner knows of it is old.
pub(super) fn session_prepare(connection: &mut PgConnection) -> QueryResult<()> {
    connection.batch_execute("set enable_seqscan = off")
}

/// In the source: reads the next batch after `from`. `None`: nothing was committed since.
pub(super) fn batch_read(
    connection: &mut PgConnection,
    reader: &mut Reader,
    from: Cursor,
) -> Result<Option<Read>, ReadError> {
    connection.transaction(|connection| {
        // What was begun was published up to some change, so it is durable.
        let is_begun = from.batch_snapshot.is_some();
        let sighting = sighting_take(connection)?;
        // Asked for after the snapshot was taken, so it is behind everything that is visible in it.
        let log: Log = sql_query("select pg_catalog.pg_current_wal_insert_lsn()::text as log_end")
            .get_result(connection)?;
        let epoch = sighting.epoch().filter(|_| from.epoch().is_none());
        let batch = reader.read_there(connection, from, &sighting)?;
        Ok(batch.map(|batch| Read {
            batch,
            log_end: (!is_begun).then_some(log.log_end),
            epoch,
        }))
    })
}

/// In the source: whether its log is flushed up to there.
pub(super) fn log_is_flushed(connection: &mut PgConnection, log_end: &str) -> QueryResult<bool> {
    let sql = "select pg_catalog.pg_current_wal_flush_lsn() >= $1::pg_lsn as yes";
    let answer: Answer = sql_query(sql)
        .bind::<Text, _>(log_end)
        .get_result(connection)?;
    Ok(answer.yes)
}

/// In the source: flushes its log, by a commit that waits for that.
pub(super) fn log_flush(connection: &mut PgConnection) -> QueryResult<()> {
    connection.transaction(|connection| {
        // A transaction that wrote nothing would not wait.
        connection.batch_execute(
            "set local synchronous_commit = local; \
             select pg_catalog.pg_logical_emit_message(true, 'rowcall', '')",
        )
    })
}

/// In the source: whether it is a standby.
pub(super) fn is_standby(connection: &mut PgConnection) -> QueryResult<bool> {
    let answer: Answer =
        sql_query("select pg_catalog.pg_is_in_recovery() as yes").get_result(connection)?;
    Ok(answer.yes)
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// In the source: takes the lock of those who change its triggers, until the session ends. False:
/// somebody else has it, and `wait_ms` were not enough.
pub(super) fn hold_take(connection: &mut PgConnection, wait_ms: u64) -> QueryResult<bool> {
    let (class, key) = SOURCE_LOCK;
    if wait_ms == 0 {
        let sql = format!("select pg_catalog.pg_try_advisory_lock({class}, {key}) as yes");
        let answer: Answer = sql_query(sql).get_result(connection)?;
        return Ok(answer.yes);
    }
    connection.batch_execute(&format!(
        "set lock_timeout = '{wait_ms}ms'; select pg_catalog.pg_advisory_lock({class}, {key}); \
         reset lock_timeout"
    ))?;
    Ok(true)
}

/// In the source: the object types that its changes name by number, those of removed triggers
/// included.
pub(super) fn targets_read(connection: &mut PgConnection) -> QueryResult<HashMap<i32, String>> {
    #[derive(QueryableByName)]
    struct Target {
        #[diesel(sql_type = Integer)]
        id: i32,
        #[diesel(sql_type = Text)]
        object_type: String,
    }
    let targets: Vec<Target> =
        sql_query("select id, object_type from rowcall.capture_target").load(connection)?;
    let names = targets.into_iter();
    Ok(names
        .map(|target| (target.id, target.object_type))
        .collect())
}

/// In the source: tells it how far the repository has read, so that it may drop what lies before.
pub(super) fn read_up_to_set(connection: &mut PgConnection, snapshot: &str) -> QueryResult<()> {
    sql_query(
        "update rowcall.source set snapshot = $1::pg_snapshot \
         where name = 'default' and snapshot::text <> $1",
    )
    .bind::<Text, _>(snapshot)
    .execute(connection)
    .map(|_| ())
}

/// Writes copied changes into the leaf `rotation` in their order; their targets are the
/// repository's. A row that the repository can't hold becomes a gap.
pub fn change_copy(
    connection: &mut PgConnection,
    rotation: i32,
    rows: &[ChangeRow],
) -> Result<(), DbError> {
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|row| {
            bytes += row_bytes(row);
            bytes <= ROWS_BYTES_MAX
        });
        // One that is larger by itself goes by itself.
        let (now_written, later) = rest.split_at(fitting.count().max(1));
        match rows_insert(connection, rotation, now_written) {
            Err(error) if may_be_a_rows(&error) => {
                for row in now_written {
                    row_insert(connection, rotation, row)?;
                }
            }
            written => written?,
        }
        rest = later;
    }
    Ok(())
}

/// Whether an error may be about what a row holds, and not about the server.
fn may_be_a_rows(error: &DbError) -> bool {
    matches!(error, DbError::Query(QueryError::DatabaseError(..))) && !error.is_passing()
}

fn row_bytes(row: &ChangeRow) -> usize {
    let images = [&row.before, &row.after].into_iter();
    images.flatten().map(String::len).sum()
}

/// Writes one row, or a gap in its place.
fn row_insert(
    connection: &mut PgConnection,
    rotation: i32,
    row: &ChangeRow,
) -> Result<(), DbError> {
    let Err(error) = rows_insert(connection, rotation, std::slice::from_ref(row)) else {
        return Ok(());
    };
    // It is the row's fault only if the row can't even be looked at. A full disk is not.
    let looked = connection.transaction(|connection| {
        sql_query("select $1::json, $2::json")
            .bind::<Nullable<Text>, _>(&row.before)
            .bind::<Nullable<Text>, _>(&row.after)
            .execute(connection)
    });
    match looked.map_err(DbError::from) {
        Err(fault) if may_be_a_rows(&fault) && may_be_a_rows(&error) => {
            tracing::warn!(
                xid = row.writer_xid(),
                error = crate::stage::chain(&fault),
                "a change of another source can't be held by the repository and becomes a gap"
            );
            rows_insert(connection, rotation, &[gap_of(row)])
        }
        _ => Err(error),
    }
}

/// What is told of a change in whose place it stands, as the trigger does.
fn gap_of(row: &ChangeRow) -> ChangeRow {
    let op = match row.op.as_str() {
        "c" => "insert",
        "u" => "update",
        "d" => "delete",
        _ => "unknown",
    };
    let gap = serde_json::json!({
        "op": op, "reason": "not_copied", "size": row_bytes(row), "key": null,
    });
    ChangeRow {
        op: "g".to_owned(),
        before: None,
        after: Some(gap.to_string()),
        ..row.clone()
    }
}

fn rows_insert(
    connection: &mut PgConnection,
    rotation: i32,
    rows: &[ChangeRow],
) -> Result<(), DbError> {
    fn column<'a, T>(rows: &'a [ChangeRow], of: impl Fn(&'a ChangeRow) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    let insert = sql_query(
        "insert into rowcall.change (seq, xid, rotation, source_xid, target, relation, op, before, \
             after, at, role, actor, traceparent) \
         select pg_catalog.nextval('rowcall.change_seq'), pg_catalog.pg_current_xact_id(), $1, \
             c.source_xid::text::xid8, c.target, c.relation::oid, c.op::\"char\", c.before::json, \
             c.after::json, c.at, c.role, c.actor, c.traceparent \
         from (select * from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11) with ordinality \
             as u (source_xid, target, relation, op, before, after, at, role, actor, traceparent, \
             place) order by u.place) as c",
    )
    .bind::<Integer, _>(rotation)
    .bind::<Array<BigInt>, _>(column(rows, ChangeRow::writer_xid))
    .bind::<Array<Integer>, _>(column(rows, |row| row.target))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.relation))
    .bind::<Array<Text>, _>(column(rows, |row| row.op.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.before.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.after.as_deref()))
    .bind::<Array<Timestamptz>, _>(column(rows, |row| row.at))
    .bind::<Array<Text>, _>(column(rows, |row| row.role.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.actor.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.traceparent.as_deref()));
    // Within the caller's transaction this is a savepoint, so that what fails leaves no trace.
    connection.transaction(|connection| {
        insert.execute(connection)?;
        Ok(())
    })
}
