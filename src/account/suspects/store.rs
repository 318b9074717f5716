//! The SQL of naming what is missing. It compares whole tables, and is run only where something is.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Nullable, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::NAMED_MAX;

/// What was found; of each kind other columns are there.
#[derive(Clone, Copy, Debug, Default, QueryableByName)]
pub(super) struct Found {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) subscription_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) digest_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) change: Option<i64>,
}

const NO_PAIR: &str = "null::uuid as subscription_id, null::uuid as digest_id";

/// Changes that the cursor has passed and no event tells of. Several changes can become one event
/// (a move between partitions, a TRUNCATE of a table with partitions), and those of removed object
/// types become none: these are left out, so what is named is worth a look.
pub(super) fn change_untold(connection: &mut PgConnection) -> QueryResult<Vec<Found>> {
    sql_query(format!(
        "select {NO_PAIR}, null::uuid as event_id, c.seq as change \
         from rowcall.change as c, rowcall.source as s \
         where s.name = 'default' and c.op in ('u', 'e', 'g') \
             and (c.seq <= s.seq_floor or pg_catalog.pg_visible_in_snapshot(c.xid, s.snapshot)) \
             and (c.target = 0 or exists (select from rowcall.source_target as t where t.id = c.target) \
                 or exists (select from rowcall.capture_target as t \
                     where t.id = c.target and t.removed_at is null)) \
             and not exists (select from rowcall.event as e where e.change_seq = c.seq) \
         order by c.seq desc limit {NAMED_MAX}"
    ))
    .load(connection)
}

/// Events whose changes are gone, of those whose leaves are kept.
pub(super) fn change_gone(connection: &mut PgConnection) -> QueryResult<Vec<Found>> {
    sql_query(format!(
        "select {NO_PAIR}, e.id as event_id, e.change_seq as change \
         from rowcall.event as e \
         where e.change_seq > (select min(seq) from rowcall.change) \
             and e.published_at >= (select min(opened_at) from rowcall.rotation) \
             and not exists (select from rowcall.change as c where c.seq = e.change_seq) \
         order by e.id desc limit {NAMED_MAX}"
    ))
    .load(connection)
}

/// Events that are owed to these subscriptions and gone.
pub(super) fn event_gone(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<Found>> {
    sql_query(format!(
        "select p.subscription_id, p.event_id, p.digest_id, null::bigint as change \
         from (select subscription_id, event_id, null::uuid as digest_id from rowcall.delivery \
                 where event_id is not null and subscription_id = any($1) \
             union all select subscription_id, event_id, digest_id from rowcall.digest_member \
                 where subscription_id = any($1)) as p \
         where not exists (select from rowcall.event as e where e.id = p.event_id) \
         order by p.event_id desc limit {NAMED_MAX}"
    ))
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)
}

/// Events that are owed to these subscriptions alone and in a digest.
pub(super) fn pair_twice(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<Found>> {
    sql_query(format!(
        "select d.subscription_id, d.event_id, m.digest_id, null::bigint as change \
         from rowcall.delivery as d join rowcall.digest_member as m \
             on m.event_id = d.event_id and m.subscription_id = d.subscription_id \
         where d.subscription_id = any($1) order by d.event_id desc limit {NAMED_MAX}"
    ))
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)
}

/// Digests of these subscriptions that have other members than they count, or other deliveries than
/// parts.
pub(super) fn digest_uneven(
    connection: &mut PgConnection,
    subscriptions: &[Uuid],
) -> QueryResult<Vec<Found>> {
    sql_query(format!(
        "select d.subscription_id, null::uuid as event_id, d.id as digest_id, \
             null::bigint as change \
         from rowcall.digest as d \
         where d.subscription_id = any($1) \
             and (d.events <> (select count(*) from rowcall.digest_member as m \
                     where m.digest_id = d.id) \
                 or d.state = 'condensed' and d.parts <> (select count(*) \
                     from rowcall.delivery as p where p.digest_id = d.id)) \
         order by d.id desc limit {NAMED_MAX}"
    ))
    .bind::<Array<SqlUuid>, _>(subscriptions)
    .load(connection)
}

/// Events that were published since a subscription was registered, have a type that it asks for, or
/// are of an object type that it does, and of which it has nothing; the newest. A `*` in its
/// patterns crosses dots.
pub(super) fn event_unowed(
    connection: &mut PgConnection,
    subscription: Uuid,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let asks = |field: &str, column: &str| {
        format!(
            "exists (select from pg_catalog.json_array_elements_text(s.definition -> '{field}') \
                 as p (pattern) \
             where {column} like pg_catalog.replace(pg_catalog.replace(p.pattern, '_', '\\_'), \
                 '*', '%'))"
        )
    };
    let (types, objects) = (
        asks("event_types", "e.type"),
        asks("object_types", "e.object_type"),
    );
    let rows: Vec<Row> = sql_query(format!(
        "select e.id from rowcall.event as e, rowcall.subscription as s \
         where s.id = $1 and e.published_at >= s.created_at \
             and (s.state <> 'deleted' or e.published_at < s.updated_at) \
             and e.type not like '%.existed' and ({types} or {objects}) \
             and not exists (select from rowcall.delivery as d \
                 where d.event_id = e.id and d.subscription_id = s.id) \
             and not exists (select from rowcall.digest_member as m \
                 where m.event_id = e.id and m.subscription_id = s.id) \
         order by e.id desc limit $2"
    ))
    .bind::<SqlUuid, _>(subscription)
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
