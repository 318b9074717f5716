//! The SQL of the change table's leaves.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Bool, Integer, Timestamptz},
};

use crate::db::{by_index, kept};

/// The leaf that is written.
#[derive(Debug, QueryableByName)]
pub struct Rotation {
    /// Its number.
    #[diesel(sql_type = Integer)]
    pub number: i32,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub opened_at: DateTime<Utc>,
}

/// The open rotation.
pub fn rotation_current(
    connection: &mut PgConnection,
) -> Result<Option<Rotation>, diesel::result::Error> {
    kept("select number, opened_at from rowcall.rotation where closed_at is null")
        .get_result(connection)
        .optional()
}

/// Records that a leaf is written from now on.
pub fn rotation_open(
    connection: &mut PgConnection,
    number: i32,
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    sql_query("insert into rowcall.rotation (number, opened_at) values ($1, $2)")
        .bind::<Integer, _>(number)
        .bind::<Timestamptz, _>(now)
        .execute(connection)
        .map(|_| ())
}

/// Records that a leaf is no longer written by new transactions.
pub fn rotation_close(
    connection: &mut PgConnection,
    number: i32,
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    // A clock that was set back must not fail the rotation.
    sql_query("update rowcall.rotation set closed_at = greatest($2, opened_at) where number = $1")
        .bind::<Integer, _>(number)
        .bind::<Timestamptz, _>(now)
        .execute(connection)
        .map(|_| ())
}

/// The leaves closed before `before`, oldest first.
pub fn rotations_expired(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<Vec<i32>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = Integer)]
        number: i32,
    }
    let rows: Vec<Number> =
        sql_query("select number from rowcall.rotation where closed_at < $1 order by number")
            .bind::<Timestamptz, _>(before)
            .load(connection)?;
    Ok(rows.into_iter().map(|row| row.number).collect())
}

/// Makes a leaf, not yet part of the change table.
pub fn leaf_create(
    connection: &mut PgConnection,
    number: i32,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "create table rowcall.change_{number} (like rowcall.change including defaults);
         create index on rowcall.change_{number} (xid);
         grant insert on rowcall.change_{number} to rowcall_capture"
    ))
}

/// Makes the leaf part of the change table. Blocks no writer.
pub fn leaf_attach(
    connection: &mut PgConnection,
    number: i32,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "alter table rowcall.change attach partition rowcall.change_{number} for values in ({number})"
    ))
}

/// Whether the cursor of this database has not passed all of the leaf. If it is not read, or has a
/// backlog, the leaf may hold something whatever the cursor says. In the repository there are
/// cursors of other databases, too, whose transaction ids mean nothing here.
pub fn leaf_has_unread(
    connection: &mut PgConnection,
    number: i32,
) -> Result<bool, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Unread {
        #[diesel(sql_type = Bool)]
        unread: bool,
    }
    let query = format!(
        "select exists (select from rowcall.change_{number} c, rowcall.source s \
         where s.name = 'default' and c.xid >= pg_catalog.pg_snapshot_xmin(s.snapshot) \
         and c.seq > s.seq_floor \
         and not pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)) \
         or exists (select from rowcall.source_backlog) \
         or exists (select from rowcall.source \
             where name = 'default' and stopped_at is not null) as unread"
    );
    // The leaf's lock is held, and readers wait.
    let row: Unread = by_index(connection, |connection| {
        sql_query(query).get_result(connection)
    })?;
    Ok(row.unread)
}

/// Keeps writers and readers out of the leaf; fails after `lock_timeout` if one is in it.
pub fn leaf_lock(
    connection: &mut PgConnection,
    number: i32,
    lock_timeout: Duration,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "set local lock_timeout = '{}ms';
         lock table rowcall.change_{number} in access exclusive mode",
        lock_timeout.as_millis()
    ))
}

/// Drops a leaf. Writers of other leaves wait while this transaction is open: commit at once.
pub fn leaf_drop(connection: &mut PgConnection, number: i32) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "drop table rowcall.change_{number};
         delete from rowcall.rotation where number = {number}"
    ))
}

/// Whether the leaf takes no room.
pub fn leaf_is_empty(
    connection: &mut PgConnection,
    number: i32,
) -> Result<bool, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Empty {
        #[diesel(sql_type = Bool)]
        empty: bool,
    }
    let row: Empty = sql_query(format!(
        "select pg_catalog.pg_relation_size('rowcall.change_{number}') = 0 as empty"
    ))
    .get_result(connection)?;
    Ok(row.empty)
}

/// Empties a leaf, for which the caller has its lock.
pub fn leaf_truncate(
    connection: &mut PgConnection,
    number: i32,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!("truncate rowcall.change_{number}"))
}
