//! The SQL of deliveries: claimed with a lease, finished only by its holder, released lane by lane.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::registry::registry_share;

/// How many deliveries of a lane are claimed behind its head.
const FOLLOWERS_MAX: i64 = 256;
/// How many expired leases are rescued at a time.
const RESCUED_MAX: i64 = 1_000;

type Result<T> = diesel::QueryResult<T>;

/// A claimed delivery.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedRow {
    /// The delivery.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// To whom.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// Of what.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    /// The object's lane.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub lane: Option<i64>,
    /// Its lane before its key changed.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub lane_previous: Option<i64>,
    /// The order in the lane.
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// The number on the wire.
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    /// How often it was tried.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Bool)]
    is_active: bool,
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct ClaimedRows {
    /// In no order.
    pub claimed: Vec<ClaimedRow>,
    /// Due to subscriptions that are not active, and not claimed.
    pub inactive: Vec<Uuid>,
    /// Whether there may be more.
    pub is_full: bool,
}

/// Claims up to `limit` due deliveries as claim number `lease`: heads of lanes, and what follows
/// them.
pub fn delivery_claim(
    connection: &mut PgConnection,
    lease: Uuid,
    limit: usize,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<ClaimedRows> {
    let heads: Vec<ClaimedRow> = sql_query(include_str!("claim.sql"))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(limit as i64)
        .bind::<SqlUuid, _>(lease)
        .bind::<Timestamptz, _>(lease_until)
        .load(connection)?;
    let is_full = heads.len() >= limit;
    let (mut claimed, inactive): (Vec<ClaimedRow>, Vec<ClaimedRow>) =
        heads.into_iter().partition(|head| head.is_active);
    let followers = claim_followers(
        connection,
        &claimed,
        lease,
        limit - claimed.len(),
        lease_until,
    )?;
    claimed.extend(followers);
    Ok(ClaimedRows {
        claimed,
        inactive: inactive.iter().map(|row| row.id).collect(),
        is_full,
    })
}

fn claim_followers(
    connection: &mut PgConnection,
    heads: &[ClaimedRow],
    lease: Uuid,
    limit: usize,
    lease_until: DateTime<Utc>,
) -> Result<Vec<ClaimedRow>> {
    let heads: Vec<(i64, &ClaimedRow)> = heads
        .iter()
        .filter(|head| head.lane_previous.is_none())
        .filter_map(|head| Some((head.lane?, head)))
        .collect();
    if limit == 0 || heads.is_empty() {
        return Ok(Vec::new());
    }
    fn column<T>(heads: &[(i64, &ClaimedRow)], of: impl Fn(&ClaimedRow) -> T) -> Vec<T> {
        heads.iter().map(|(_, head)| of(head)).collect()
    }
    let lanes: Vec<i64> = heads.iter().map(|(lane, _)| *lane).collect();
    sql_query(include_str!("claim_followers.sql"))
        .bind::<SqlUuid, _>(lease)
        .bind::<Timestamptz, _>(lease_until)
        .bind::<BigInt, _>(FOLLOWERS_MAX)
        .bind::<Array<BigInt>, _>(lanes)
        .bind::<Array<SqlUuid>, _>(column(&heads, |head| head.subscription_id))
        .bind::<Array<BigInt>, _>(column(&heads, |head| head.position))
        .bind::<BigInt, _>(limit as i64)
        .load(connection)
}

/// Takes what is due (`ids`) to subscriptions that are not active out of the claims' sight. Run it
/// in a transaction of its own.
pub fn delivery_set_aside(connection: &mut PgConnection, ids: &[Uuid]) -> Result<usize> {
    // A subscription that is resumed at this moment is active before the look below, or its owner
    // finds what was parked: the lock puts the two in an order.
    registry_share(connection)?;
    sql_query(
        "update rowcall.delivery d set due_at = 'infinity' from rowcall.subscription s \
         where d.id = any($1) and d.state = 'pending' and d.due_at is not null \
         and s.id = d.subscription_id and s.state <> 'active'",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(connection)
}

/// Takes back expired leases. Returns how many.
///
/// It skips what is locked and waits for nobody, so that those who settle deliveries can wait for
/// it: see [`lane_head_lock`].
pub fn lease_rescue(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<usize> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        lane_previous: Option<i64>,
    }
    let rescued: Vec<Row> = sql_query(
        "with expired as ( \
             select id from rowcall.delivery where state = 'sending' and lease_until <= $1 \
             order by id limit $2 for no key update skip locked) \
         update rowcall.delivery d set state = 'pending', lease_holder = null, lease_until = null, \
             due_at = case when d.lane is null then $1 end \
         from expired where d.id = expired.id \
         returning d.subscription_id, d.lane, d.lane_previous",
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
    lane_release(connection, &lanes, now)?;
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
    let rows: Vec<Row> = sql_query(
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
    /// `delivered`, `dead` or `pending`.
    pub state: &'static str,
    /// For a pending one: when it is due. `None`: when its lane releases it.
    pub due_at: Option<DateTime<Utc>>,
    /// Kept until its subscription is active again.
    pub is_parked: bool,
    /// 1 if it was tried, 0 if it was returned.
    pub attempts: i32,
}

/// Writes the ends of leases that [`lease_held`] has locked.
pub fn delivery_finish(
    connection: &mut PgConnection,
    finished: &[Finish],
    now: DateTime<Utc>,
) -> Result<usize> {
    sql_query(
        "update rowcall.delivery d set state = f.state, lease_holder = null, lease_until = null, \
             attempts = d.attempts + f.attempts, \
             due_at = case when f.parked then 'infinity' else f.due_at end, \
             settled_at = case when f.state <> 'pending' then greatest($1, d.created_at) end \
         from unnest($2, $3, $4, $5, $6) as f (id, state, due_at, parked, attempts) \
         where d.id = f.id",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(finished.iter().map(|f| f.state).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(finished.iter().map(|f| f.due_at).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(finished.iter().map(|f| f.is_parked).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(finished.iter().map(|f| f.attempts).collect::<Vec<_>>())
    .execute(connection)
}

/// An attempt as it is written.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    /// Of which delivery.
    pub delivery_id: Uuid,
    /// From 1.
    pub number: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: &'static str,
    /// The receiver's answer.
    pub status: Option<i32>,
    /// Why it failed.
    pub detail: Option<String>,
}

/// Writes attempts.
pub fn attempt_insert(
    connection: &mut PgConnection,
    attempts: &[NewAttempt],
    instance: Uuid,
) -> Result<usize> {
    fn column<'a, T>(attempts: &'a [NewAttempt], of: impl Fn(&'a NewAttempt) -> T) -> Vec<T> {
        attempts.iter().map(of).collect()
    }
    sql_query(
        "insert into rowcall.attempt \
             (delivery_id, number, instance, started_at, duration_ms, outcome, status, detail) \
         select a.delivery_id, a.number, $1, a.started_at, a.duration_ms, a.outcome, a.status, a.detail \
         from unnest($2, $3, $4, $5, $6, $7, $8) as a \
             (delivery_id, number, started_at, duration_ms, outcome, status, detail)",
    )
    .bind::<SqlUuid, _>(instance)
    .bind::<Array<SqlUuid>, _>(column(attempts, |attempt| attempt.delivery_id))
    .bind::<Array<Integer>, _>(column(attempts, |attempt| attempt.number))
    .bind::<Array<Timestamptz>, _>(column(attempts, |attempt| attempt.started_at))
    .bind::<Array<Integer>, _>(column(attempts, |attempt| attempt.duration_ms))
    .bind::<Array<Text>, _>(column(attempts, |attempt| attempt.outcome))
    .bind::<Array<Nullable<Integer>>, _>(column(attempts, |attempt| attempt.status))
    .bind::<Array<Nullable<Text>>, _>(column(attempts, |attempt| attempt.detail.as_deref()))
    .execute(connection)
}

/// Locks what has come to stand first in these lanes, after something in them was settled and
/// before they are released.
///
/// Two kinds of transaction work on such a delivery at the same moment, and neither sees the
/// other's uncommitted part: whoever settles the last one before it in its other lane, if it is a
/// change of the key; and whoever takes back its expired lease. Each would leave its release to the
/// other. With the lock, this transaction waits for the other and then sees all.
pub fn lane_head_lock(connection: &mut PgConnection, lanes: &[(Uuid, i64)]) -> Result<usize> {
    if lanes.is_empty() {
        return Ok(0);
    }
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = lanes.iter().copied().unzip();
    sql_query(include_str!("lane_head_lock.sql"))
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .execute(connection)
}

/// Makes the heads of these lanes due, after something in them was settled or returned. Returns how
/// many it released.
pub fn lane_release(
    connection: &mut PgConnection,
    lanes: &[(Uuid, i64)],
    now: DateTime<Utc>,
) -> Result<usize> {
    if lanes.is_empty() {
        return Ok(0);
    }
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = lanes.iter().copied().unzip();
    sql_query(include_str!("lane_release.sql"))
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .bind::<Timestamptz, _>(now)
        .execute(connection)
}

/// The bodies of events.
pub fn event_bodies(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        body: String,
    }
    let rows: Vec<Row> = sql_query("select id, body from rowcall.event where id = any($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.id, row.body)).collect())
}

/// When the next delivery is due or the next lease ends.
pub fn delivery_next_at(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        next: Option<DateTime<Utc>>,
    }
    let row: Row = sql_query(
        "select least( \
             (select min(due_at) from rowcall.delivery where state = 'pending' \
                 and due_at < 'infinity'), \
             (select min(lease_until) from rowcall.delivery where state = 'sending')) as next",
    )
    .get_result(connection)?;
    Ok(row.next)
}
