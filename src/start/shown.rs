//! What a subscription's answer says of its start.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::store;
use crate::{
    db::{Connection, QueryError},
    subscription::model::Start,
};

/// A start and how far it has come.
#[derive(Clone, Debug, Serialize)]
pub struct StartShown {
    /// `existing` or a time, as it was asked for.
    asked: Start,
    /// `running`, `done` or `failed`.
    state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    begun_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// Rows that were read, or events that were looked at.
    done: i64,
    /// How many of them the subscription is owed.
    told: i64,
    /// How many there were when it began, roughly; null if Postgres has no statistics.
    estimate: Option<i64>,
    /// From when on it is told every event; null if none was kept. Only of a start at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Option<DateTime<Utc>>>,
}

/// The starts of these subscriptions; those that began `now` have none.
///
/// # Errors
///
/// Those of the database.
pub fn starts_shown(
    connection: &mut Connection,
    subscriptions: &[Uuid],
) -> Result<HashMap<Uuid, StartShown>, QueryError> {
    let rows = store::start_shown(connection, subscriptions)?;
    let shown = |row: store::ShownRow| {
        let start = StartShown {
            asked: row.since.map_or(Start::Existing, Start::At),
            state: row.state,
            reason: row.reason,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            done: row.done,
            told: row.told,
            estimate: row.estimate,
            from: row.since.map(|_| row.complete_from),
        };
        (row.subscription_id, start)
    };
    Ok(rows.into_iter().map(shown).collect())
}
