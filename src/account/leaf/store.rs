//! The SQL of counting leaves.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Bool, Integer},
};

use crate::db::by_index;

/// How long the count of one leaf may take.
const COUNT_TIMEOUT: &str = "10min";

/// Whether the leaf was counted.
pub(super) fn leaf_is_counted(connection: &mut PgConnection, number: i32) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_counted: bool,
    }
    let row: Row = sql_query(
        "select exists (select from rowcall.leaf_count where rotation = $1) as is_counted",
    )
    .bind::<Integer, _>(number)
    .get_result(connection)?;
    Ok(row.is_counted)
}

/// Counts the changes of the leaf that are visible now, and keeps the count.
///
/// Of the snapshot and not of the rows alone: which rows are counted must be known later.
pub(super) fn leaf_count(connection: &mut PgConnection, number: i32) -> QueryResult<()> {
    connection.batch_execute(&format!("set local statement_timeout = '{COUNT_TIMEOUT}'"))?;
    sql_query(format!(
        "insert into rowcall.leaf_count (rotation, snapshot, changes) \
         select $1, now.snapshot, (select count(*) from rowcall.change_{number} as c \
             where pg_catalog.pg_visible_in_snapshot(c.xid, now.snapshot)) \
         from (select pg_catalog.pg_current_snapshot() as snapshot) as now \
         on conflict (rotation) do nothing"
    ))
    .bind::<Integer, _>(number)
    .execute(connection)
    .map(drop)
}

/// Adds the changes of a leaf, which nobody can write any more, to those that were dropped. In the
/// transaction that drops it.
pub(super) fn dropped_add(connection: &mut PgConnection, number: i32) -> QueryResult<()> {
    let query = format!(
        "with counted as ( \
             delete from rowcall.leaf_count where rotation = $1 returning snapshot, changes), \
         late as ( \
             select count(*) as changes from counted join rowcall.change_{number} as c \
                 on c.xid >= pg_catalog.pg_snapshot_xmin(counted.snapshot) \
                     and not pg_catalog.pg_visible_in_snapshot(c.xid, counted.snapshot)) \
         update rowcall.account as a \
         set changes_dropped = a.changes_dropped + counted.changes + late.changes \
         from counted, late"
    );
    by_index(connection, |connection| {
        sql_query(query)
            .bind::<Integer, _>(number)
            .execute(connection)
            .map(drop)
    })
}
