//! What the demo asks of the repository.

use diesel::{
    OptionalExtension as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::Error,
    sql_query,
    sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::subscribers::RELEASED;
use crate::{
    capture::store::changes_unread_count,
    db::{DbError, connect},
};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Makes a database in a new cluster.
pub(super) fn database_create(url: &str, name: &str) -> Result<(), DbError> {
    connect(url)?
        .batch_execute(&format!("create database {name}"))
        .map_err(DbError::from)
}

/// What Rowcall still has to do for the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub(super) struct WorkLeft {
    /// Changes that are not published.
    #[diesel(sql_type = BigInt)]
    pub(super) changes: i64,
    /// Deliveries that are not settled.
    #[diesel(sql_type = BigInt)]
    pub(super) deliveries: i64,
    /// Digests with events that have not left.
    #[diesel(sql_type = BigInt)]
    pub(super) digests: i64,
}

impl WorkLeft {
    pub(super) fn is_nothing(self) -> bool {
        (self.changes, self.deliveries, self.digests) == (0, 0, 0)
    }
}

/// What Rowcall still has to do: changes to publish, and deliveries and digests of the
/// subscriptions born in the metadata folder, which are the demo's own.
pub(super) fn work_left(connection: &mut PgConnection) -> Result<WorkLeft, Error> {
    let changes = changes_unread_count(connection, "default")?;
    sql_query(
        "with own as (select id from rowcall.subscription where origin = 'folder') \
         select $1 as changes, \
             (select count(*) from rowcall.delivery \
              where settled_at is null \
                  and subscription_id in (select id from own)) as deliveries, \
             (select count(*) from rowcall.digest \
              where state in ('open', 'closed') and events > 0 \
                  and subscription_id in (select id from own)) as digests",
    )
    .bind::<BigInt, _>(changes)
    .get_result(connection)
}

/// What took more than one attempt: subscription, id on the wire, attempts.
pub(super) fn delivery_attempts(
    connection: &mut PgConnection,
) -> Result<Vec<(String, String, u32)>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        id: String,
        #[diesel(sql_type = Integer)]
        attempts: i32,
    }
    let rows: Vec<Row> = sql_query(
        "select s.name, coalesce(d.event_id::text, d.digest_id || '.' || d.part) as id, d.attempts \
         from rowcall.delivery d \
         join rowcall.subscription s on s.id = d.subscription_id and s.origin = 'folder' \
         where d.attempts > 1",
    )
    .load(connection)?;
    let entry = |row: Row| (row.name, row.id, u32::try_from(row.attempts).unwrap_or(0));
    Ok(rows.into_iter().map(entry).collect())
}

/// Of deliveries, by event and subscription, those that could not start when they were written:
/// an earlier one of their object was not settled.
pub(super) fn delivery_blocked(
    connection: &mut PgConnection,
    events: &[Uuid],
    subscriptions: &[&str],
) -> Result<Vec<(Uuid, String)>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "select distinct d.event_id, s.name \
         from unnest($1, $2) as asked (event_id, name) \
         join rowcall.subscription s on s.name = asked.name and s.origin = 'folder' \
         join rowcall.delivery d on d.event_id = asked.event_id and d.subscription_id = s.id \
         join rowcall.delivery earlier on earlier.subscription_id = d.subscription_id \
             and earlier.lane = d.lane and earlier.id <> d.id \
             and earlier.position <= d.position \
             and (earlier.settled_at is null or earlier.settled_at > d.created_at)",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Array<Text>, _>(subscriptions)
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.event_id, row.name))
        .collect())
}

/// The closed digests of a subscription.
#[derive(Debug, QueryableByName)]
pub(super) struct DigestCount {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// Their events.
    #[diesel(sql_type = BigInt)]
    pub(super) events: i64,
    /// Of these, events of digests that came to nothing and were not sent.
    #[diesel(sql_type = BigInt)]
    pub(super) untold: i64,
}

pub(super) fn digest_counts(connection: &mut PgConnection) -> Result<Vec<DigestCount>, Error> {
    sql_query(
        "select s.name, coalesce(sum(d.events), 0)::bigint as events, \
             coalesce(sum(d.events) filter (where d.state = 'empty'), 0)::bigint as untold \
         from rowcall.digest d \
         join rowcall.subscription s on s.id = d.subscription_id and s.origin = 'folder' \
         where d.state <> 'open' group by s.name",
    )
    .load(connection)
}

/// How many events were published so far.
pub(super) fn events_published(connection: &mut PgConnection) -> Result<i64, Error> {
    let row: Option<Count> =
        sql_query("select position as count from rowcall.source where name = 'default'")
            .get_result(connection)
            .optional()?;
    Ok(row.map_or(0, |row| row.count))
}

/// How many events the condition made. It reads the whole table.
pub(super) fn events_released(connection: &mut PgConnection) -> Result<i64, Error> {
    sql_query("select count(*) as count from rowcall.event where type = $1")
        .bind::<Text, _>(RELEASED)
        .get_result(connection)
        .map(|row: Count| row.count)
}

/// How many deliveries of the demo's subscriptions are suppressed. It reads the whole table.
pub(super) fn deliveries_suppressed(connection: &mut PgConnection) -> Result<i64, Error> {
    sql_query(
        "select count(*) as count from rowcall.delivery d \
         join rowcall.subscription s on s.id = d.subscription_id and s.origin = 'folder' \
         where d.state = 'suppressed'",
    )
    .get_result(connection)
    .map(|row: Count| row.count)
}

/// How often a constraint has suppressed a delivery.
pub(super) fn suppressions(connection: &mut PgConnection) -> Result<i64, Error> {
    sql_query("select count(*) as count from rowcall.judgement where decision = 'suppress'")
        .get_result(connection)
        .map(|row: Count| row.count)
}
