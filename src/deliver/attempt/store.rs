//! The SQL of attempts.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl as _,
    sql_types::{Array, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::db::kept;

/// An attempt as it is written.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    /// The delivery, or the item of a replay.
    pub of: Uuid,
    /// From 1.
    pub number: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// `delivered`, `retry` or `dead`.
    pub outcome: &'static str,
    /// The receiver's answer.
    pub status: Option<i32>,
    /// Why it failed.
    pub detail: Option<String>,
    /// How the receiver's answer begins, where it did not acknowledge.
    pub answer: Option<String>,
}

/// Whose attempts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of deliveries.
    Deliveries,
    /// Of items of replays.
    Items,
}

/// The statement that writes attempts of a table whose column `$of` says whose they are.
macro_rules! insert {
    ($table:literal, $of:literal) => {
        concat!(
            "insert into rowcall.",
            $table,
            " (",
            $of,
            ", number, instance, started_at, duration_ms, outcome, status, detail, answer) \
             select a.of_id, a.number, $1, a.started_at, a.duration_ms, a.outcome, a.status, \
                 a.detail, a.answer \
             from unnest($2, $3, $4, $5, $6, $7, $8, $9) as a \
                 (of_id, number, started_at, duration_ms, outcome, status, detail, answer)"
        )
    };
}

impl Whose {
    /// Their table, and its column that says whose an attempt is.
    #[must_use]
    pub fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Deliveries => ("attempt", "delivery_id"),
            Self::Items => ("replay_attempt", "item_id"),
        }
    }

    fn insert(self) -> &'static str {
        match self {
            Self::Deliveries => insert!("attempt", "delivery_id"),
            Self::Items => insert!("replay_attempt", "item_id"),
        }
    }
}

/// Writes attempts.
///
/// # Errors
///
/// Those of the database.
pub fn attempt_insert(
    connection: &mut PgConnection,
    whose: Whose,
    attempts: &[NewAttempt],
    instance: Uuid,
) -> QueryResult<usize> {
    fn column<'a, T>(attempts: &'a [NewAttempt], of: impl Fn(&'a NewAttempt) -> T) -> Vec<T> {
        attempts.iter().map(of).collect()
    }
    kept(whose.insert())
        .bind::<SqlUuid, _>(instance)
        .bind::<Array<SqlUuid>, _>(column(attempts, |attempt| attempt.of))
        .bind::<Array<Integer>, _>(column(attempts, |attempt| attempt.number))
        .bind::<Array<Timestamptz>, _>(column(attempts, |attempt| attempt.started_at))
        .bind::<Array<Integer>, _>(column(attempts, |attempt| attempt.duration_ms))
        .bind::<Array<Text>, _>(column(attempts, |attempt| attempt.outcome))
        .bind::<Array<Nullable<Integer>>, _>(column(attempts, |attempt| attempt.status))
        .bind::<Array<Nullable<Text>>, _>(column(attempts, |attempt| attempt.detail.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(attempts, |attempt| attempt.answer.as_deref()))
        .execute(connection)
}
