//! Where the events of a time begin among all that are kept.
//!
//! Ids are UUIDv7 of the publishing, which follows the event's time closely, unless its publisher
//! said otherwise: what is dated late has a larger id and is not missed, and what is dated ahead
//! has an index of its own.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::store::event_ahead_first;
use crate::{
    db::{Connection, QueryError},
    id::{id_first_at, id_first_beside},
};

/// How much later than its publishing an event's time may be, by clocks that differ. What is later
/// than that is in the index `event_ahead`, whose predicate says the same.
const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::hours(1);

/// No event whose time is `from` or later has a smaller id than this, nor has a delivery of one:
/// its id is of the same moment as its event's, or of a later one.
///
/// # Errors
///
/// Those of the database.
pub fn floor(connection: &mut Connection, from: DateTime<Utc>) -> Result<Uuid, QueryError> {
    let floor = id_first_at(from - CLOCKS_DIFFER_MAX);
    let ahead = event_ahead_first(connection, from)?.map(id_first_beside);
    Ok(ahead.map_or(floor, |ahead| ahead.min(floor)))
}
