//! The SQL of the account.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Text},
};

use super::Account;
use crate::{capture::store::changes_unread_count, digest::digest_account};

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
    suppressed: i64,
    #[diesel(sql_type = BigInt)]
    withdrawn: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = BigInt)]
    dead: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
}

/// Reads the account of what `source` publishes: the changes of the change table, among which are
/// those that were copied from other sources. It reads whole tables, so it is not for the hot path.
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
              where name = $1) \
             + (select coalesce(sum(changes), 0)::bigint from rowcall.source_gap \
              where source = $1 and reason = 'skipped') as published, \
             (select count(*) from rowcall.event) as events, \
             count(*) as matched, \
             count(*) filter (where state = 'delivered') as delivered, \
             count(*) filter (where state = 'suppressed') as suppressed, \
             count(*) filter (where state = 'withdrawn') as withdrawn, \
             count(*) filter (where state = 'held') as held, \
             count(*) filter (where state in ('pending', 'sending')) as pending, \
             count(*) filter (where state = 'dead') as dead, \
             count(*) filter (where state = 'cancelled') as cancelled \
         from rowcall.delivery where event_id is not null",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    let digests = digest_account(connection)?;
    Ok(Account {
        captured: row.captured,
        published: row.published,
        unread: changes_unread_count(connection, source)?,
        events: row.events,
        matched: row.matched + digests.matched,
        delivered: row.delivered + digests.delivered,
        condensed: digests.condensed,
        suppressed: row.suppressed + digests.suppressed,
        withdrawn: row.withdrawn + digests.withdrawn,
        held: row.held,
        pending: row.pending + digests.pending,
        dead: row.dead + digests.dead,
        cancelled: row.cancelled + digests.cancelled,
    })
}
