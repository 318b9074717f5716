//! Beginning to ask a receiver, and what follows from its answer. Run each function in a
//! transaction of its own or of the change that it belongs to: it takes the registry's lock.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    WAITS,
    store::{self, Asked, Standing},
};
use crate::{
    db::{Connection, DbError},
    registry::registry_raise_for,
    sink::Consent,
    subscription::{
        model::SinkSpec,
        state::{subscription_disable, subscription_resume, subscription_unverify},
    },
};

/// What the reason of a subscription's state begins with, before a colon and a space, while its
/// receiver has not consented.
pub const UNVERIFIED: &str = "unverified";

/// Brings the asking in line with a sink that was registered (`before` is none) or changed.
///
/// # Errors
///
/// Only those of the database.
pub fn verification_follow(
    connection: &mut Connection,
    id: Uuid,
    before: Option<&SinkSpec>,
    after: &SinkSpec,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let was_asked = before.is_some_and(SinkSpec::is_verified);
    if after.is_verified() {
        let is_same = was_asked && before.is_some_and(|before| !before.is_elsewhere(after));
        return if is_same {
            Ok(())
        } else {
            verification_begin(connection, id, false, now)
        };
    }
    if was_asked
        && store::verification_drop(connection, id)?
        && store::subscription_standing(connection, id)? == Some(Standing::Unverified)
    {
        subscription_resume(connection, id, now)?;
    }
    Ok(())
}

/// Asks from the beginning. A subscription that its owner paused stays so when it is granted,
/// unless `resumes`.
///
/// # Errors
///
/// Only those of the database.
pub fn verification_begin(
    connection: &mut Connection,
    id: Uuid,
    resumes: bool,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let standing = store::subscription_standing(connection, id)?;
    let resumes = resumes || standing != Some(Standing::Stopped);
    store::verification_begin(connection, id, resumes, now)?;
    if resumes {
        subscription_unverify(connection, id, now)?;
    }
    Ok(())
}

/// Asks again, if the receiver of this subscription has not consented: then it becomes active by
/// that. False: it has, or need not.
///
/// # Errors
///
/// Only those of the database.
pub fn verification_ask_again(
    connection: &mut Connection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    if !store::verification_is_open(connection, id)? {
        return Ok(false);
    }
    verification_begin(connection, id, true, now)?;
    Ok(true)
}

/// Writes what a receiver said, unless it was asked anew meanwhile.
///
/// # Errors
///
/// Only those of the database.
pub fn verification_answer(
    connection: &mut Connection,
    asked: &Asked,
    consent: &Consent,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let id = asked.subscription_id;
    registry_raise_for(connection, id)?;
    match consent {
        Consent::Granted { rate_per_minute } => {
            let rate = rate_per_minute.map(|rate| rate.get().into());
            let written = store::verification_grant(connection, asked, rate, now)?;
            tracing::info!(subscription = %id, "the receiver consents");
            if written == Some(true) {
                subscription_resume(connection, id, now)?;
            }
        }
        Consent::Withheld { detail, is_final } => {
            let attempts = asked.attempts + 1;
            let wait = usize::try_from(attempts).ok().and_then(|at| WAITS.get(at));
            let wait = wait.filter(|_| !is_final);
            let due_at = wait.map(|wait| now + TimeDelta::from_std(*wait).unwrap_or_default());
            let written = store::verification_withhold(connection, asked, due_at, detail)?;
            tracing::info!(subscription = %id, attempts, detail, "the receiver does not consent");
            if due_at.is_none() && written == Some(true) {
                let reason = format!(
                    "{UNVERIFIED}: given up after {attempts} attempts: {detail}; mend it, then \
                     POST .../verify asks again"
                );
                subscription_disable(connection, id, &reason, None, now)?;
            }
        }
    }
    Ok(())
}
