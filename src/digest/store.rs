//! The SQL of open digests: taken by those who gather, closed by time, opened empty.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{gather::NewMember, schedule::Close};
use crate::db::kept;

/// A digest to be opened, if its subscription has no open one.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) id: Uuid,
    pub(super) subscription_id: Uuid,
    /// Events that it gets, also if another is open.
    pub(super) events: i64,
    pub(super) close: Option<Close>,
}

/// An open digest that the transaction holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) id: Uuid,
    /// How many events it had before.
    pub(super) had: i64,
    /// Its time has come, and what comes now belongs to the next.
    pub(super) is_overdue: bool,
}

/// Opens digests, or takes those that are open, and counts the events in. In the order of
/// subscriptions; the rows stay locked until the transaction ends. By subscription.
pub(super) fn digest_take(
    connection: &mut PgConnection,
    openings: &[Opening],
    now: DateTime<Utc>,
) -> QueryResult<HashMap<Uuid, Taken>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = BigInt)]
        events: i64,
        #[diesel(sql_type = Bool)]
        is_overdue: bool,
    }
    let columns = OpeningColumns::of(openings.iter());
    let rows: Vec<Row> = kept(include_str!("take.sql"))
        .bind::<Timestamptz, _>(now)
        .bind::<Array<SqlUuid>, _>(columns.ids)
        .bind::<Array<SqlUuid>, _>(columns.subscription_ids)
        .bind::<Array<BigInt>, _>(columns.events)
        .bind::<Array<Nullable<Timestamptz>>, _>(columns.close_at)
        .bind::<Array<Nullable<Text>>, _>(columns.close_by)
        .load(connection)?;
    let added: HashMap<Uuid, i64> = openings
        .iter()
        .map(|opening| (opening.subscription_id, opening.events))
        .collect();
    Ok(rows
        .into_iter()
        .map(|row| {
            let taken = Taken {
                id: row.id,
                had: row.events - added.get(&row.subscription_id).copied().unwrap_or(0),
                is_overdue: row.is_overdue,
            };
            (row.subscription_id, taken)
        })
        .collect())
}

/// Lets the windows of digests that this transaction has opened begin where those before them
/// ended. Returns what was closed before them, by subscription; of its first digest nothing.
///
/// A statement of its own: only now, with the subscription's one open digest in our hands, is it
/// certain which was closed last.
pub(super) fn digest_opened_at(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<HashMap<Uuid, Closed>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = BigInt)]
        number: i64,
        #[diesel(sql_type = Timestamptz)]
        opened_at: DateTime<Utc>,
    }
    let rows: Vec<Row> = kept(
        "update rowcall.digest d set opened_at = p.closed_at \
         from (select o.id, l.number, l.closed_at from rowcall.digest o cross join lateral ( \
                 select l.number, l.closed_at from rowcall.digest l \
                 where l.subscription_id = o.subscription_id and l.number is not null \
                 order by l.number desc limit 1) as l \
             where o.id = any($1)) as p \
         where d.id = p.id \
         returning d.subscription_id, p.number, d.opened_at",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let closed = Closed {
                number: row.number,
                closed_at: row.opened_at,
            };
            (row.subscription_id, closed)
        })
        .collect())
}

/// Another time for a digest to be closed at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rescheduled {
    pub(super) id: Uuid,
    pub(super) close: Option<Close>,
}

/// Writes when digests are to be closed.
pub(super) fn digest_reschedule(
    connection: &mut PgConnection,
    rescheduled: &[Rescheduled],
) -> QueryResult<usize> {
    let ids: Vec<Uuid> = rescheduled.iter().map(|one| one.id).collect();
    let at: Vec<Option<DateTime<Utc>>> = rescheduled
        .iter()
        .map(|one| one.close.map(|close| close.at))
        .collect();
    let by: Vec<Option<&str>> = rescheduled
        .iter()
        .map(|one| one.close.map(|close| close.by.as_str()))
        .collect();
    kept(
        "update rowcall.digest d set close_at = r.close_at, close_by = r.close_by \
         from unnest($1, $2, $3) as r (id, close_at, close_by) \
         where d.id = r.id and d.state = 'open'",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Nullable<Timestamptz>>, _>(at)
    .bind::<Array<Nullable<Text>>, _>(by)
    .execute(connection)
}

/// An open digest of this transaction that is closed by it.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub(super) id: Uuid,
    /// How many events it has in the end.
    pub(super) events: i64,
    /// By `max_items`; otherwise its time has come.
    pub(super) is_full: bool,
    /// It ends when its time came, not now.
    pub(super) ends_on_time: bool,
}

/// Number and end of a digest that was closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) number: i64,
    pub(super) closed_at: DateTime<Utc>,
}

