//! Pausing, resuming and disabling subscriptions.
//!
//! While a subscription is not active its deliveries are due at infinity: kept, and not claimed. A
//! result that is written meanwhile may set a time all the same, so claims look at the state too.
//! Run each function in a transaction of its own: it takes the registry's lock.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    disabled::disabled_tell,
    failing::{Failing, store::failing_take},
    model::State,
    store,
};
use crate::verification::{
    change::{UNVERIFIED, verification_ask_again},
    store::verification_pause,
};
use crate::{
    capture::store::doorbell_ring,
    db::{Connection, DbError},
    registry::{registry_lock, registry_raise_for},
};

/// What became of a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The subscription has the new state.
    Done,
    /// There is none with this id, or it is deleted.
    Absent,
}

/// Stops sending until it is resumed; events are kept for it.
///
/// # Errors
///
/// Only those of the database.
pub fn subscription_pause(
    connection: &mut Connection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Switch, DbError> {
    verification_pause(connection, id)?;
    stop(connection, id, State::Paused, None, now)
}

/// As pausing, decided by Rowcall. `reason` is for the owner, who is told by an operational event;
/// `last` is the attempt that was one too many, if it is not noted as failed. False, and nothing is
/// done: it was disabled before, or there is none.
///
/// # Errors
///
/// Only those of the database.
pub fn subscription_disable(
    connection: &mut Connection,
    id: Uuid,
    reason: &str,
    last: Option<Failing>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    registry_lock(connection)?;
    let Some(name) = store::subscription_set_disabled(connection, id, reason, now)? else {
        return Ok(false);
    };
    // Not before: who wants no more says so many times, and each time all would be loaded anew.
    registry_raise_for(connection, id)?;
    store::delivery_park(connection, id)?;
    // If it is resumed one day, it has as long again.
    let mut failing = failing_take(connection, id)?;
    match (&mut failing, last) {
        (Some(failing), Some(last)) => failing.add(last),
        (None, last) => failing = last,
        (Some(_), None) => {}
    }
    disabled_tell(connection, (id, &name), reason, failing.as_ref(), now)?;
    Ok(true)
}

/// As pausing, until the receiver consents.
///
/// # Errors
///
/// Only those of the database.
pub fn subscription_unverify(
    connection: &mut Connection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Switch, DbError> {
    let reason = format!("{UNVERIFIED}: the receiver has not consented yet, see `verification`");
    stop(connection, id, State::Paused, Some(&reason), now)
}

/// Sends again; what was kept is due at once. Nudge the sender after the commit. Where the receiver
/// has to consent and has not, it is asked again instead, and that is sent when it does.
///
/// # Errors
///
/// Only those of the database.
pub fn subscription_resume(
    connection: &mut Connection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Switch, DbError> {
    registry_raise_for(connection, id)?;
    if verification_ask_again(connection, id, now)? {
        return Ok(Switch::Done);
    }
    if !store::subscription_set_state(connection, id, State::Active, None, now)? {
        return Ok(Switch::Absent);
    }
    store::delivery_unpark(connection, id, now)?;
    failing_take(connection, id)?;
    // Its start goes on, if one is under way.
    doorbell_ring(connection)?;
    Ok(Switch::Done)
}

fn stop(
    connection: &mut Connection,
    id: Uuid,
    state: State,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Switch, DbError> {
    registry_raise_for(connection, id)?;
    if !store::subscription_set_state(connection, id, state, reason, now)? {
        return Ok(Switch::Absent);
    }
    store::delivery_park(connection, id)?;
    Ok(Switch::Done)
}
