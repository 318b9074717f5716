//! The SQL of the account.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::Account;
use crate::capture::store::changes_unread_count;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    captured: i64,
    #[diesel(sql_type = BigInt)]
    published: i64,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    matched: i64,
    #[diesel(sql_type = BigInt)]
    delivered: i64,
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = BigInt)]
    dead: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
}

/// Reads the account of a source. It reads whole tables, so it is not for the hot path.
///
/// To be called at the start of a transaction: its statements must see the same snapshot.
///
/// # Errors
///
/// Those of the database.
pub fn account_read(
    connection: &mut PgConnection,
    source: &str,
) -> Result<Account, diesel::result::Error> {
    connection.batch_execute("set transaction isolation level repeatable read, read only")?;
    let row: Row = sql_query(
        "select (select count(*) from rowcall.change) as captured, \
             (select coalesce(sum(changes_published), 0)::bigint from rowcall.source \
              where name = $1) as published, \
             (select count(*) from rowcall.event where source = $1) as events, \
             count(*) as matched, \
             count(*) filter (where state = 'delivered') as delivered, \
             count(*) filter (where state in ('pending', 'sending')) as pending, \
             count(*) filter (where state = 'dead') as dead, \
             count(*) filter (where state = 'cancelled') as cancelled \
         from rowcall.delivery",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    Ok(Account {
        captured: row.captured,
        published: row.published,
        unread: changes_unread_count(connection, source)?,
        events: row.events,
        matched: row.matched,
        delivered: row.delivered,
        pending: row.pending,
        dead: row.dead,
        cancelled: row.cancelled,
    })
}