/// Closes digests that this transaction has taken. By subscription.
pub(super) fn digest_fill(
    connection: &mut PgConnection,
    filled: &[Filled],
    now: DateTime<Utc>,
) -> QueryResult<HashMap<Uuid, Closed>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = BigInt)]
        number: i64,
        #[diesel(sql_type = Timestamptz)]
        closed_at: DateTime<Utc>,
    }
    let rows: Vec<Row> = kept(
        "update rowcall.digest d set state = 'closed', events = f.events, \
             first_at = case when f.events > 0 then d.first_at end, \
             number = 1 + coalesce((select max(p.number) from rowcall.digest p \
                 where p.subscription_id = d.subscription_id), 0), \
             closed_at = greatest(d.opened_at, case when f.on_time then d.close_at else $1 end), \
             closed_by = case when f.is_full then 'max_items' else d.close_by end \
         from unnest($2, $3, $4, $5) as f (id, events, is_full, on_time) where d.id = f.id \
         returning d.subscription_id, d.number, d.closed_at",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(filled.iter().map(|one| one.id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(filled.iter().map(|one| one.events).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(filled.iter().map(|one| one.is_full).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(
        filled
            .iter()
            .map(|one| one.ends_on_time)
            .collect::<Vec<_>>(),
    )
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let closed = Closed {
                number: row.number,
                closed_at: row.closed_at,
            };
            (row.subscription_id, closed)
        })
        .collect())
}

/// A digest behind one that the transaction has closed.
#[derive(Clone, Debug)]
pub(super) struct Overflow {
    pub(super) opening: Opening,
    /// How many digests of the subscription after the one that was closed first.
    pub(super) behind: i64,
    /// It is born closed.
    pub(super) is_full: bool,
}

/// Writes the digests behind those in `closed`.
pub(super) fn overflow_insert(
    connection: &mut PgConnection,
    overflow: &[Overflow],
    closed: &HashMap<Uuid, Closed>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    // Each is behind one that was closed, so none is left out here.
    let rows: Vec<(&Overflow, &Closed)> = overflow
        .iter()
        .filter_map(|one| Some((one, closed.get(&one.opening.subscription_id)?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let columns = OpeningColumns::of(rows.iter().map(|(one, _)| &one.opening));
    let numbers: Vec<Option<i64>> = rows
        .iter()
        .map(|(one, closed)| one.is_full.then_some(closed.number + one.behind))
        .collect();
    let begins: Vec<DateTime<Utc>> = rows.iter().map(|(_, closed)| closed.closed_at).collect();
    kept(
        "insert into rowcall.digest (id, subscription_id, state, opened_at, first_at, events, \
             close_at, close_by, number, closed_at, closed_by) \
         select o.id, o.subscription_id, \
             case when o.number is null then 'open' else 'closed' end, \
             o.opened_at, $1, o.events, o.close_at, o.close_by, o.number, \
             case when o.number is not null then o.opened_at end, \
             case when o.number is not null then 'max_items' end \
         from unnest($2, $3, $4, $5, $6, $7, $8) as o (id, subscription_id, events, close_at, \
             close_by, number, opened_at)",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(columns.ids)
    .bind::<Array<SqlUuid>, _>(columns.subscription_ids)
    .bind::<Array<BigInt>, _>(columns.events)
    .bind::<Array<Nullable<Timestamptz>>, _>(columns.close_at)
    .bind::<Array<Nullable<Text>>, _>(columns.close_by)
    .bind::<Array<Nullable<BigInt>>, _>(numbers)
    .bind::<Array<Timestamptz>, _>(begins)
    .execute(connection)
    .map(drop)
}

#[derive(Default)]
struct OpeningColumns {
    ids: Vec<Uuid>,
    subscription_ids: Vec<Uuid>,
    events: Vec<i64>,
    close_at: Vec<Option<DateTime<Utc>>>,
    close_by: Vec<Option<&'static str>>,
}

impl OpeningColumns {
    fn of<'a>(openings: impl Iterator<Item = &'a Opening>) -> Self {
        let mut columns = Self::default();
        for opening in openings {
            columns.ids.push(opening.id);
            columns.subscription_ids.push(opening.subscription_id);
            columns.events.push(opening.events);
            columns.close_at.push(opening.close.map(|close| close.at));
            let by = opening.close.map(|close| close.by.as_str());
            columns.close_by.push(by);
        }
        columns
    }
}

/// An event and the digest that it is in.
#[derive(Clone, Debug)]
pub(super) struct MemberRow<'a> {
    pub(super) digest_id: Uuid,
    pub(super) subscription_id: Uuid,
    pub(super) member: &'a NewMember,
    /// Its group as JSON, if its subscriber groups.
    pub(super) grouping: Option<&'a str>,
}

/// Writes which events are in which digest.
pub(super) fn member_insert(
    connection: &mut PgConnection,
    rows: &[MemberRow<'_>],
) -> QueryResult<()> {
    fn column<'a, T>(rows: &'a [MemberRow<'a>], of: impl Fn(&'a MemberRow<'a>) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    kept(
        "insert into rowcall.digest_member (digest_id, subscription_id, position, event_id, \
             event_type, object_type, object_key, previous_key, \"time\", grouping) \
         select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.digest_id))
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.subscription_id))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.member.position))
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.member.event_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.member.event_type.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.member.object_type.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.member.object_key.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.member.previous_key.as_deref()))
    .bind::<Array<Timestamptz>, _>(column(rows, |row| row.member.time))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.grouping))
    .execute(connection)
    .map(drop)
}
