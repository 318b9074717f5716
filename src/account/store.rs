//! The SQL of the account. It reads whole tables, so it is not for the hot path.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    Account, Changes, Pairs,
    report::{Entry, of_all},
};
use crate::capture::store::changes_unread_count;

/// Makes all that follows in this transaction see one snapshot, and take at most `timeout_s`
/// seconds a statement.
pub(super) fn snapshot_begin(connection: &mut PgConnection, timeout_s: u32) -> QueryResult<()> {
    connection.batch_execute(&format!(
        "set transaction isolation level repeatable read, read only; \
         set local statement_timeout = '{timeout_s}s'"
    ))
}

/// Reads the account of what `source` publishes: the changes of the change table, among which are
/// those that were copied from other sources.
///
/// To be called at the start of a transaction: its statements must see the same snapshot.
///
/// # Errors
///
/// Those of the database.
pub fn account_read(connection: &mut PgConnection, source: &str) -> QueryResult<Account> {
    connection.batch_execute("set transaction isolation level repeatable read, read only")?;
    let changes = changes_read(connection, source)?;
    let events = events_count(connection)?;
    let pairs = of_all(&pairs_read(connection)?);
    Ok(Account::of(changes, events, &pairs))
}

/// What became of the changes.
pub(super) fn changes_read(connection: &mut PgConnection, source: &str) -> QueryResult<Changes> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        captured: i64,
        #[diesel(sql_type = BigInt)]
        published: i64,
    }
    let row: Row = sql_query(
        "select (select count(*) from rowcall.change) \
             + (select coalesce(sum(changes_dropped), 0)::bigint from rowcall.account) as captured, \
             (select coalesce(sum(changes_published), 0)::bigint from rowcall.source \
              where name = $1) \
             + (select coalesce(sum(changes), 0)::bigint from rowcall.source_gap \
              where source = $1 and reason = 'skipped') as published",
    )
    .bind::<Text, _>(source)
    .get_result(connection)?;
    Ok(Changes {
        captured: row.captured,
        published: row.published,
        unread: changes_unread_count(connection, source)?,
    })
}

/// How many events there are.
pub(super) fn events_count(connection: &mut PgConnection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        events: i64,
    }
    let row: Row =
        sql_query("select count(*) as events from rowcall.event").get_result(connection)?;
    Ok(row.events)
}

#[derive(QueryableByName)]
struct PairsRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    matched: i64,
    #[diesel(sql_type = BigInt)]
    delivered: i64,
    #[diesel(sql_type = BigInt)]
    condensed: i64,
    #[diesel(sql_type = BigInt)]
    suppressed: i64,
    #[diesel(sql_type = BigInt)]
    withdrawn: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = BigInt)]
    dead: i64,
}

/// What became of the pairs of every subscription, deleted ones included; by id.
pub(super) fn pairs_read(connection: &mut PgConnection) -> QueryResult<Vec<Entry>> {
    let rows: Vec<PairsRow> = sql_query(include_str!("pairs.sql")).load(connection)?;
    let entry = |row: PairsRow| Entry {
        id: row.id,
        name: row.name,
        owner: row.owner,
        state: row.state,
        pairs: Pairs {
            matched: row.matched,
            delivered: row.delivered,
            condensed: row.condensed,
            suppressed: row.suppressed,
            withdrawn: row.withdrawn,
            cancelled: row.cancelled,
            held: row.held,
            pending: row.pending,
            dead: row.dead,
        },
    };
    Ok(rows.into_iter().map(entry).collect())
}
