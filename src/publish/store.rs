//! The SQL of publishing: one statement a table, whatever the batch's size.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{
        Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
    },
};
use uuid::Uuid;

use super::event::Event;
use crate::db::kept;

/// The most bytes of bodies that one statement writes; Postgres takes no message over 1 GiB.
const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Writes events; in one statement, unless they are very large.
pub fn event_insert(
    connection: &mut PgConnection,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|event| {
            bytes += event.body.len();
            bytes <= BODIES_BYTES_MAX
        });
        // One that is larger by itself goes by itself.
        let (now_written, later) = rest.split_at(fitting.count().max(1));
        event_insert_some(connection, now_written, now)?;
        rest = later;
    }
    Ok(())
}

fn event_insert_some(
    connection: &mut PgConnection,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    fn column<'a, T>(events: &'a [Event], of: impl Fn(&'a Event) -> T) -> Vec<T> {
        events.iter().map(of).collect()
    }
    kept(
        "insert into rowcall.event (published_at, source, id, position, type, object_type, \
             object_key, previous_key, \"time\", change_seq, xid, body) \
         select $1, e.source, e.id, e.position, e.type, e.object_type, e.object_key, \
             e.previous_key, e.at, e.change_seq, e.xid::text::xid8, e.body \
         from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) as e (source, id, position, \
             type, object_type, object_key, previous_key, at, change_seq, xid, body)",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<Text>, _>(column(events, |event| &*event.source))
    .bind::<Array<SqlUuid>, _>(column(events, |event| event.id))
    .bind::<Array<BigInt>, _>(column(events, |event| event.position))
    .bind::<Array<Text>, _>(column(events, |event| &*event.event_type))
    .bind::<Array<Nullable<Text>>, _>(column(events, |event| event.object_type.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(events, |event| event.key.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(events, |event| event.previous_key.as_deref()))
    .bind::<Array<Timestamptz>, _>(column(events, |event| event.time))
    .bind::<Array<BigInt>, _>(column(events, |event| event.change_seq))
    .bind::<Array<BigInt>, _>(column(events, |event| event.xid))
    .bind::<Array<Text>, _>(column(events, |event| &*event.body))
    .execute(connection)
    .map(|_| ())
}

/// The first event whose time is from `from` on, and well behind its publishing.
pub(super) fn event_ahead_first(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
) -> Result<Option<Uuid>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let row: Option<Row> = sql_query(
        "select id from rowcall.event \
         where \"time\" - published_at > interval '1 hour' and \"time\" >= $1 order by id limit 1",
    )
    .bind::<Timestamptz, _>(from)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.id))
}

/// A delivery as it is written.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// UUIDv7.
    pub id: Uuid,
    /// To whom.
    pub subscription_id: Uuid,
    /// Of what.
    pub event_id: Uuid,
    /// The event's position.
    pub position: i64,
    /// The object's lane.
    pub lane: Option<i64>,
    /// Its lane before its key changed.
    pub lane_previous: Option<i64>,
    /// Gapless per subscription.
    pub sequence: Option<i64>,
    /// See [`Mode::urgency`](crate::subscription::model::Mode::urgency).
    pub urgency: i16,
    /// `pending`, `sending`, `held` or `suppressed`.
    pub state: &'static str,
    /// When a held one is withdrawn.
    pub hold_until: Option<DateTime<Utc>>,
    /// It has not passed the constraints that are judged at the event.
    pub is_unjudged: bool,
    /// It was counted by the rates that are judged when it is gathered.
    pub is_rate_spent: bool,
    /// When it may be claimed, for one that is not claimed at birth.
    pub due_at: Option<DateTime<Utc>>,
    /// Kept until its subscription is active again.
    pub is_parked: bool,
    /// The lease's end, for one that is.
    pub lease_until: Option<DateTime<Utc>>,
}

