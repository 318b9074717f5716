//! The SQL of windows.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// Closes up to `limit` open digests whose time has come; waits for nobody. Returns how many.
///
/// One that somebody gathers into at this moment is left: either it is closed there, or the next
/// look finds it. Its number is certain: whoever sees it open sees all before it closed. It ends
/// now, or at its time if its subscriber wants late windows each by itself.
pub(super) fn digest_close_due(
    connection: &mut PgConnection,
    limit: i64,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query(
        "with due as ( \
             select id from rowcall.digest where state = 'open' and close_at <= $1 \
             order by close_at, id limit $2 for update skip locked) \
         update rowcall.digest d set state = 'closed', closed_by = d.close_by, \
             closed_at = greatest(d.opened_at, case when 'each' = ( \
                     select s.definition #>> '{schedule,late}' from rowcall.subscription s \
                     where s.id = d.subscription_id) \
                 then d.close_at else $1 end), \
             number = 1 + coalesce((select max(p.number) from rowcall.digest p \
                 where p.subscription_id = d.subscription_id), 0) \
         from due where d.id = due.id",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(connection)
}

/// Closes the digests of subscriptions that are not of the mode `batch` any more, and cancels those
/// of deleted ones. Returns how many.
pub(super) fn digest_end_orphans(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    sql_query(
        "with orphan as ( \
             select d.id, coalesce(s.state = 'deleted', true) as is_deleted \
             from rowcall.digest d left join rowcall.subscription s on s.id = d.subscription_id \
             where d.state = 'open' \
                 and (s.id is null or s.state = 'deleted' or s.mode <> 'batch') \
             order by d.subscription_id for update of d skip locked) \
         update rowcall.digest d \
             set state = case when o.is_deleted then 'cancelled' else 'closed' end, \
             closed_by = 'ended', closed_at = greatest($1, d.opened_at), \
             number = 1 + coalesce((select max(p.number) from rowcall.digest p \
                 where p.subscription_id = d.subscription_id), 0) \
         from orphan o where d.id = o.id",
    )
    .bind::<Timestamptz, _>(now)
    .execute(connection)
}

/// An open digest.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(super) struct OpenRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub(super) opened_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) first_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) close_at: Option<DateTime<Utc>>,
}

/// The open digests of these subscriptions that nobody else holds, locked.
pub(super) fn digest_open_lock(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<OpenRow>> {
    sql_query(
        "select id, subscription_id, opened_at, first_at, close_at from rowcall.digest \
         where state = 'open' and subscription_id = any($1) \
         order by subscription_id for update skip locked",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)
}

/// The subscriptions among these whose open digests are not among `locked`.
pub(super) fn digest_open_others(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
    locked: &[Uuid],
) -> QueryResult<Vec<Uuid>> {
    let rows: Vec<IdRow> = sql_query(
        "select subscription_id as id from rowcall.digest \
         where state = 'open' and subscription_id = any($1) and id <> all($2)",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .bind::<Array<SqlUuid>, _>(locked)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Which of these subscriptions have no open digest.
pub(super) fn subscription_without_open(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<Uuid>> {
    let rows: Vec<IdRow> = sql_query(
        "select s.id from unnest($1) as s (id) where not exists ( \
             select from rowcall.digest d where d.subscription_id = s.id and d.state = 'open')",
    )
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(super) struct NextRow {
    /// When the next digest is to be closed.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) close_at: Option<DateTime<Utc>>,
    /// When the digest was closed that waits longest to be condensed.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) closed_at: Option<DateTime<Utc>>,
}

/// When the next digest is to be closed, and since when one waits to be condensed.
pub(super) fn digest_next(connection: &mut PgConnection) -> QueryResult<NextRow> {
    sql_query(
        "select (select min(close_at) from rowcall.digest \
             where state = 'open' and close_at is not null) as close_at, \
             (select min(closed_at) from rowcall.digest where state = 'closed') as closed_at",
    )
    .get_result(connection)
}
