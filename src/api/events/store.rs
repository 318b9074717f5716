//! SQL of events and deliveries as they are shown.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::ledger::Name;
use crate::db::kept;

/// Which events are asked for; `None`: any.
#[derive(Debug)]
pub(super) struct EventFilter {
    pub(super) event_type: Option<String>,
    pub(super) object_type: Option<String>,
    pub(super) object_key: Option<String>,
    /// Inclusive.
    pub(super) from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub(super) to: Option<DateTime<Utc>>,
    /// Only events owed to the subscriptions of this key.
    pub(super) owner: Option<String>,
}

#[derive(QueryableByName)]
pub(super) struct EventRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) body: String,
}

/// Events by id, behind `after`; none that is meant is before `floor`. Belongs into a transaction.
pub(super) fn event_list(
    connection: &mut PgConnection,
    filter: &EventFilter,
    floor: Option<Uuid>,
    after: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<EventRow>> {
    // A plan that serves any combination of filters could use no index.
    connection.batch_execute("set local plan_cache_mode = force_custom_plan")?;
    sql_query(
        "select e.id, e.body from rowcall.event e \
         where ($1 is null or e.id > $1) \
             and ($2 is null or e.id >= $2) \
             and ($3 is null or e.type = $3) and ($4 is null or e.object_type = $4) \
             and ($5 is null or left(e.object_key, 100) = left($5, 100) and e.object_key = $5) \
             and ($6 is null or e.\"time\" >= $6) and ($7 is null or e.\"time\" < $7) \
             and ($8 is null or exists ( \
                 select from rowcall.delivery d \
                 join rowcall.subscription s on s.id = d.subscription_id \
                 where d.event_id = e.id and s.owner = $8) \
             or exists ( \
                 select from rowcall.digest_member m \
                 join rowcall.subscription s on s.id = m.subscription_id \
                 where m.event_id = e.id and s.owner = $8)) \
         order by e.id limit $9",
    )
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<Nullable<SqlUuid>, _>(floor)
    .bind::<Nullable<Text>, _>(&filter.event_type)
    .bind::<Nullable<Text>, _>(&filter.object_type)
    .bind::<Nullable<Text>, _>(&filter.object_key)
    .bind::<Nullable<Timestamptz>, _>(filter.from)
    .bind::<Nullable<Timestamptz>, _>(filter.to)
    .bind::<Nullable<Text>, _>(&filter.owner)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}

/// One event; only if it is owed to a subscription of `owner`, if one is given.
pub(super) fn event_get(
    connection: &mut PgConnection,
    id: Uuid,
    owner: Option<&str>,
) -> QueryResult<Option<EventRow>> {
    sql_query(
        "select e.id, e.body from rowcall.event e where e.id = $1 and ($2 is null or exists ( \
             select from rowcall.delivery d \
             join rowcall.subscription s on s.id = d.subscription_id \
             where d.event_id = e.id and s.owner = $2) \
         or exists ( \
             select from rowcall.digest_member m \
             join rowcall.subscription s on s.id = m.subscription_id \
             where m.event_id = e.id and s.owner = $2))",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

#[derive(QueryableByName)]
pub(super) struct DeliveryRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) subscription_name: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    /// None: it was suppressed or held before it could have one.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) sequence: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) due_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) settled_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) cancelled_by: Option<String>,
}

/// The deliveries of an event by id, behind `after`; only those of `owner`, if one is given.
pub(super) fn delivery_list(
    connection: &mut PgConnection,
    event: Uuid,
    owner: Option<&str>,
    after: Option<Uuid>,
    rows_max: i64,
) -> QueryResult<Vec<DeliveryRow>> {
    sql_query(
        "select d.id, d.subscription_id, s.name as subscription_name, d.state, d.sequence, \
             nullif(d.due_at, 'infinity') as due_at, d.settled_at, d.cancelled_by \
         from rowcall.delivery d join rowcall.subscription s on s.id = d.subscription_id \
         where d.event_id = $1 and ($2 is null or s.owner = $2) and ($3 is null or d.id > $3) \
         order by d.id limit $4",
    )
    .bind::<SqlUuid, _>(event)
    .bind::<Nullable<Text>, _>(owner)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(rows_max)
    .load(connection)
}

/// What tells one submitted event from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventName<'a> {
    pub(super) source: &'a str,
    pub(super) id: &'a str,
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(QueryableByName)]
struct DigestRow {
    #[diesel(sql_type = Nullable<Binary>)]
    digest: Option<Vec<u8>>,
}

/// Remembered for `limits.event_accepted_days`, with the digest of its content.
impl Name for EventName<'_> {
    fn claim(
        connection: &mut PgConnection,
        names: &[(Self, &[u8])],
        now: DateTime<Utc>,
    ) -> QueryResult<Vec<bool>> {
        let rows: Vec<NameRow> = kept(
            "insert into rowcall.event_accepted (source, id, digest, accepted_at) \
             select e.source, e.id, e.digest, $4 \
             from unnest($1, $2, $3) with ordinality as e (source, id, digest, place) \
             order by e.place on conflict (source, id) do nothing \
             returning source, id",
        )
        .bind::<Array<Text>, _>(
            names
                .iter()
                .map(|(name, _)| name.source)
                .collect::<Vec<_>>(),
        )
        .bind::<Array<Text>, _>(names.iter().map(|(name, _)| name.id).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(names.iter().map(|(_, digest)| *digest).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .load(connection)?;
        let new: BTreeSet<EventName<'_>> = rows
            .iter()
            .map(|NameRow { source, id }| EventName { source, id })
            .collect();
        Ok(names.iter().map(|(name, _)| new.contains(name)).collect())
    }

    fn digests(connection: &mut PgConnection, names: &[Self]) -> QueryResult<Vec<Option<Vec<u8>>>> {
        let rows: Vec<DigestRow> = kept(
            "select a.digest from unnest($1, $2) with ordinality as e (source, id, place) \
             left join rowcall.event_accepted a on a.source = e.source and a.id = e.id \
             order by e.place",
        )
        .bind::<Array<Text>, _>(names.iter().map(|name| name.source).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(names.iter().map(|name| name.id).collect::<Vec<_>>())
        .load(connection)?;
        Ok(rows.into_iter().map(|row| row.digest).collect())
    }

    fn forget(connection: &mut PgConnection, names: &[Self]) -> QueryResult<()> {
        kept(
            "delete from rowcall.event_accepted a using unnest($1, $2) as e (source, id) \
             where a.source = e.source and a.id = e.id",
        )
        .bind::<Array<Text>, _>(names.iter().map(|name| name.source).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(names.iter().map(|name| name.id).collect::<Vec<_>>())
        .execute(connection)
        .map(drop)
    }
}

/// Bounds how long a statement of this transaction waits for a lock, in milliseconds.
pub(super) fn locks_wait_at_most(
    connection: &mut PgConnection,
    milliseconds: u32,
) -> QueryResult<()> {
    connection.batch_execute(&format!("set local lock_timeout = '{milliseconds}ms'"))
}
