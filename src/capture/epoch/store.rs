//! The SQL of epochs.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{BigInt, Integer, Nullable, Text},
};

use super::{super::store::Cursor, Deviation};
use crate::db::kept;

/// What tells one history of a database from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The cluster's; given by initdb, kept by file copies and standbys.
    pub system_identifier: i64,
    /// The database's oid; another one in each restored copy.
    pub database_oid: i64,
    /// Raised by each promotion and each recovery to a point in time.
    pub timeline: i32,
}

/// What a source is at one moment. Its columns have names that no column of a cursor has.
#[derive(Clone, Debug, QueryableByName)]
pub struct Sighting {
    /// The present snapshot.
    #[diesel(sql_type = Text, column_name = seen_snapshot)]
    pub snapshot: String,
    /// The last number that the sequence of changes gave; read after the snapshot was taken.
    #[diesel(sql_type = BigInt, column_name = seen_seq_last)]
    pub seq_last: i64,
    /// See [`Epoch`].
    #[diesel(sql_type = BigInt, column_name = seen_system_identifier)]
    pub system_identifier: i64,
    /// See [`Epoch`].
    #[diesel(sql_type = BigInt, column_name = seen_database_oid)]
    pub database_oid: i64,
    /// `None` on a standby, which can't be read.
    #[diesel(sql_type = Nullable<Integer>, column_name = seen_timeline)]
    pub timeline: Option<i32>,
}

impl Sighting {
    /// The database's epoch; `None` on a standby.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.timeline.map(|timeline| Epoch {
            system_identifier: self.system_identifier,
            database_oid: self.database_oid,
            timeline,
        })
    }
}

/// Looks at the database of `connection`. To be asked for before the transaction writes: a snapshot
/// does not list the transaction id of whoever asks, and would take what that one captures for
/// seen.
pub fn sighting_take(connection: &mut PgConnection) -> QueryResult<Sighting> {
    kept(include_str!("sighting.sql")).get_result(connection)
}

/// Records, for a source that was never read, which database it is.
pub fn epoch_adopt(
    connection: &mut PgConnection,
    source: &str,
    epoch: Epoch,
) -> QueryResult<usize> {
    kept(
        "update rowcall.source set system_identifier = $2, database_oid = $3::oid, timeline = $4 \
         where name = $1 and system_identifier is null",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(epoch.system_identifier)
    .bind::<BigInt, _>(epoch.database_oid)
    .bind::<Integer, _>(epoch.timeline)
    .execute(connection)
}

/// Records that a source is no longer read, unless it is recorded already.
pub fn source_stop(
    connection: &mut PgConnection,
    source: &str,
    deviation: &Deviation,
) -> QueryResult<usize> {
    kept(
        "update rowcall.source set stopped_at = pg_catalog.clock_timestamp(), stop_kind = $2, \
             stop_reason = $3 where name = $1 and stopped_at is null",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(deviation.kind().as_str())
    .bind::<Text, _>(deviation.to_string())
    .execute(connection)
}

impl Cursor {
    /// What the source was when it was read; `None` if it never was.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        Some(Epoch {
            system_identifier: self.system_identifier?,
            database_oid: self.database_oid?,
            timeline: self.timeline?,
        })
    }

    /// Since when and why the source is not read.
    #[must_use]
    pub fn stop(&self) -> Option<(DateTime<Utc>, &str)> {
        Some((self.stopped_at?, self.stop_reason.as_deref()?))
    }
}
