//! The SQL of reading tables: what they are made of, who may read them, and their rows.

use chrono::{DateTime, Utc};
use diesel::{
    Connection as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};

use super::{KeyColumn, Part};
use crate::capture::install::rendering::Setting;

/// That nothing but the key's index is used, and how long a table may keep publishing waiting.
const SETTINGS: &str = "set local row_security = off; set local enable_seqscan = off; \
    set local lock_timeout = '200ms'; set local statement_timeout = '10s'";

/// The tables that an object type's rows are in, in the order of their oids: its own, and those
/// that inherit from it. Partitions are read through their root.
pub(in crate::start) fn part_list(
    connection: &mut PgConnection,
    relation: i64,
) -> QueryResult<Vec<Part>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        oid: i64,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Bool)]
        is_partitioned: bool,
    }
    let rows: Vec<Row> = sql_query(
        "with recursive tree (oid) as ( \
             select $1::oid union \
             select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.oid) \
         select c.oid::bigint as oid, format('%I.%I', n.nspname, c.relname) as name, \
             c.relkind = 'p' as is_partitioned \
         from tree join pg_class c on c.oid = tree.oid join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and (c.oid = $1::oid or not c.relispartition) \
         order by c.oid",
    )
    .bind::<BigInt, _>(relation)
    .load(connection)?;
    let part = |row: Row| Part {
        oid: row.oid,
        name: row.name,
        is_partitioned: row.is_partitioned,
    };
    Ok(rows.into_iter().map(part).collect())
}

/// What may keep the rows of a table from being read.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::start) struct AccessRow {
    /// Who Rowcall is.
    #[diesel(sql_type = Text)]
    pub(in crate::start) role: String,
    /// Quoted.
    #[diesel(sql_type = Text)]
    pub(in crate::start) schema: String,
    #[diesel(sql_type = Bool)]
    pub(in crate::start) may_use_schema: bool,
    #[diesel(sql_type = Bool)]
    pub(in crate::start) may_select: bool,
    /// Row-level security would hide rows.
    #[diesel(sql_type = Bool)]
    pub(in crate::start) is_secured: bool,
}

/// What may keep the rows of a table from being read.
pub(in crate::start) fn part_access(
    connection: &mut PgConnection,
    part: &Part,
) -> QueryResult<AccessRow> {
    sql_query(
        "select quote_ident(current_user) as role, quote_ident(n.nspname) as schema, \
             has_schema_privilege(n.oid, 'USAGE') as may_use_schema, \
             has_table_privilege(c.oid, 'SELECT') as may_select, \
             row_security_active(c.oid) as is_secured \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1::oid",
    )
    .bind::<BigInt, _>(part.oid)
    .get_result(connection)
}

/// How many rows a table has by Postgres' statistics, with what inherits from it; `None` if there
/// are none.
pub(in crate::start) fn rows_estimate(
    connection: &mut PgConnection,
    relation: i64,
) -> QueryResult<Option<i64>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        rows: Option<i64>,
    }
    // A partitioned table has no rows of its own, and may have counted those of its partitions.
    let row: Row = sql_query(
        "with recursive tree (oid) as ( \
             select $1::oid union \
             select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.oid) \
         select sum(c.reltuples)::bigint as rows \
         from tree join pg_class c on c.oid = tree.oid where c.relkind = 'r' and c.reltuples >= 0",
    )
    .bind::<BigInt, _>(relation)
    .get_result(connection)?;
    Ok(row.rows)
}

/// The key columns of a table in the order of a unique index of theirs, so that it can be used;
/// `None` if a column is not there.
pub(in crate::start) fn key_columns(
    connection: &mut PgConnection,
    part: &Part,
    key: &[String],
) -> QueryResult<Option<Vec<KeyColumn>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        type_name: String,
        #[diesel(sql_type = Nullable<Text>)]
        collation: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        operators: Option<String>,
    }
    let rows: Vec<Row> = sql_query(include_str!("key_columns.sql"))
        .bind::<BigInt, _>(part.oid)
        .bind::<Array<Text>, _>(key)
        .load(connection)?;
    let columns: Vec<KeyColumn> = rows
        .into_iter()
        .map(|row| KeyColumn {
            name: row.name,
            type_name: row.type_name,
            collation: row.collation,
            operators: row.operators,
        })
        .collect();
    Ok((columns.len() == key.len()).then_some(columns))
}

/// A row that was read, or none, with the snapshot.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::start) struct ReadRow {
    #[diesel(sql_type = Text)]
    pub(in crate::start) snapshot: String,
    /// When it was read, by the database's clock.
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::start) at: DateTime<Utc>,
    /// How many rows there are up to the statement's limit.
    #[diesel(sql_type = BigInt)]
    pub(in crate::start) found: i64,
    /// `None`: there is no row.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub(in crate::start) key: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::start) bytes: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::start) image: Option<String>,
    /// Where the image is left out.
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::start) key_image: Option<String>,
}

/// Why rows could not be read.
#[derive(Clone, Copy, Debug)]
pub(in crate::start) enum Refusal {
    /// Somebody changes the table; later it will do.
    Locked,
    /// Rowcall may not, or row-level security would hide rows.
    Forbidden,
    /// Anything else. Postgres' text is not kept, for it may quote values.
    Failed,
}

/// Runs a statement of [`super::Query`] in a savepoint that is rolled back: nothing of the settings
/// stays, and the table's lock is let go. It takes no transaction id.
///
/// # Errors
///
/// Those of a lost connection; everything else is a [`Refusal`], after which the transaction is
/// usable.
pub(in crate::start) fn rows_read(
    connection: &mut PgConnection,
    sql: &str,
) -> QueryResult<Result<Vec<ReadRow>, Refusal>> {
    /// Carries the rows out of the savepoint.
    enum Ended {
        Read(Vec<ReadRow>),
        Failed(QueryError),
    }

    impl From<QueryError> for Ended {
        fn from(error: QueryError) -> Self {
            Self::Failed(error)
        }
    }

    let ended = connection.transaction::<(), Ended, _>(|connection| {
        // Rows become text as the triggers pin it.
        for setting in Setting::ALL {
            connection.batch_execute(&setting.pinned().replacen("set ", "set local ", 1))?;
        }
        connection.batch_execute(SETTINGS)?;
        Err(Ended::Read(sql_query(sql).load(connection)?))
    });
    match ended {
        Ok(()) => Ok(Ok(Vec::new())),
        Err(Ended::Read(rows)) => Ok(Ok(rows)),
        Err(Ended::Failed(error)) => refusal(error).map(Err),
    }
}

/// Diesel keeps most SQLSTATEs no further apart, so they are told by their text.
fn refusal(error: QueryError) -> QueryResult<Refusal> {
    let QueryError::DatabaseError(kind, information) = &error else {
        return Err(error);
    };
    if matches!(
        kind,
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
    ) {
        return Err(error);
    }
    let text = information.message();
    Ok(if text.contains("lock timeout") {
        Refusal::Locked
    } else if text.starts_with("permission denied") || text.contains("row-level security") {
        Refusal::Forbidden
    } else {
        Refusal::Failed
    })
}
