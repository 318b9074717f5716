//! The SQL of condensing.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::envelope::Envelope;

/// Class of the advisory locks of digests that are being condensed: "rowd". The object is a hash of
/// the digest's id; two of the same hash are condensed one after the other.
const LOCK_CLASS: i32 = 0x726f_7764;
/// How many closed digests a claim looks at.
const CANDIDATES_MAX: i64 = 64;
/// Parts that one statement makes bodies of.
const WRAPPED_MAX: u32 = 64;

/// A closed digest.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct ClosedRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub(super) subscription_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub(super) number: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(super) opened_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) closed_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(super) closed_by: String,
    #[diesel(sql_type = BigInt)]
    pub(super) events: i64,
}

/// Takes the digest that was closed first, of those that nobody else condenses and that are not
/// among `set_aside`. Of one subscription the earliest only, so that its digests leave in order.
///
/// The lock is an advisory one and no row lock: condensing may take long, and whoever gathers and
/// has just seen the digest open would wait for it.
pub(super) fn digest_claim(
    connection: &mut PgConnection,
    set_aside: &[Uuid],
) -> QueryResult<Option<ClosedRow>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let claimed: Option<Row> = sql_query(include_str!("claim.sql"))
        .bind::<Array<SqlUuid>, _>(set_aside)
        .bind::<BigInt, _>(CANDIDATES_MAX)
        .bind::<Integer, _>(LOCK_CLASS)
        .get_result(connection)
        .optional()?;
    let Some(Row { id }) = claimed else {
        return Ok(None);
    };
    // Another instance may have finished it between the look and the lock.
    sql_query(
        "select id, subscription_id, number, opened_at, closed_at, closed_by, events \
         from rowcall.digest where id = $1 and state = 'closed'",
    )
    .bind::<SqlUuid, _>(id)
    .get_result(connection)
    .optional()
}

/// Ends a digest. False: somebody else has.
pub(super) fn digest_end(
    connection: &mut PgConnection,
    id: Uuid,
    state: &str,
    parts: Option<i32>,
    vanished: i64,
) -> QueryResult<bool> {
    let ended = sql_query(
        "update rowcall.digest set state = $2, parts = $3, vanished = $4 \
         where id = $1 and state = 'closed'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(state)
    .bind::<Nullable<Integer>, _>(parts)
    .bind::<BigInt, _>(vanished)
    .execute(connection)?;
    Ok(ended == 1)
}

/// How large the bodies of events are, in bytes.
pub(super) fn event_bytes(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<Vec<(Uuid, usize)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Integer)]
        bytes: i32,
    }
    let rows: Vec<Row> =
        sql_query("select id, octet_length(body) as bytes from rowcall.event where id = any($1)")
            .bind::<Array<SqlUuid>, _>(ids)
            .load(connection)?;
    let bytes = |row: Row| (row.id, usize::try_from(row.bytes).unwrap_or(0));
    Ok(rows.into_iter().map(bytes).collect())
}

/// Writes a part: its items only, or the whole body.
pub(super) fn part_insert(
    connection: &mut PgConnection,
    digest: Uuid,
    part: u32,
    body: &str,
) -> QueryResult<()> {
    sql_query("insert into rowcall.digest_part (digest_id, part, body) values ($1, $2, $3)")
        .bind::<SqlUuid, _>(digest)
        .bind::<Integer, _>(part_number(part))
        .bind::<Text, _>(body)
        .execute(connection)
        .map(drop)
}

/// Makes bodies of the last `parts` parts, which were written as items.
pub(super) fn part_wrap(
    connection: &mut PgConnection,
    digest: Uuid,
    envelope: &Envelope,
    parts: u32,
) -> QueryResult<()> {
    let begin = envelope.parts_before;
    for first in (begin + 1..=begin + parts).step_by(WRAPPED_MAX as usize) {
        sql_query(
            "update rowcall.digest_part set body = \
                 $2 || part || $3 || (part - $10) || $4 || $5::integer || $6 || body || $7 \
             where digest_id = $1 and part >= $8 and part < $8 + $9",
        )
        .bind::<SqlUuid, _>(digest)
        .bind::<Text, _>(&envelope.begin)
        .bind::<Text, _>(&envelope.middle)
        .bind::<Text, _>(envelope.to_parts)
        .bind::<Integer, _>(part_number(parts))
        .bind::<Text, _>(&envelope.to_items)
        .bind::<Text, _>(envelope.end)
        .bind::<Integer, _>(part_number(first))
        .bind::<Integer, _>(part_number(WRAPPED_MAX))
        .bind::<Integer, _>(part_number(begin))
        .execute(connection)?;
    }
    Ok(())
}

/// Removes the parts of a digest that is not sent after all.
pub(super) fn part_delete(connection: &mut PgConnection, digest: Uuid) -> QueryResult<()> {
    sql_query("delete from rowcall.digest_part where digest_id = $1")
        .bind::<SqlUuid, _>(digest)
        .execute(connection)
        .map(drop)
}

/// The state of a subscription; `None` if there is none any more.
pub(super) fn subscription_state(
    connection: &mut PgConnection,
    id: Uuid,
) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        state: String,
    }
    let row: Option<Row> = sql_query("select state from rowcall.subscription where id = $1")
        .bind::<SqlUuid, _>(id)
        .get_result(connection)
        .optional()?;
    Ok(row.map(|row| row.state))
}

/// A delivery of a part.
#[derive(Clone, Debug)]
pub(super) struct PartDelivery {
    pub(super) id: Uuid,
    pub(super) part: u32,
    pub(super) position: i64,
    pub(super) sequence: i64,
    /// `None`: when its lane releases it.
    pub(super) due_at: Option<DateTime<Utc>>,
    pub(super) is_parked: bool,
}

/// What the deliveries of one digest have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeliveryOf {
    pub(super) digest_id: Uuid,
    pub(super) subscription_id: Uuid,
    pub(super) lane: Option<i64>,
}

/// Writes the deliveries of a digest's parts.
pub(super) fn delivery_insert(
    connection: &mut PgConnection,
    of: &DeliveryOf,
    deliveries: &[PartDelivery],
    now: DateTime<Utc>,
) -> QueryResult<()> {
    fn column<T>(deliveries: &[PartDelivery], of: impl Fn(&PartDelivery) -> T) -> Vec<T> {
        deliveries.iter().map(of).collect()
    }
    sql_query(
        "insert into rowcall.delivery (created_at, subscription_id, digest_id, lane, id, part, \
             position, sequence, state, urgency, due_at) \
         select $1, $2, $3, $4, d.id, d.part, d.position, d.sequence, 'pending', 2, \
             case when d.parked then 'infinity' else d.due_at end \
         from unnest($5, $6, $7, $8, $9, $10) as d (id, part, position, sequence, due_at, parked)",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(of.subscription_id)
    .bind::<SqlUuid, _>(of.digest_id)
    .bind::<Nullable<BigInt>, _>(of.lane)
    .bind::<Array<SqlUuid>, _>(column(deliveries, |one| one.id))
    .bind::<Array<Integer>, _>(column(deliveries, |one| part_number(one.part)))
    .bind::<Array<BigInt>, _>(column(deliveries, |one| one.position))
    .bind::<Array<BigInt>, _>(column(deliveries, |one| one.sequence))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(deliveries, |one| one.due_at))
    .bind::<Array<diesel::sql_types::Bool>, _>(column(deliveries, |one| one.is_parked))
    .execute(connection)
    .map(drop)
}

/// As the repository keeps it.
pub(super) fn part_number(part: u32) -> i32 {
    i32::try_from(part).unwrap_or(i32::MAX)
}
