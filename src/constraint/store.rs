//! The SQL of constraints: how much of each rate is used up, and what was judged.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    counters::{BatchRates, RateKey},
    judge::{Decision, Ground, Moment},
};
use crate::db::kept;

#[derive(QueryableByName)]
struct RateRow {
    #[diesel(sql_type = Text)]
    constraint_name: String,
    #[diesel(sql_type = SqlUuid)]
    subscription_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    window_start: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    spent: i64,
}

/// Takes the counters of `keys` for this transaction: until it ends, nobody else reads or spends
/// them. Those that are not there yet begin at 0.
///
/// Locked in the order of the keys, so that two batches wait for each other and never in a circle.
/// One statement; `keys` may repeat themselves.
pub fn rates_load(connection: &mut PgConnection, keys: Vec<RateKey>) -> QueryResult<BatchRates> {
    let mut keys = keys;
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(BatchRates::default());
    }
    // FOR UPDATE can't lock a row that is not there, and two instances would both begin at 0. The
    // conflict's update changes nothing but locks the row that the other one has inserted.
    let rows: Vec<RateRow> = kept(
        "insert into rowcall.rate as r (constraint_name, subscription_id, window_start, spent) \
         select k.name, k.subscription, k.start, 0 \
         from unnest($1, $2, $3) with ordinality as k (name, subscription, start, place) \
         order by k.place \
         on conflict (constraint_name, subscription_id, window_start) \
             do update set spent = r.spent \
         returning constraint_name, subscription_id, window_start, spent",
    )
    .bind::<Array<Text>, _>(column(&keys, |key| key.constraint.as_str()))
    .bind::<Array<SqlUuid>, _>(column(&keys, |key| key.subscription))
    .bind::<Array<Timestamptz>, _>(column(&keys, |key| key.window_start))
    .load(connection)?;
    Ok(BatchRates::new(rows.into_iter().map(|row| {
        let key = RateKey {
            constraint: row.constraint_name,
            subscription: row.subscription_id,
            window_start: row.window_start,
        };
        (key, row.spent)
    })))
}

/// Writes what was spent since [`rates_load`], in the same transaction. One statement, or none.
pub fn rates_save(connection: &mut PgConnection, rates: &BatchRates) -> QueryResult<()> {
    let changed = rates.changed();
    if changed.is_empty() {
        return Ok(());
    }
    kept(
        "update rowcall.rate r set spent = k.spent \
         from unnest($1, $2, $3, $4) as k (name, subscription, start, spent) \
         where r.constraint_name = k.name and r.subscription_id = k.subscription \
             and r.window_start = k.start",
    )
    .bind::<Array<Text>, _>(column(&changed, |(key, _)| key.constraint.as_str()))
    .bind::<Array<SqlUuid>, _>(column(&changed, |(key, _)| key.subscription))
    .bind::<Array<Timestamptz>, _>(column(&changed, |(key, _)| key.window_start))
    .bind::<Array<BigInt>, _>(column(&changed, |(_, spent)| *spent))
    .execute(connection)
    .map(|_| ())
}

/// Forgets up to `limit` counters of windows that began before `before`. Returns how many.
pub fn rate_forget(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    kept(
        "delete from rowcall.rate where ctid = any(array( \
             select ctid from rowcall.rate where window_start < $1 limit $2 \
             for update skip locked))",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(connection)
}

/// What became of a delivery because of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits.
    Hold,
    /// It is never sent.
    Suppress,
    /// It was held until its limit, and is never sent.
    Withdraw,
}

impl Verdict {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Suppress => "suppress",
            Self::Withdraw => "withdraw",
        }
    }
}

impl Decision {
    /// What is recorded of it; nothing, if it may be published.
    #[must_use]
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Publish => None,
            Self::Hold => Some(Verdict::Hold),
            Self::Suppress => Some(Verdict::Suppress),
        }
    }
}

/// What was judged: a digest as a whole, whichever of its parts is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matter {
    /// An event.
    Event(Uuid),
    /// A digest.
    Digest(Uuid),
}

/// A judgement to be written.
#[derive(Clone, Debug)]
pub struct NewJudgement {
    /// What was judged.
    pub matter: Matter,
    /// To whom.
    pub subscription_id: Uuid,
    /// When it was judged, by the clock.
    pub judged_at: DateTime<Utc>,
    /// At which of the two moments.
    pub moment: Moment,
    /// What became of it.
    pub verdict: Verdict,
    /// Because of what.
    pub by: Ground,
}

