//! The SQL of dead deliveries that hold their lanes.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Array, BigInt, Nullable, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::db::kept;

/// A delivery that holds its lanes.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct BlockingRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    subscription_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    lane: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    lane_previous: Option<i64>,
}

impl BlockingRow {
    /// What it holds.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (Uuid, i64)> + use<> {
        let id = self.subscription_id;
        let lanes = self.lane.into_iter().chain(self.lane_previous);
        lanes.map(move |lane| (id, lane))
    }
}

/// Has dead deliveries hold their lanes, in the transaction that gives them up. What has no lane
/// holds nothing.
pub fn delivery_block(connection: &mut PgConnection, dead: &[Uuid]) -> QueryResult<usize> {
    if dead.is_empty() {
        return Ok(0);
    }
    kept(
        "update rowcall.delivery set blocks = true \
         where id = any($1) and state = 'dead' and lane is not null",
    )
    .bind::<Array<SqlUuid>, _>(dead)
    .execute(connection)
}

/// Locks those of these deliveries that hold their lanes, as settling does.
pub(super) fn delivery_blocking_lock(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<Vec<BlockingRow>> {
    kept(
        "select id, subscription_id, lane, lane_previous from rowcall.delivery \
         where id = any($1) and blocks order by id for update",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)
}

/// They hold nothing any more.
pub(super) fn delivery_unblock(connection: &mut PgConnection, ids: &[Uuid]) -> QueryResult<usize> {
    kept("update rowcall.delivery set blocks = false where id = any($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .execute(connection)
}

/// The deliveries of a subscription that hold their lanes.
pub(super) fn delivery_blocking_of(
    connection: &mut PgConnection,
    subscription: Uuid,
) -> QueryResult<Vec<Uuid>> {
    let rows: Vec<BlockingRow> = kept(
        "select id, subscription_id, lane, lane_previous from rowcall.delivery \
         where subscription_id = $1 and state = 'dead' and blocks",
    )
    .bind::<SqlUuid, _>(subscription)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
