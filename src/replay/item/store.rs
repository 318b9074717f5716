//! The SQL of a replay's items.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::{db::kept, deliver::chain::Owed};

/// An item as it is written.
#[derive(Clone, Copy, Debug)]
pub(in crate::replay) struct NewItem {
    /// UUIDv7.
    pub(in crate::replay) id: Uuid,
    /// What is sent again.
    pub(in crate::replay) delivery_id: Uuid,
}

/// Writes items that are due.
pub(in crate::replay) fn item_insert(
    connection: &mut PgConnection,
    replay: Uuid,
    items: &[NewItem],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let (ids, deliveries): (Vec<Uuid>, Vec<Uuid>) =
        items.iter().map(|item| (item.id, item.delivery_id)).unzip();
    sql_query(
        "insert into rowcall.replay_item (id, replay_id, delivery_id, due_at) \
         select i.id, $1, i.delivery_id, $4 from unnest($2, $3) as i (id, delivery_id)",
    )
    .bind::<SqlUuid, _>(replay)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(deliveries)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
}

/// Removes the items of a replay of which nothing was sent.
pub(in crate::replay) fn item_delete(
    connection: &mut PgConnection,
    replay: Uuid,
) -> QueryResult<usize> {
    sql_query("delete from rowcall.replay_item where replay_id = $1 and attempts = 0")
        .bind::<SqlUuid, _>(replay)
        .execute(connection)
}

/// Cancels what waits of a replay that the caller has locked. Returns how many.
///
/// # Errors
///
/// Those of the database.
pub fn item_cancel(
    connection: &mut PgConnection,
    replay: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query(
        "update rowcall.replay_item set state = 'cancelled', due_at = null, settled_at = $2 \
         where replay_id = $1 and state = 'pending'",
    )
    .bind::<SqlUuid, _>(replay)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// A replay with an expired lease.
pub(super) fn item_expired(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<Option<Uuid>> {
    let row: Option<IdRow> = sql_query(
        "select replay_id as id from rowcall.replay_item \
         where state = 'sending' and lease_until <= $1 order by lease_until limit 1",
    )
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.id))
}

/// Takes back the expired leases of a replay that the caller has locked. Returns how many.
pub(super) fn item_rescue(
    connection: &mut PgConnection,
    replay: Uuid,
    is_running: bool,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query(
        "update rowcall.replay_item set lease_holder = null, lease_until = null, \
             state = case when $3 then 'pending' else 'cancelled' end, \
             due_at = case when $3 then $2 end, settled_at = case when not $3 then $2 end \
         where replay_id = $1 and state = 'sending' and lease_until <= $2",
    )
    .bind::<SqlUuid, _>(replay)
    .bind::<Timestamptz, _>(now)
    .bind::<Bool, _>(is_running)
    .execute(connection)
}

/// What is left of a replay.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::replay) struct LeftRow {
    /// Items whose requests are under way.
    #[diesel(sql_type = BigInt)]
    pub(in crate::replay) sending: i64,
    /// When the first of those that wait is due.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::replay) due_at: Option<DateTime<Utc>>,
}

/// What is left of a replay.
pub(in crate::replay) fn item_left(
    connection: &mut PgConnection,
    replay: Uuid,
) -> QueryResult<LeftRow> {
    kept(
        "select (select count(*) from rowcall.replay_item \
                 where replay_id = $1 and state = 'sending') as sending, \
             (select min(due_at) from rowcall.replay_item \
                 where replay_id = $1 and state = 'pending') as due_at",
    )
    .bind::<SqlUuid, _>(replay)
    .get_result(connection)
}

/// A claimed item, with what its delivery has.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::replay) struct ClaimedRow {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::replay) delivery_id: Uuid,
    #[diesel(sql_type = Integer)]
    pub(in crate::replay) attempts: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::replay) sequence: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    digest_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    part: Option<i32>,
}