/// Writes judgements in one statement, or none. That a delivery is held is written once for each
/// constraint, however often it is judged so.
pub fn judgement_insert(
    connection: &mut PgConnection,
    judgements: &[NewJudgement],
) -> QueryResult<()> {
    if judgements.is_empty() {
        return Ok(());
    }
    let event_id = |judgement: &NewJudgement| match judgement.matter {
        Matter::Event(id) => Some(id),
        Matter::Digest(_) => None,
    };
    let digest_id = |judgement: &NewJudgement| match judgement.matter {
        Matter::Digest(id) => Some(id),
        Matter::Event(_) => None,
    };
    kept(
        "insert into rowcall.judgement (event_id, digest_id, subscription_id, judged_at, moment, \
             decision, constraint_name, constraint_version, reason, \"values\") \
         select j.event_id, j.digest_id, j.subscription_id, j.judged_at, j.moment, j.decision, \
             j.name, j.version, j.reason, j.looked_at::json \
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as j (event_id, digest_id, \
             subscription_id, judged_at, moment, decision, name, version, reason, looked_at) \
         where j.decision <> 'hold' or not exists ( \
             select from rowcall.judgement h \
             where h.subscription_id = j.subscription_id and h.constraint_name = j.name \
                 and h.constraint_version = j.version and h.decision = 'hold' \
                 and (h.event_id = j.event_id or h.digest_id = j.digest_id))",
    )
    .bind::<Array<Nullable<SqlUuid>>, _>(column(judgements, event_id))
    .bind::<Array<Nullable<SqlUuid>>, _>(column(judgements, digest_id))
    .bind::<Array<SqlUuid>, _>(column(judgements, |judgement| judgement.subscription_id))
    .bind::<Array<Timestamptz>, _>(column(judgements, |judgement| judgement.judged_at))
    .bind::<Array<Text>, _>(column(judgements, |judgement| judgement.moment.as_str()))
    .bind::<Array<Text>, _>(column(judgements, |judgement| judgement.verdict.as_str()))
    .bind::<Array<Text>, _>(column(judgements, |judgement| &*judgement.by.name))
    .bind::<Array<BigInt>, _>(column(judgements, |judgement| judgement.by.version))
    .bind::<Array<Text>, _>(column(judgements, |judgement| judgement.by.reason.as_str()))
    .bind::<Array<Text>, _>(column(judgements, |judgement| judgement.by.values.as_str()))
    .execute(connection)
    .map(|_| ())
}

/// The constraint that last held these, where there is one.
pub fn judgement_last(
    connection: &mut PgConnection,
    held: &[(Matter, Uuid)],
) -> QueryResult<Vec<(Matter, Uuid, Ground)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        event_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        digest_id: Option<Uuid>,
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
        #[diesel(sql_type = Text)]
        constraint_name: String,
        #[diesel(sql_type = BigInt)]
        constraint_version: i64,
    }
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let event_id = |(matter, _): &(Matter, Uuid)| match matter {
        Matter::Event(id) => Some(*id),
        Matter::Digest(_) => None,
    };
    let digest_id = |(matter, _): &(Matter, Uuid)| match matter {
        Matter::Digest(id) => Some(*id),
        Matter::Event(_) => None,
    };
    let rows: Vec<Row> = kept(
        "select distinct on (h.event_id, h.digest_id, h.subscription_id) h.event_id, \
             h.digest_id, h.subscription_id, h.constraint_name, h.constraint_version \
         from unnest($1, $2, $3) as w (event_id, digest_id, subscription_id) \
         join rowcall.judgement h on h.subscription_id = w.subscription_id \
             and (h.event_id = w.event_id or h.digest_id = w.digest_id) \
         where h.decision = 'hold' \
         order by h.event_id, h.digest_id, h.subscription_id, h.judged_at desc",
    )
    .bind::<Array<Nullable<SqlUuid>>, _>(column(held, event_id))
    .bind::<Array<Nullable<SqlUuid>>, _>(column(held, digest_id))
    .bind::<Array<SqlUuid>, _>(column(held, |(_, subscription)| *subscription))
    .load(connection)?;
    let ground = |row: Row| {
        let matter = match (row.event_id, row.digest_id) {
            (Some(event), _) => Matter::Event(event),
            (None, digest) => Matter::Digest(digest.unwrap_or_default()),
        };
        let ground = Ground {
            name: row.constraint_name.into(),
            version: row.constraint_version,
            reason: "it was held for as long as `hold_at_most` allows".to_owned(),
            values: "{}".to_owned(),
        };
        (matter, row.subscription_id, ground)
    };
    Ok(rows.into_iter().map(ground).collect())
}

fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
