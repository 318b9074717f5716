//! One delivery that is sent again: claimed with a lease, finished by its holder.

pub(super) mod store;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::store::{item_expired, item_rescue};
use super::store::{Settled, replay_count, replay_lock};
use crate::db::{Connection, QueryError};

/// Takes back expired leases, a replay at a time. What is not to be sent any more, because its
/// replay was cancelled, is not sent. Returns how many.
pub(super) fn rescue(connection: &mut Connection, now: DateTime<Utc>) -> Result<usize, QueryError> {
    let Some(replay) = item_expired(connection, now)? else {
        return Ok(0);
    };
    let running: Vec<Uuid> = replay_lock(connection, &[replay])?;
    let is_running = !running.is_empty();
    let rescued = item_rescue(connection, replay, is_running, now)?;
    let cancelled = if is_running { 0 } else { rescued };
    let settled = Settled {
        cancelled: i64::try_from(cancelled).unwrap_or(i64::MAX),
        ..Settled::default()
    };
    replay_count(connection, replay, settled, now)?;
    if rescued > 0 {
        tracing::info!(%replay, rescued, "took back expired leases of a replay");
    }
    Ok(rescued)
}
