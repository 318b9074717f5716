//! The SQL of claiming.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{
        Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
    },
};
use uuid::Uuid;

use super::super::chain::Owed;
use crate::{db::kept, registry::registry_share};

/// How many deliveries of a lane are claimed behind its head.
const FOLLOWERS_MAX: i64 = 256;
/// The same of a digest's parts, each of which may be a megabyte.
const PART_FOLLOWERS_MAX: i64 = 7;

/// Of what a claim takes, this part is of the synchronous ones that came due last, so that those
/// which are written now do not wait behind all that waits already.
const NEWEST_PART: usize = 4;
/// This part is left to the delayed ones, and as much to digests.
const OTHERS_PART: usize = 16;

/// A claimed delivery.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedRow {
    /// The delivery.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// To whom.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// Of what: an event,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
    /// or of a digest
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub digest_id: Option<Uuid>,
    /// this part.
    #[diesel(sql_type = Nullable<Integer>)]
    pub part: Option<i32>,
    /// 0 synchronous, 1 delayed, 2 batch.
    #[diesel(sql_type = SmallInt)]
    pub urgency: i16,
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
    #[diesel(sql_type = Nullable<BigInt>)]
    pub sequence: Option<i64>,
    /// How often it was tried.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// When it was tried first.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub first_tried_at: Option<DateTime<Utc>>,
    /// When it is withdrawn, if it was held.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub hold_until: Option<DateTime<Utc>>,
    /// It has not passed the constraints that are judged at the event.
    #[diesel(sql_type = Bool)]
    pub is_unjudged: bool,
    /// It has been counted by the rates that are judged at send.
    #[diesel(sql_type = Bool)]
    pub is_rate_spent: bool,
    /// It is one of those that came due last, and was written a short time ago.
    #[diesel(sql_type = Bool)]
    pub is_fresh: bool,
    #[diesel(sql_type = Bool)]
    is_active: bool,
}

impl ClaimedRow {
    /// What is owed; the schema sees to it that it is one of the two.
    pub(super) fn owed(&self) -> Option<Owed> {
        match (self.event_id, self.digest_id, self.part) {
            (Some(event), ..) => Some(Owed::Event(event)),
            (None, Some(digest), Some(part)) => Some(Owed::Part { digest, part }),
            _ => None,
        }
    }
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
/// them. A delayed one that has to wait for its event's synchronous ones is due at `barrier_ends`
/// instead.
pub fn delivery_claim(
    connection: &mut PgConnection,
    lease: Uuid,
    limit: usize,
    lease_until: DateTime<Utc>,
    barrier_ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<ClaimedRows> {
    let others = limit / OTHERS_PART;
    let heads: Vec<ClaimedRow> = kept(include_str!("claim.sql"))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(limit as i64)
        .bind::<SqlUuid, _>(lease)
        .bind::<Timestamptz, _>(lease_until)
        .bind::<Timestamptz, _>(barrier_ends)
        .bind::<BigInt, _>(limit.div_ceil(NEWEST_PART) as i64)
        .bind::<BigInt, _>(others as i64)
        .load(connection)?;
    // What is left to others may be all that is left.
    let is_full = heads.len() + 2 * others >= limit;
    let (mut claimed, inactive): (Vec<ClaimedRow>, Vec<ClaimedRow>) =
        heads.into_iter().partition(|head| head.is_active);
    // The synchronous ones first: what follows a delayed head must see them being sent.
    let (parts, events): (Vec<_>, Vec<_>) = claimed
        .iter()
        .cloned()
        .partition(|head| head.digest_id.is_some());
    let (immediate, others): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|head| head.urgency == 0);
    for (heads, each_max) in [
        (immediate, FOLLOWERS_MAX),
        (others, FOLLOWERS_MAX),
        (parts, PART_FOLLOWERS_MAX),
    ] {
        let limits = (limit.saturating_sub(claimed.len()), each_max);
        let until = (lease_until, barrier_ends);
        let followers = claim_followers(connection, &heads, lease, limits, until, now)?;
        claimed.extend(followers);
    }
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
    (limit, each_max): (usize, i64),
    (lease_until, barrier_ends): (DateTime<Utc>, DateTime<Utc>),
    now: DateTime<Utc>,
) -> QueryResult<Vec<ClaimedRow>> {
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
    kept(include_str!("followers.sql"))
        .bind::<SqlUuid, _>(lease)
        .bind::<Timestamptz, _>(lease_until)
        .bind::<BigInt, _>(each_max)
        .bind::<Array<BigInt>, _>(lanes)
        .bind::<Array<SqlUuid>, _>(column(&heads, |head| head.subscription_id))
        .bind::<Array<BigInt>, _>(column(&heads, |head| head.position))
        .bind::<BigInt, _>(limit as i64)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(barrier_ends)
        .load(connection)
}

/// What is stored of an event, with its body as far as that is within what was asked for.
#[derive(Debug, QueryableByName)]
pub(super) struct EventWithin {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    /// The CloudEvent without its sequence; none, if those before it were enough.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) body: Option<String>,
    #[diesel(sql_type = Text)]
    pub(super) event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_type: Option<String>,
}

/// Events, and their bodies in this order until these are `bytes_max` together. Where memory has
/// no such limit, [`event_bodies`](crate::deliver::store::event_bodies) reads all.
pub(super) fn event_bodies_within(
    connection: &mut PgConnection,
    ids: &[Uuid],
    bytes_max: i64,
) -> QueryResult<Vec<EventWithin>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // The length of a large value is known without reading it.
    kept(
        "select e.id, case when e.before < $2 then e.body end as body, e.type as event_type, \
             e.object_type \
         from (select e.id, e.body, e.type, e.object_type, \
                 sum(octet_length(e.body)) over (order by w.place) \
                     - octet_length(e.body) as before \
             from unnest($1) with ordinality as w (id, place) \
             join rowcall.event e on e.id = w.id) as e",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<BigInt, _>(bytes_max)
    .load(connection)
}

/// A part of a digest, with its body as far as that is within what was asked for.
#[derive(Debug, QueryableByName)]
pub(super) struct PartWithin {
    #[diesel(sql_type = SqlUuid)]
    pub(super) digest: Uuid,
    #[diesel(sql_type = Integer)]
    pub(super) part: i32,
    /// As that of an event.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) body: Option<String>,
}

/// Parts of digests, and their bodies in this order until these are `bytes_max` together.
pub(super) fn part_bodies_within(
    connection: &mut PgConnection,
    parts: &[(Uuid, i32)],
    bytes_max: i64,
) -> QueryResult<Vec<PartWithin>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let (digests, parts): (Vec<Uuid>, Vec<i32>) = parts.iter().copied().unzip();
    kept(
        "select p.digest, p.part, case when p.before < $3 then p.body end as body \
         from (select p.digest_id as digest, p.part, p.body, \
                 sum(octet_length(p.body)) over (order by w.place) \
                     - octet_length(p.body) as before \
             from unnest($1, $2) with ordinality as w (digest_id, part, place) \
             join rowcall.digest_part p on p.digest_id = w.digest_id and p.part = w.part) as p",
    )
    .bind::<Array<SqlUuid>, _>(digests)
    .bind::<Array<Integer>, _>(parts)
    .bind::<BigInt, _>(bytes_max)
    .load(connection)
}

