//! The SQL of deliveries: claimed with a lease, finished only by its holder, released lane by lane.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{barrier::store::barrier_release, lane::store::lane_release};
use crate::{db::kept, digest::gather::NewMember};

/// How many expired leases are rescued at a time.
const RESCUED_MAX: i64 = 1_000;

type Result<T> = diesel::QueryResult<T>;

/// Takes back expired leases. Returns how many.
///
/// It skips what is locked and waits for nobody, so that those who settle deliveries can wait for
/// it: see [`lane_head_lock`](super::lane::store::lane_head_lock).
pub fn lease_rescue(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    barrier_ends: DateTime<Utc>,
) -> Result<usize> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane_previous: Option<i64>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        awaited: Option<Uuid>,
    }
    let rescued: Vec<Row> = kept(
        "with expired as ( \
             select id from rowcall.delivery where state = 'sending' and lease_until <= $1 \
             order by lease_until limit $2 for no key update skip locked) \
         update rowcall.delivery d set state = 'pending', lease_holder = null, lease_until = null, \
             lost_leases = d.lost_leases + 1, due_at = case when d.lane is null then $1 end \
         from expired where d.id = expired.id \
         returning d.subscription_id, d.lane, d.lane_previous, \
             case when d.urgency = 0 and d.attempts = 0 then d.event_id end as awaited",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(RESCUED_MAX)
    .load(connection)?;
    let lanes: Vec<(Uuid, i64)> = rescued
        .iter()
        .flat_map(|row| {
            let lanes = row.lane.into_iter().chain(row.lane_previous);
            lanes.map(|lane| (row.subscription_id, lane))
        })
        .collect();
    lane_release(connection, &lanes, now, barrier_ends)?;
    // One that was lost for the second time counts as tried.
    let awaited: Vec<Uuid> = rescued.iter().filter_map(|row| row.awaited).collect();
    barrier_release(connection, &awaited, now, barrier_ends)?;
    Ok(rescued.len())
}

/// Locks those of `leases` (delivery, claim) that still hold; the others are somebody else's now.
///
/// FOR UPDATE is what settling needs: it is the one lock that publishing's FOR KEY SHARE stops.
pub fn lease_held(
    connection: &mut PgConnection,
    leases: &[(Uuid, Uuid)],
) -> Result<Vec<(Uuid, Uuid)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        lease: Uuid,
    }
    let (ids, claims): (Vec<Uuid>, Vec<Uuid>) = leases.iter().copied().unzip();
    let rows: Vec<Row> = kept(
        "select d.id, d.lease_holder as lease from rowcall.delivery d \
         join unnest($1, $2) as l (id, claim) on l.id = d.id and l.claim = d.lease_holder \
         where d.state = 'sending' order by d.id for update of d",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(claims)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.id, row.lease)).collect())
}

/// How a delivery leaves the state `sending`.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The delivery.
    pub id: Uuid,
    /// Any state but `sending` and `cancelled`.
    pub state: &'static str,
    /// For a pending or held one: when it is due. `None`: when its lane releases it.
    pub due_at: Option<DateTime<Utc>>,
    /// Kept until its subscription is active again.
    pub is_parked: bool,
    /// 1 if it was tried, 0 if it was returned or judged.
    pub attempts: i32,
    /// 1 if its lease ended before it was tried.
    pub lost_leases: i32,
    /// For a held one: when it is withdrawn, unless that was decided when it was held before.
    pub hold_until: Option<DateTime<Utc>>,
    /// It can't start now, and counts as tried.
    pub is_deferred: bool,
}

