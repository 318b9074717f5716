//! The SQL of the members of a digest that is condensed.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::Share;
use crate::{db::STATEMENT_TIMEOUT_S_MAX, digest::grouping::NULL};

/// Members, and groups of them, that are read at a time.
const ROWS_MAX: i64 = 2_000;
/// How long a statement may take that groups the events of a digest, in seconds.
const GROUPING_TIMEOUT_S_MAX: u32 = 600;

/// A member of a digest, in its order.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::digest::condense) struct MemberRow {
    #[diesel(sql_type = BigInt)]
    pub(in crate::digest::condense) position: i64,
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::digest::condense) event_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::digest::condense) event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::digest::condense) object_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::digest::condense) object_key: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::digest::condense) previous_key: Option<String>,
}

/// The `groups_max` largest groups of a digest's members, and how many members each has.
pub(in crate::digest::condense) fn group_count(
    connection: &mut PgConnection,
    digest: Uuid,
    groups_max: usize,
) -> QueryResult<Vec<(String, i64)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = BigInt)]
        events: i64,
    }
    patient(connection, |connection| {
        let rows: Vec<Row> = sql_query(format!(
            "select coalesce(grouping, '{NULL}') as name, count(*) as events \
             from rowcall.digest_member where digest_id = $1 \
             group by 1 order by 2 desc, coalesce(grouping, '{NULL}') collate \"C\" limit $2"
        ))
        .bind::<SqlUuid, _>(digest)
        .bind::<BigInt, _>(i64::try_from(groups_max).unwrap_or(i64::MAX))
        .load(connection)?;
        Ok(rows.into_iter().map(|row| (row.name, row.events)).collect())
    })
}

/// The next members of `share` behind `after`, in the order of positions.
pub(in crate::digest::condense) fn member_page(
    connection: &mut PgConnection,
    digest: Uuid,
    share: &Share<'_>,
    after: Option<(i64, Uuid)>,
) -> QueryResult<Vec<MemberRow>> {
    let (position, event) = after.unwrap_or((i64::MIN, Uuid::nil()));
    sql_query(format!(
        "select position, event_id, event_type, object_type, object_key, previous_key \
         from rowcall.digest_member where digest_id = $1 and (position, event_id) > ($2, $3) \
             and {} order by position, event_id limit $4",
        share.condition()
    ))
    .bind::<SqlUuid, _>(digest)
    .bind::<BigInt, _>(position)
    .bind::<SqlUuid, _>(event)
    .bind::<BigInt, _>(ROWS_MAX)
    .load(connection)
}

/// The events of one type and one object in a digest.
#[derive(Clone, Debug, QueryableByName)]
pub(in crate::digest::condense) struct GroupRow {
    #[diesel(sql_type = Text)]
    pub(in crate::digest::condense) event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::digest::condense) object_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::digest::condense) object_key: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub(in crate::digest::condense) count: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::digest::condense) first_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::digest::condense) last_at: DateTime<Utc>,
    /// One that has the key.
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::digest::condense) event_id: Uuid,
}

/// Runs `work`, whose statements have more time than others: to group the events of a very large
/// digest takes long, and nobody waits for it.
fn patient<T>(
    connection: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    timeout(connection, GROUPING_TIMEOUT_S_MAX)?;
    let done = work(connection)?;
    timeout(connection, STATEMENT_TIMEOUT_S_MAX)?;
    Ok(done)
}

fn timeout(connection: &mut PgConnection, seconds: u32) -> QueryResult<()> {
    connection.batch_execute(&format!("set local statement_timeout = '{seconds}s'"))
}

/// Opens the cursor that [`group_fetch`] reads from. Statements have more time than others until
/// [`group_close`].
pub(in crate::digest::condense) fn group_open(
    connection: &mut PgConnection,
    digest: Uuid,
    share: &Share<'_>,
) -> QueryResult<()> {
    timeout(connection, GROUPING_TIMEOUT_S_MAX)?;
    // An id has no quotes, and DECLARE takes no parameters.
    connection.batch_execute(&format!(
        "declare digest_groups no scroll cursor for \
         select event_type, object_type, object_key, count(*) as count, min(\"time\") as first_at, \
             max(\"time\") as last_at, max(event_id::text collate \"C\")::uuid as event_id \
         from rowcall.digest_member where digest_id = '{digest}' and {} \
         group by event_type, object_type, object_key \
         order by event_type collate \"C\", object_type collate \"C\", min(position), \
             object_key collate \"C\"",
        share.condition()
    ))
}

/// The next groups, by event type and then by first event. Empty at the end.
pub(in crate::digest::condense) fn group_fetch(
    connection: &mut PgConnection,
) -> QueryResult<Vec<GroupRow>> {
    sql_query(format!("fetch forward {ROWS_MAX} from digest_groups")).load(connection)
}

/// Ends what [`group_open`] began.
pub(in crate::digest::condense) fn group_close(connection: &mut PgConnection) -> QueryResult<()> {
    connection.batch_execute("close digest_groups")?;
    timeout(connection, STATEMENT_TIMEOUT_S_MAX)
}
