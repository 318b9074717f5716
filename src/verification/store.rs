//! SQL of asking receivers.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A question that is due.
#[derive(Clone, Debug, QueryableByName)]
pub struct Asked {
    /// Whose receiver.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// Which question: raised when it is asked from the beginning.
    #[diesel(sql_type = Integer)]
    pub round: i32,
    /// How often it was asked before.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
}

/// What a subscription's state means for asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is sent events.
    Active,
    /// It waits for consent, or was given up for want of it.
    Unverified,
    /// It is stopped for another reason, and stays so.
    Stopped,
}

/// How a subscription stands; `None` if there is none.
pub fn subscription_standing(
    connection: &mut PgConnection,
    id: Uuid,
) -> QueryResult<Option<Standing>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_active: bool,
        #[diesel(sql_type = Bool)]
        is_unverified: bool,
    }
    let row: Option<Row> = sql_query(
        "select state = 'active' as is_active, \
             coalesce(state_reason like 'unverified: %', false) as is_unverified \
         from rowcall.subscription where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| match row {
        Row {
            is_active: true, ..
        } => Standing::Active,
        Row {
            is_unverified: true,
            ..
        } => Standing::Unverified,
        _ => Standing::Stopped,
    }))
}

/// Asks from the beginning.
pub(super) fn verification_begin(
    connection: &mut PgConnection,
    id: Uuid,
    resumes: bool,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.verification as v (subscription_id, state, asked_at, due_at, resumes) \
         values ($1, 'asking', $3, $3, $2) \
         on conflict (subscription_id) do update set state = 'asking', round = v.round + 1, \
             attempts = 0, asked_at = $3, due_at = $3, resumes = $2, detail = null, \
             granted_at = null, rate_per_minute = null",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Bool, _>(resumes)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

/// Asks no more. False: it was not asked.
pub(super) fn verification_drop(connection: &mut PgConnection, id: Uuid) -> QueryResult<bool> {
    let dropped = sql_query("delete from rowcall.verification where subscription_id = $1")
        .bind::<SqlUuid, _>(id)
        .execute(connection)?;
    Ok(dropped == 1)
}

/// Whether consent is needed and not there.
pub(super) fn verification_is_open(connection: &mut PgConnection, id: Uuid) -> QueryResult<bool> {
    let open = sql_query(
        "select from rowcall.verification where subscription_id = $1 and state <> 'granted'",
    )
    .bind::<SqlUuid, _>(id)
    .execute(connection)?;
    Ok(open == 1)
}

/// Notes that the owner paused it: consent does not make it active any more.
pub fn verification_pause(connection: &mut PgConnection, id: Uuid) -> QueryResult<()> {
    sql_query("update rowcall.verification set resumes = false where subscription_id = $1")
        .bind::<SqlUuid, _>(id)
        .execute(connection)
        .map(drop)
}

/// Takes up to `limit` questions that are due; they are due again at `lease_until`, should nobody
/// write an answer.
pub(super) fn verification_claim(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Asked>> {
    sql_query(
        "with due as (select v.subscription_id from rowcall.verification v \
             join rowcall.subscription s on s.id = v.subscription_id and s.state <> 'deleted' \
             where v.state = 'asking' and v.due_at <= $1 order by v.due_at limit $3 \
             for update of v skip locked) \
         update rowcall.verification v set due_at = $2 from due \
         where v.subscription_id = due.subscription_id \
         returning v.subscription_id, v.round, v.attempts",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(lease_until)
    .bind::<BigInt, _>(limit)
    .load(connection)
}

#[derive(QueryableByName)]
struct Resumes {
    #[diesel(sql_type = Bool)]
    resumes: bool,
}

/// Writes consent; whether the subscription becomes active by it. `None`: the question is another
/// one now.
pub(super) fn verification_grant(
    connection: &mut PgConnection,
    asked: &Asked,
    rate_per_minute: Option<i64>,
    now: DateTime<Utc>,
) -> QueryResult<Option<bool>> {
    let row: Option<Resumes> = sql_query(
        "update rowcall.verification set state = 'granted', attempts = attempts + 1, \
             due_at = null, detail = null, granted_at = $3, rate_per_minute = $4 \
         where subscription_id = $1 and round = $2 and state = 'asking' returning resumes",
    )
    .bind::<SqlUuid, _>(asked.subscription_id)
    .bind::<Integer, _>(asked.round)
    .bind::<Timestamptz, _>(now)
    .bind::<Nullable<BigInt>, _>(rate_per_minute)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.resumes))
}

/// Writes that there is none yet; without `due_at` it is given up. As [`verification_grant`].
pub(super) fn verification_withhold(
    connection: &mut PgConnection,
    asked: &Asked,
    due_at: Option<DateTime<Utc>>,
    detail: &str,
) -> QueryResult<Option<bool>> {
    let row: Option<Resumes> = sql_query(
        "update rowcall.verification set due_at = $3, detail = $4, attempts = attempts + 1, \
             state = case when $3 is null then 'given_up' else 'asking' end \
         where subscription_id = $1 and round = $2 and state = 'asking' returning resumes",
    )
    .bind::<SqlUuid, _>(asked.subscription_id)
    .bind::<Integer, _>(asked.round)
    .bind::<Nullable<Timestamptz>, _>(due_at)
    .bind::<Text, _>(detail)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.resumes))
}

/// How the asking of one subscription stands.
#[derive(Debug, QueryableByName)]
pub struct VerificationRow {
    /// Whose.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// `asking`, `granted` or `given_up`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How often it was asked.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub asked_at: DateTime<Utc>,
    /// When it is asked next.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub due_at: Option<DateTime<Utc>>,
    /// What it said last.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
    /// When it consented.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub granted_at: Option<DateTime<Utc>>,
    /// Requests a minute that it allows.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub rate_per_minute: Option<i64>,
}

/// Of these subscriptions, those that are asked.
pub fn verification_list(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> QueryResult<Vec<VerificationRow>> {
    sql_query(
        "select subscription_id, state, attempts, asked_at, due_at, detail, granted_at, \
             rate_per_minute from rowcall.verification where subscription_id = any ($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)
}