/// Writes the ends of leases that [`lease_held`] has locked. The subscriptions `recovered` are not
/// failing any more, if they were: here, because that takes no statement of its own.
pub fn delivery_finish(
    connection: &mut PgConnection,
    finished: &[Finish],
    recovered: &[Uuid],
    now: DateTime<Utc>,
) -> Result<usize> {
    kept(
        "with failing as ( \
             select subscription_id from rowcall.subscription_failing \
             where subscription_id = any($10) order by subscription_id for update), \
         recovered as ( \
             delete from rowcall.subscription_failing f using failing \
             where f.subscription_id = failing.subscription_id) \
         update rowcall.delivery d set state = f.state, lease_holder = null, lease_until = null, \
             attempts = d.attempts + f.attempts, lost_leases = d.lost_leases + f.lost_leases, \
             due_at = case when f.parked then 'infinity' else f.due_at end, \
             settled_at = case when f.state not in ('pending', 'held') \
                 then greatest($1, d.created_at) end, \
             hold_until = case when f.state = 'held' then coalesce(d.hold_until, f.hold_until) \
                 when f.attempts = 0 then d.hold_until end, \
             is_unjudged = d.is_unjudged and f.attempts = 0, \
             is_deferred = d.is_deferred or f.deferred \
         from unnest($2, $3, $4, $5, $6, $7, $8, $9) as f \
             (id, state, due_at, parked, attempts, lost_leases, hold_until, deferred) \
         where d.id = f.id",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(finished.iter().map(|f| f.state).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(finished.iter().map(|f| f.due_at).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(finished.iter().map(|f| f.is_parked).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(finished.iter().map(|f| f.attempts).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(finished.iter().map(|f| f.lost_leases).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(
        finished.iter().map(|f| f.hold_until).collect::<Vec<_>>(),
    )
    .bind::<Array<Bool>, _>(finished.iter().map(|f| f.is_deferred).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(recovered)
    .execute(connection)
}

/// The bodies of parts of digests, however large.
pub fn part_bodies(
    connection: &mut PgConnection,
    parts: &[(Uuid, i32)],
) -> Result<Vec<((Uuid, i32), String)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        digest_id: Uuid,
        #[diesel(sql_type = Integer)]
        part: i32,
        #[diesel(sql_type = Text)]
        body: String,
    }
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let (digests, parts): (Vec<Uuid>, Vec<i32>) = parts.iter().copied().unzip();
    let rows: Vec<Row> = kept(
        "select p.digest_id, p.part, p.body from rowcall.digest_part p \
         join unnest($1, $2) as w (digest_id, part) \
             on w.digest_id = p.digest_id and w.part = p.part",
    )
    .bind::<Array<SqlUuid>, _>(digests)
    .bind::<Array<Integer>, _>(parts)
    .load(connection)?;
    let row = |row: Row| ((row.digest_id, row.part), row.body);
    Ok(rows.into_iter().map(row).collect())
}

/// What is stored of an event, with its whole body.
#[derive(Clone, Debug, QueryableByName)]
pub struct EventBody {
    /// The event.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The CloudEvent without its sequence.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// Its type.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// The type of its object; none, if it came through the API.
    #[diesel(sql_type = Nullable<Text>)]
    pub object_type: Option<String>,
}

/// The bodies of events, however large: whoever asks has bounded what `ids` come to.
pub fn event_bodies(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<EventBody>> {
    kept("select id, body, type as event_type, object_type from rowcall.event where id = any($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .load(connection)
}

/// Events as digests know them.
pub fn event_members(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<NewMember>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = BigInt)]
        position: i64,
        #[diesel(sql_type = Text)]
        event_type: String,
        #[diesel(sql_type = Nullable<Text>)]
        object_type: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        object_key: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        previous_key: Option<String>,
        #[diesel(sql_type = Timestamptz)]
        time: DateTime<Utc>,
    }
    let rows: Vec<Row> = kept(
        "select id, position, type as event_type, object_type, object_key, previous_key, \
             \"time\" from rowcall.event where id = any($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?;
    let member = |row: Row| NewMember {
        event_id: row.id,
        position: row.position,
        event_type: row.event_type,
        object_type: row.object_type,
        object_key: row.object_key,
        previous_key: row.previous_key,
        time: row.time,
        body: None,
    };
    Ok(rows.into_iter().map(member).collect())
}

/// Removes deliveries whose leases [`lease_held`] has locked, and their attempts: their events are
/// in digests now.
pub fn delivery_remove(connection: &mut PgConnection, ids: &[Uuid]) -> Result<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    kept(
        "with attempts as (delete from rowcall.attempt where delivery_id = any($1)) \
         delete from rowcall.delivery where id = any($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(connection)
}

/// When the next delivery is due or the next lease ends.
pub fn delivery_next_at(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        next: Option<DateTime<Utc>>,
    }
    let row: Row = kept(
        "select least( \
             (select min(due_at) from rowcall.delivery where urgency = 0 and due_at < 'infinity'), \
             (select min(due_at) from rowcall.delivery where urgency = 1 and due_at < 'infinity'), \
             (select min(due_at) from rowcall.delivery where urgency = 2 and due_at < 'infinity'), \
             (select min(lease_until) from rowcall.delivery where lease_until is not null)) as next",
    )
    .get_result(connection)?;
    Ok(row.next)
}