/// What claiming decided of deliveries, besides their fates.
#[derive(Debug, Default)]
pub struct Settled {
    /// Deliveries and the numbers that they get.
    pub numbered: Vec<(Uuid, i64)>,
    /// Those that rates which are judged at send have counted.
    pub counted: Vec<Uuid>,
    /// Those that have passed the constraints that are judged at the event.
    pub judged: Vec<Uuid>,
    /// Those that were held and are no more: if they are held again, it is for as long again.
    pub released: Vec<Uuid>,
}

/// Writes it; nothing, where there is nothing.
pub fn delivery_settle_claim(connection: &mut PgConnection, settled: &Settled) -> QueryResult<()> {
    if !settled.numbered.is_empty() {
        let (ids, numbers): (Vec<Uuid>, Vec<i64>) = settled.numbered.iter().copied().unzip();
        kept(
            "update rowcall.delivery d set sequence = n.sequence \
             from unnest($1, $2) as n (id, sequence) where d.id = n.id",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<BigInt>, _>(numbers)
        .execute(connection)?;
    }
    if !settled.counted.is_empty() {
        kept("update rowcall.delivery set is_rate_spent = true where id = any($1)")
            .bind::<Array<SqlUuid>, _>(&settled.counted)
            .execute(connection)?;
    }
    if !settled.judged.is_empty() {
        kept("update rowcall.delivery set is_unjudged = false where id = any($1)")
            .bind::<Array<SqlUuid>, _>(&settled.judged)
            .execute(connection)?;
    }
    if !settled.released.is_empty() {
        kept("update rowcall.delivery set hold_until = null where id = any($1)")
            .bind::<Array<SqlUuid>, _>(&settled.released)
            .execute(connection)?;
    }
    Ok(())
}

/// Has everything that is held, and first in its lanes, judged again at once. Returns how many.
pub fn held_judge_again(connection: &mut PgConnection, now: DateTime<Utc>) -> QueryResult<usize> {
    kept(
        "with held as ( \
             select id from rowcall.delivery \
             where state = 'held' and due_at > $1 and due_at < 'infinity' \
             order by id for no key update skip locked) \
         update rowcall.delivery d set due_at = $1 from held where d.id = held.id",
    )
    .bind::<Timestamptz, _>(now)
    .execute(connection)
}

/// Takes what is due (`ids`) to subscriptions that are not active out of the claims' sight. Run it
/// in a transaction of its own.
pub fn delivery_set_aside(connection: &mut PgConnection, ids: &[Uuid]) -> QueryResult<usize> {
    // A subscription that is resumed at this moment is active before the look below, or its owner
    // finds what was parked: the lock puts the two in an order.
    registry_share(connection)?;
    kept(
        "with inactive as ( \
             select d.id from rowcall.delivery d \
             join rowcall.subscription s on s.id = d.subscription_id and s.state <> 'active' \
             where d.id = any($1) and d.due_at is not null \
             order by d.id for no key update of d) \
         update rowcall.delivery d set due_at = 'infinity' from inactive where d.id = inactive.id",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .execute(connection)
}
