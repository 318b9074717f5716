//! Attempts as they are shown: of deliveries, and of deliveries in replays.

pub(super) mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use self::store::{AttemptRow, attempt_list};
use crate::{
    db::{Connection, QueryError},
    deliver::attempt::store::Whose,
};

#[derive(Debug, Serialize)]
pub(super) struct Attempt {
    number: i32,
    started_at: DateTime<Utc>,
    duration_ms: i32,
    outcome: String,
    /// The receiver's HTTP status, where it answered.
    status: Option<i32>,
    detail: Option<String>,
    /// How the answer begins, where it is no acknowledgement; only for those who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// The last attempts of each of `ids`, in their order.
pub(super) fn attempts(
    connection: &mut Connection,
    whose: Whose,
    ids: &[Uuid],
    sees_answers: bool,
) -> Result<BTreeMap<Uuid, Vec<Attempt>>, QueryError> {
    let mut attempts: BTreeMap<Uuid, Vec<Attempt>> = BTreeMap::new();
    for row in attempt_list(connection, whose, ids)? {
        let of = attempts.entry(row.of_id).or_default();
        of.push(shown(row, sees_answers));
    }
    Ok(attempts)
}

fn shown(row: AttemptRow, sees_answers: bool) -> Attempt {
    Attempt {
        number: row.number,
        started_at: row.started_at,
        duration_ms: row.duration_ms,
        outcome: row.outcome,
        status: row.status,
        detail: row.detail,
        answer: row.answer.filter(|_| sees_answers),
    }
}
