//! SQL of what is recorded of a delivery, and of what it waits for.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{
        Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
    },
};
use serde::Serialize;
use uuid::Uuid;

/// The most attempts that are told; the last ones. A schedule has 32 at most, a replay has more.
const ATTEMPTS_MAX: i64 = 50;
/// The most judgements that are told; the last ones.
const JUDGEMENTS_MAX: i64 = 50;
/// The most synchronous deliveries that are named as waited for.
const UNTRIED_MAX: i64 = 10;

/// A delivery of an event, or of a part of a digest.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::explain) struct DeliveryRow {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::explain) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::explain) subscription_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::explain) event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::explain) digest_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(in crate::explain) part: Option<i32>,
    #[diesel(sql_type = SmallInt)]
    pub(in crate::explain) urgency: i16,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::explain) lane: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::explain) lane_previous: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(in crate::explain) position: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::explain) sequence: Option<i64>,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) state: String,
    #[diesel(sql_type = Integer)]
    pub(in crate::explain) attempts: i32,
    /// Null also while it is parked.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::explain) due_at: Option<DateTime<Utc>>,
    /// Kept until its subscription is active again.
    #[diesel(sql_type = Bool)]
    pub(in crate::explain) is_parked: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::explain) lease_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::explain) hold_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::explain) settled_at: Option<DateTime<Utc>>,
    /// Why it was cancelled, if not because its subscription was deleted.
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::explain) cancelled_by: Option<String>,
}

impl DeliveryRow {
    /// Whether it is a delayed one that may have to wait for its event's synchronous ones.
    pub(in crate::explain) fn waits_for_others(&self, now: DateTime<Utc>) -> bool {
        let is_later = self.due_at.is_some_and(|due| due > now);
        let may_wait = self.state == "pending" && is_later || self.state == "sending";
        self.urgency == 1 && self.attempts == 0 && may_wait
    }
}

const DELIVERY: &str = "select id, subscription_id, event_id, digest_id, part, urgency, lane, \
     lane_previous, position, sequence, state, attempts, nullif(due_at, 'infinity') as due_at, \
     coalesce(due_at = 'infinity', false) as is_parked, lease_until, hold_until, settled_at, \
     cancelled_by from rowcall.delivery";

/// What the event is owed to the subscription.
pub(in crate::explain) fn delivery_find(
    connection: &mut PgConnection,
    event: Uuid,
    subscription: Uuid,
) -> QueryResult<Option<DeliveryRow>> {
    sql_query(format!(
        "{DELIVERY} where event_id = $1 and subscription_id = $2"
    ))
    .bind::<SqlUuid, _>(event)
    .bind::<SqlUuid, _>(subscription)
    .get_result(connection)
    .optional()
}

/// The part of a digest that decides what became of it: one that is not settled, or else the worst,
/// as the account counts them.
pub(in crate::explain) fn part_decisive(
    connection: &mut PgConnection,
    digest: Uuid,
) -> QueryResult<Option<DeliveryRow>> {
    sql_query(format!(
        "{DELIVERY} where digest_id = $1 \
         order by array_position(array['sending', 'held', 'pending', 'dead', 'withdrawn', \
             'suppressed', 'cancelled', 'delivered'], state), part limit 1"
    ))
    .bind::<SqlUuid, _>(digest)
    .get_result(connection)
    .optional()
}

/// What stands first in the lanes of a delivery, and so holds it back.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::explain) struct AheadRow {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::explain) id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::explain) event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::explain) digest_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) state: String,
    #[diesel(sql_type = Integer)]
    pub(in crate::explain) attempts: i32,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::explain) due_at: Option<DateTime<Utc>>,
}

/// What stands before a delivery that is not settled, if anything does.
pub(in crate::explain) fn delivery_ahead(
    connection: &mut PgConnection,
    delivery: &DeliveryRow,
) -> QueryResult<Option<AheadRow>> {
    let lanes: Vec<i64> = delivery
        .lane
        .into_iter()
        .chain(delivery.lane_previous)
        .collect();
    if lanes.is_empty() || delivery.settled_at.is_some() {
        return Ok(None);
    }
    sql_query(
        "select id, event_id, digest_id, state, attempts, nullif(due_at, 'infinity') as due_at \
         from rowcall.delivery \
         where subscription_id = $1 and (lane = any($2) or lane_previous = any($2)) \
             and (settled_at is null or blocks) and position < $3 \
         order by position limit 1",
    )
    .bind::<SqlUuid, _>(delivery.subscription_id)
    .bind::<Array<BigInt>, _>(lanes)
    .bind::<BigInt, _>(delivery.position)
    .get_result(connection)
    .optional()
}

/// The subscriptions whose synchronous deliveries of an event the delayed ones wait for.
pub(in crate::explain) fn delivery_untried(
    connection: &mut PgConnection,
    event: Uuid,
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "select s.name from rowcall.untried u \
         join rowcall.subscription s on s.id = u.subscription_id \
         where u.event_id = $1 order by s.name limit $2",
    )
    .bind::<SqlUuid, _>(event)
    .bind::<BigInt, _>(UNTRIED_MAX)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// What a constraint said.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::explain) struct JudgementRow {
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::explain) judged_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) moment: String,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) decision: String,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) constraint_name: String,
    #[diesel(sql_type = BigInt)]
    pub(in crate::explain) constraint_version: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) reason: String,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) looked_at: String,
}

/// What constraints said of an event, or of a digest, for a subscription, oldest first.
pub(in crate::explain) fn judgement_list(
    connection: &mut PgConnection,
    subscription: Uuid,
    event: Option<Uuid>,
    digest: Option<Uuid>,
) -> QueryResult<Vec<JudgementRow>> {
    sql_query(
        "select * from ( \
             select judged_at, moment, decision, constraint_name, constraint_version, reason, \
                 \"values\"::text as looked_at \
             from rowcall.judgement \
             where subscription_id = $1 and (event_id = $2 or digest_id = $3) \
             order by judged_at desc, decision <> 'hold' desc limit $4) as last \
         order by judged_at, decision <> 'hold'",
    )
    .bind::<SqlUuid, _>(subscription)
    .bind::<Nullable<SqlUuid>, _>(event)
    .bind::<Nullable<SqlUuid>, _>(digest)
    .bind::<BigInt, _>(JUDGEMENTS_MAX)
    .load(connection)
}

/// An attempt.
#[derive(Clone, Debug, QueryableByName, Serialize)]
pub(in crate::explain) struct AttemptRow {
    #[diesel(sql_type = Integer)]
    pub(in crate::explain) number: i32,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::explain) started_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(in crate::explain) duration_ms: i32,
    #[diesel(sql_type = Text)]
    pub(in crate::explain) outcome: String,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(in crate::explain) status: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::explain) detail: Option<String>,
}

/// The last attempts of a delivery, in their order.
pub(in crate::explain) fn attempt_list(
    connection: &mut PgConnection,
    delivery: Uuid,
) -> QueryResult<Vec<AttemptRow>> {
    sql_query(
        "select * from ( \
             select number, started_at, duration_ms, outcome, status, detail \
             from rowcall.attempt where delivery_id = $1 order by number desc limit $2) as last \
         order by number",
    )
    .bind::<SqlUuid, _>(delivery)
    .bind::<BigInt, _>(ATTEMPTS_MAX)
    .load(connection)
}
