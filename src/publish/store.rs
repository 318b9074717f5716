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
use crate::{
    capture::store::{Advance, Cursor, backlog_advance},
    db::kept,
};

/// The most bytes of bodies that one statement writes; Postgres takes no message over 1 GiB.
const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What one transaction publishes, beside digests and what was judged.
#[derive(Clone, Copy, Debug)]
pub struct NewBatch<'a> {
    /// In their order.
    pub events: &'a [Event],
    /// Of these events, or of earlier ones.
    pub deliveries: &'a [NewDelivery],
    /// What holds those that are born claimed.
    pub lease: Uuid,
    /// Where the source's cursor stands, and where it moves.
    pub advance: Advance<'a>,
}

/// Writes a batch and moves the cursor; in one statement, unless the bodies are very large. Returns
/// false if another publisher moved the cursor first: then the transaction is to be rolled back.
pub fn batch_insert(
    connection: &mut PgConnection,
    batch: NewBatch<'_>,
    now: DateTime<Utc>,
) -> Result<bool, diesel::result::Error> {
    let mut rest = batch.events;
    loop {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|event| {
            bytes += event.body.len();
            bytes <= BODIES_BYTES_MAX
        });
        // One that is larger by itself goes by itself.
        let (now_written, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
        let (deliveries, advance) = if later.is_empty() {
            (batch.deliveries, Some(batch.advance))
        } else {
            (&[][..], None)
        };
        let moved = batch_insert_some(
            connection,
            now_written,
            deliveries,
            batch.lease,
            advance,
            now,
        )?;
        rest = later;
        let Some(advance) = advance else { continue };
        if moved {
            backlog_advance(connection, advance)?;
        }
        return Ok(moved);
    }
}

fn batch_insert_some(
    connection: &mut PgConnection,
    events: &[Event],
    deliveries: &[NewDelivery],
    lease: Uuid,
    advance: Option<Advance<'_>>,
    now: DateTime<Utc>,
) -> Result<bool, diesel::result::Error> {
    fn event<'a, T>(events: &'a [Event], of: impl Fn(&'a Event) -> T) -> Vec<T> {
        events.iter().map(of).collect()
    }
    fn delivery<'a, T>(deliveries: &'a [NewDelivery], of: impl Fn(&'a NewDelivery) -> T) -> Vec<T> {
        deliveries.iter().map(of).collect()
    }
    // What moves the cursor comes last, and its values first. No source has no name.
    let (source, from, to, changes) = match &advance {
        Some(advance) => (
            Some(advance.source),
            advance.from,
            advance.to,
            advance.changes,
        ),
        None => (None, &Cursor::default(), &Cursor::default(), 0),
    };
    let moved = kept(concat!(
        include_str!("batch_insert.sql"),
        include_str!("../capture/cursor_advance.sql")
    ))
    .bind::<Nullable<Text>, _>(source)
    .bind::<BigInt, _>(from.revision)
    .bind::<Text, _>(&to.snapshot)
    .bind::<Nullable<Text>, _>(&to.batch_snapshot)
    .bind::<Nullable<BigInt>, _>(to.batch_seq)
    .bind::<BigInt, _>(to.position)
    .bind::<BigInt, _>(changes as i64)
    .bind::<BigInt, _>(to.seq_seen)
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(lease)
    .bind::<Array<Text>, _>(event(events, |event| &*event.source))
    .bind::<Array<SqlUuid>, _>(event(events, |event| event.id))
    .bind::<Array<BigInt>, _>(event(events, |event| event.position))
    .bind::<Array<Text>, _>(event(events, |event| &*event.event_type))
    .bind::<Array<Nullable<Text>>, _>(event(events, |event| event.object_type.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(event(events, |event| event.key.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(event(events, |event| event.previous_key.as_deref()))
    .bind::<Array<Timestamptz>, _>(event(events, |event| event.time))
    .bind::<Array<BigInt>, _>(event(events, |event| event.change_seq))
    .bind::<Array<BigInt>, _>(event(events, |event| event.xid))
    .bind::<Array<Text>, _>(event(events, |event| &*event.body))
    .bind::<Array<SqlUuid>, _>(delivery(deliveries, |row| row.id))
    .bind::<Array<SqlUuid>, _>(delivery(deliveries, |row| row.subscription_id))
    .bind::<Array<SqlUuid>, _>(delivery(deliveries, |row| row.event_id))
    .bind::<Array<BigInt>, _>(delivery(deliveries, |row| row.position))
    .bind::<Array<Nullable<BigInt>>, _>(delivery(deliveries, |row| row.lane))
    .bind::<Array<Nullable<BigInt>>, _>(delivery(deliveries, |row| row.lane_previous))
    .bind::<Array<Nullable<BigInt>>, _>(delivery(deliveries, |row| row.sequence))
    .bind::<Array<SmallInt>, _>(delivery(deliveries, |row| row.urgency))
    .bind::<Array<Text>, _>(delivery(deliveries, |row| row.state))
    .bind::<Array<Nullable<Timestamptz>>, _>(delivery(deliveries, |row| row.hold_until))
    .bind::<Array<Bool>, _>(delivery(deliveries, |row| row.is_unjudged))
    .bind::<Array<Bool>, _>(delivery(deliveries, |row| row.is_rate_spent))
    .bind::<Array<Nullable<Timestamptz>>, _>(delivery(deliveries, |row| row.due_at))
    .bind::<Array<Bool>, _>(delivery(deliveries, |row| row.is_parked))
    .bind::<Array<Nullable<Timestamptz>>, _>(delivery(deliveries, |row| row.lease_until))
    .execute(connection)?;
    Ok(moved == 1)
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
