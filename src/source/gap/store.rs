//! The SQL of gaps.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use serde::Serialize;

use super::{GapReason, Span};

/// A gap as the repository keeps it.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Gap {
    /// Of which object type; `None`: of all.
    #[diesel(sql_type = Nullable<Text>)]
    pub object_type: Option<String>,
    /// See [`GapReason`].
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// `None`: not known.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub began_at: Option<DateTime<Utc>>,
    /// `None`: it goes on.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    /// How many changes, where that is known.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub changes: Option<i64>,
}

/// The gaps of a source: those that go on, then the last of the others; at most `limit`.
pub fn gap_list(connection: &mut PgConnection, source: &str, limit: i64) -> QueryResult<Vec<Gap>> {
    sql_query(
        "select object_type, reason, began_at, ended_at, changes from rowcall.source_gap \
         where source = $1 order by ended_at is not null, id desc limit $2",
    )
    .bind::<Text, _>(source)
    .bind::<BigInt, _>(limit)
    .load(connection)
}

/// Begins a gap: from now on nothing of the object type is captured. Does nothing if it has begun.
pub fn gap_begin(
    connection: &mut PgConnection,
    source: &str,
    object_type: &str,
) -> QueryResult<usize> {
    sql_query(
        "insert into rowcall.source_gap (source, object_type, reason, began_at) \
         values ($1, $2, 'detached', pg_catalog.clock_timestamp()) \
         on conflict (source, object_type) where ended_at is null do nothing",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(object_type)
    .execute(connection)
}

/// The object types of a source whose gap goes on.
pub fn gap_open(connection: &mut PgConnection, source: &str) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        object_type: String,
    }
    let rows: Vec<Row> = sql_query(
        "select object_type from rowcall.source_gap where source = $1 and ended_at is null \
         order by object_type",
    )
    .bind::<Text, _>(source)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.object_type).collect())
}

/// Ends a gap that goes on. `None`: there is none.
pub fn gap_end(
    connection: &mut PgConnection,
    source: &str,
    object_type: &str,
) -> QueryResult<Option<i64>> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let row: Option<Id> = sql_query(
        "update rowcall.source_gap \
         set ended_at = greatest(pg_catalog.clock_timestamp(), began_at) \
         where source = $1 and object_type = $2 and ended_at is null returning id",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(object_type)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.id))
}

/// Sets the end of a gap, which was ended in this transaction, to the present moment.
pub fn gap_end_now(connection: &mut PgConnection, id: i64) -> QueryResult<Span> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        began_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Timestamptz)]
        ended_at: DateTime<Utc>,
    }
    let row: Row = sql_query(
        "update rowcall.source_gap \
         set ended_at = greatest(pg_catalog.clock_timestamp(), began_at) \
         where id = $1 returning began_at, ended_at",
    )
    .bind::<BigInt, _>(id)
    .get_result(connection)?;
    Ok(Span {
        from: row.began_at,
        to: row.ended_at,
    })
}

/// Records a gap of all object types that is over.
pub fn gap_record(
    connection: &mut PgConnection,
    source: &str,
    reason: GapReason,
    span: Span,
    changes: Option<i64>,
) -> QueryResult<usize> {
    sql_query(
        "insert into rowcall.source_gap (source, reason, began_at, ended_at, changes) \
         values ($1, $2, least($3, $4), $4, $5)",
    )
    .bind::<Text, _>(source)
    .bind::<Text, _>(reason.as_str())
    .bind::<Nullable<Timestamptz>, _>(span.from)
    .bind::<Timestamptz, _>(span.to)
    .bind::<Nullable<BigInt>, _>(changes)
    .execute(connection)
}

/// Captures a gap of each of these object types, in the place of what is missing. Returns of how
/// many: those that are not captured at present have none.
pub fn gap_capture(
    connection: &mut PgConnection,
    object_types: &[String],
    reason: GapReason,
    span: Span,
) -> QueryResult<usize> {
    // Written as captured gaps are (capture/install/function.sql), by hand.
    sql_query(
        "with told (gap) as (select pg_catalog.json_build_object('op', null, 'reason', $2, \
             'size', null, 'key', null, \
             'from', to_char($3 at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             'to', to_char($4 at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))) \
         insert into rowcall.change (seq, xid, rotation, target, relation, op, after, at, role) \
         select pg_catalog.nextval('rowcall.change_seq'), pg_catalog.pg_current_xact_id(), r.number, \
             t.id, 0, 'g', told.gap, pg_catalog.clock_timestamp(), session_user \
         from told, rowcall.rotation r, ( \
             select id, object_type from rowcall.capture_target where removed_at is null \
             union all select id, object_type from rowcall.source_target s where not exists ( \
                 select from rowcall.capture_target c \
                 where c.object_type = s.object_type and c.removed_at is null)) as t \
         where t.object_type = any ($1) and r.closed_at is null",
    )
    .bind::<Array<Text>, _>(object_types)
    .bind::<Text, _>(reason.as_str())
    .bind::<Nullable<Timestamptz>, _>(span.from)
    .bind::<Timestamptz, _>(span.to)
    .execute(connection)
}
