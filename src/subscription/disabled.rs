//! Telling the owner that a subscription was disabled: an operational event, written by the
//! transaction that disables it.
//!
//! It takes the way of an event that the API accepted (docs/decisions/0007-submitted-events.md). It
//! can't go round: a disabled subscription is not disabled again, and its own event waits with its
//! others.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

use super::failing::{Failing, bounded};
use crate::{
    capture::{
        rotation,
        store::{NewChange, change_append, doorbell_ring_if_asleep},
    },
    catalog::{model::DEFAULT_SOURCE, operations::SUBSCRIPTION_DISABLED},
    db::{Connection, DbError},
    publish::event::event_source,
};

/// Who is named as the author of operational events.
const AUTHOR: &str = "rowcall";

/// Writes the event. `failing` are the attempts that failed before; none: there were none but the
/// one that disabled it.
pub(super) fn disabled_tell(
    connection: &mut Connection,
    (id, name): (Uuid, &str),
    reason: &str,
    failing: Option<&Failing>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let event = json!({
        "specversion": "1.0",
        "id": Uuid::new_v4().to_string(),
        "source": event_source(DEFAULT_SOURCE),
        "type": SUBSCRIPTION_DISABLED,
        "subject": id.to_string(),
        "time": time(now),
        "data": {
            "subscription": {"id": id.to_string(), "name": name},
            "reason": bounded(reason),
            "since": time(failing.map_or(now, |failing| failing.since)),
            "failures": failing.map_or(1, |failing| failing.failures),
        },
    });
    let rotation = rotation::writable(connection, now)?;
    let change = NewChange {
        event: &event.to_string(),
        author: AUTHOR,
        traceparent: None,
    };
    change_append(connection, rotation, &[change])?;
    doorbell_ring_if_asleep(connection)?;
    Ok(())
}