impl ClaimedRow {
    /// What is owed; the schema sees to it that it is one of the two.
    pub(in crate::replay) fn owed(&self) -> Option<Owed> {
        match (self.event_id, self.digest_id, self.part) {
            (Some(event), ..) => Some(Owed::Event(event)),
            (None, Some(digest), Some(part)) => Some(Owed::Part { digest, part }),
            _ => None,
        }
    }
}

/// Claims up to `limit` due items of a replay that the caller has locked, as claim `lease`.
pub(in crate::replay) fn item_claim(
    connection: &mut PgConnection,
    replay: Uuid,
    limit: i64,
    lease: Uuid,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<Vec<ClaimedRow>> {
    kept(
        "with due as ( \
             select i.id from rowcall.replay_item i \
             where i.replay_id = $1 and i.state = 'pending' and i.due_at <= $5 \
             order by i.due_at, i.id limit $2 for no key update skip locked) \
         update rowcall.replay_item i \
         set state = 'sending', due_at = null, lease_holder = $3, lease_until = $4 \
         from due, rowcall.delivery d where i.id = due.id and d.id = i.delivery_id \
         returning i.id, i.delivery_id, i.attempts, d.sequence, d.event_id, d.digest_id, d.part",
    )
    .bind::<SqlUuid, _>(replay)
    .bind::<BigInt, _>(limit)
    .bind::<SqlUuid, _>(lease)
    .bind::<Timestamptz, _>(lease_until)
    .bind::<Timestamptz, _>(now)
    .load(connection)
}

/// Ends claimed items of which nothing is kept that could be sent.
pub(in crate::replay) fn item_gone(
    connection: &mut PgConnection,
    items: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    if items.is_empty() {
        return Ok(0);
    }
    sql_query(
        "update rowcall.replay_item set state = 'gone', lease_holder = null, lease_until = null, \
             settled_at = $2 where id = any($1) and state = 'sending'",
    )
    .bind::<Array<SqlUuid>, _>(items)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
}

/// Locks those of `leases` (item, claim) that still hold; the others are somebody else's now.
pub(in crate::replay) fn item_held(
    connection: &mut PgConnection,
    leases: &[(Uuid, Uuid)],
) -> QueryResult<Vec<(Uuid, Uuid)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        lease: Uuid,
    }
    let (ids, claims): (Vec<Uuid>, Vec<Uuid>) = leases.iter().copied().unzip();
    let rows: Vec<Row> = kept(
        "select i.id, i.lease_holder as lease from rowcall.replay_item i \
         join unnest($1, $2) as l (id, claim) on l.id = i.id and l.claim = i.lease_holder \
         where i.state = 'sending' order by i.id for update of i",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(claims)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.id, row.lease)).collect())
}

/// How an item leaves the state `sending`.
#[derive(Clone, Debug)]
pub(in crate::replay) struct Finish {
    pub(in crate::replay) id: Uuid,
    /// `pending`, `sent`, `failed` or `cancelled`.
    pub(in crate::replay) state: &'static str,
    /// Of a pending one.
    pub(in crate::replay) due_at: Option<DateTime<Utc>>,
    /// 1 if it was tried.
    pub(in crate::replay) attempts: i32,
}

/// Writes the ends of leases that [`item_held`] has locked.
pub(in crate::replay) fn item_finish(
    connection: &mut PgConnection,
    finished: &[Finish],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    kept(
        "update rowcall.replay_item i set state = f.state, due_at = f.due_at, lease_holder = null, \
             lease_until = null, attempts = i.attempts + f.attempts, \
             settled_at = case when f.state <> 'pending' then $1 end \
         from unnest($2, $3, $4, $5) as f (id, state, due_at, attempts) where i.id = f.id",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(finished.iter().map(|f| f.state).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(finished.iter().map(|f| f.due_at).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(finished.iter().map(|f| f.attempts).collect::<Vec<_>>())
    .execute(connection)
}