/// Writes deliveries; those with a lease are held by the claim `lease`.
pub fn delivery_insert(
    connection: &mut PgConnection,
    deliveries: &[NewDelivery],
    lease: Uuid,
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    fn column<'a, T>(deliveries: &'a [NewDelivery], of: impl Fn(&'a NewDelivery) -> T) -> Vec<T> {
        deliveries.iter().map(of).collect()
    }
    kept(
        "insert into rowcall.delivery (created_at, id, subscription_id, event_id, position, lane, \
             lane_previous, sequence, urgency, state, due_at, lease_holder, lease_until, hold_until, \
             is_unjudged, is_rate_spent, settled_at) \
         select $1, d.id, d.subscription_id, d.event_id, d.position, d.lane, d.lane_previous, \
             d.sequence, d.urgency, d.state, \
             case when d.parked then 'infinity' else d.due_at end, \
             case when d.state = 'sending' then $2 end, d.lease_until, d.hold_until, \
             d.unjudged, d.rate_spent, case when d.state = 'suppressed' then $1 end \
         from unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) as d (id, \
             subscription_id, event_id, position, lane, lane_previous, sequence, urgency, state, \
             hold_until, unjudged, rate_spent, due_at, parked, lease_until)",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(lease)
    .bind::<Array<SqlUuid>, _>(column(deliveries, |delivery| delivery.id))
    .bind::<Array<SqlUuid>, _>(column(deliveries, |delivery| delivery.subscription_id))
    .bind::<Array<SqlUuid>, _>(column(deliveries, |delivery| delivery.event_id))
    .bind::<Array<BigInt>, _>(column(deliveries, |delivery| delivery.position))
    .bind::<Array<Nullable<BigInt>>, _>(column(deliveries, |delivery| delivery.lane))
    .bind::<Array<Nullable<BigInt>>, _>(column(deliveries, |delivery| delivery.lane_previous))
    .bind::<Array<Nullable<BigInt>>, _>(column(deliveries, |delivery| delivery.sequence))
    .bind::<Array<SmallInt>, _>(column(deliveries, |delivery| delivery.urgency))
    .bind::<Array<Text>, _>(column(deliveries, |delivery| delivery.state))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(deliveries, |delivery| delivery.hold_until))
    .bind::<Array<Bool>, _>(column(deliveries, |delivery| delivery.is_unjudged))
    .bind::<Array<Bool>, _>(column(deliveries, |delivery| delivery.is_rate_spent))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(deliveries, |delivery| delivery.due_at))
    .bind::<Array<Bool>, _>(column(deliveries, |delivery| delivery.is_parked))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(deliveries, |delivery| delivery.lease_until))
    .execute(connection)
    .map(|_| ())
}

/// Takes the next `counts` numbers of each subscription; gives the last number before them.
pub fn sequence_take(
    connection: &mut PgConnection,
    counts: &HashMap<Uuid, i64>,
) -> Result<HashMap<Uuid, i64>, diesel::result::Error> {
    sequence_take_matched(connection, counts, &HashMap::new())
}

/// The same, and counts how many events were `matched` with subscriptions, for the account: what
/// their deliveries and digests must come to. In the order of ids: two instances that publish the
/// same batch meet here, and one of them must go on.
pub fn sequence_take_matched(
    connection: &mut PgConnection,
    counts: &HashMap<Uuid, i64>,
    matched: &HashMap<Uuid, i64>,
) -> Result<HashMap<Uuid, i64>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = BigInt)]
        before: i64,
    }
    let ids: HashSet<Uuid> = counts.keys().chain(matched.keys()).copied().collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let of = |numbers: &HashMap<Uuid, i64>| -> Vec<i64> {
        let number = |id| numbers.get(id).copied().unwrap_or(0);
        ids.iter().map(number).collect()
    };
    let rows: Vec<Row> = kept(
        "with taken as ( \
             select s.subscription_id, t.count, t.matched from rowcall.subscription_sequence s \
             join unnest($1, $2, $3) as t (id, count, matched) on t.id = s.subscription_id \
             order by s.subscription_id for no key update of s) \
         update rowcall.subscription_sequence s set assigned = s.assigned + t.count, \
             matched = s.matched + t.matched \
         from taken t where s.subscription_id = t.subscription_id \
         returning s.subscription_id, s.assigned - t.count as before",
    )
    .bind::<Array<SqlUuid>, _>(&ids)
    .bind::<Array<BigInt>, _>(of(counts))
    .bind::<Array<BigInt>, _>(of(matched))
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.subscription_id, row.before))
        .collect())
}

/// Which of these lanes have unsettled deliveries. Of each such lane one delivery stays locked
/// until the transaction ends: whoever settles it must then see what this transaction writes behind
/// it, and will release it. Without the lock, a delivery written as waiting and a predecessor
/// settled at the same moment would not see each other, and the delivery would wait for ever.
pub fn lane_busy(
    connection: &mut PgConnection,
    lanes: &HashSet<(Uuid, i64)>,
) -> Result<HashSet<(Uuid, i64)>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        place: i32,
        #[diesel(sql_type = Bool)]
        is_locked: bool,
    }
    let mut open: Vec<(Uuid, i64)> = lanes.iter().copied().collect();
    let mut busy = HashSet::new();
    while !open.is_empty() {
        let (ids, numbers): (Vec<Uuid>, Vec<i64>) = open.iter().copied().unzip();
        let found: Vec<Row> = kept(include_str!("lane_lock.sql"))
            .bind::<Array<SqlUuid>, _>(&ids)
            .bind::<Array<BigInt>, _>(&numbers)
            .load(connection)?;
        // A lane whose last delivery was settled while we waited for its lock may hold others:
        // looked at once more. It is free only if a later look finds nothing. Nothing is added to a
        // lane that was found free: only one transaction at a time publishes what is in it.
        let (locked, settled): (Vec<Row>, Vec<Row>) =
            found.into_iter().partition(|row| row.is_locked);
        let lane = |row: Row| open[row.place as usize - 1];
        busy.extend(locked.into_iter().map(lane));
        open = settled.into_iter().map(lane).collect();
    }
    Ok(busy)
}
