//! Another signing key for a subscription, with a time in which the old one signs as well.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::{
    check::{SpecProblem, secret_advice},
    model::{SecretSpec, SinkSpec, SubscriptionSpec},
    register::RegisterError,
    sealed::{KeepError, previous_keep, store::signing_get, store::signing_put},
    secret::{Purpose, SecretKey},
};
use crate::{
    db::Connection,
    registry::registry_raise_for,
    sink::{Scheme, Signer},
};

/// How long the old key signs too, if nothing is said.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// How long at most.
pub const OVERLAP_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a rotation made.
#[derive(Debug)]
pub struct Rotated {
    /// The new secret, to be shown once; `None` of a key pair, whose private half nobody is told.
    pub secret: Option<SecretString>,
    /// What receivers verify with, of a key pair.
    pub public_key: Option<String>,
    /// Until when the old one signs too; `None` if it does no more.
    pub previous_until: Option<DateTime<Utc>>,
}

impl From<KeepError> for RegisterError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Secret(error) => Self::Secret(error),
            KeepError::Db(error) => Self::Db(error),
        }
    }
}

/// Gives a subscription another signing key, `given` or generated. The old one signs too for
/// `overlap`; one that was old already is forgotten.
///
/// # Errors
///
/// [`RegisterError`]: `Problems` for a sink that signs nothing, a secret that is kept in the
/// environment, one of the other scheme, or an overlap above [`OVERLAP_MAX`].
pub fn secret_rotate(
    connection: &mut Connection,
    key: &SecretKey,
    id: Uuid,
    given: Option<&str>,
    overlap: Duration,
    now: DateTime<Utc>,
) -> Result<Rotated, RegisterError> {
    if overlap > OVERLAP_MAX {
        let most = humantime::format_duration(OVERLAP_MAX);
        let text = format!("the old secret can be kept for {most} at most");
        return Err(problem("/overlap", text));
    }
    registry_raise_for(connection, id)?;
    let row = signing_get(connection, id)?.ok_or(RegisterError::Absent(id))?;
    let spec: SubscriptionSpec = serde_json::from_str(&row.definition)?;
    let scheme = rotatable(&spec.sink)?;
    let made = match given {
        Some(text) => Signer::parse(scheme, text),
        None => Signer::generate(scheme),
    };
    let signer = made.map_err(|error| problem("/secret", secret_advice(&error.to_string())))?;

    // One that can't be opened signs nothing now, so it need not go on doing so.
    let old = row.sealed.and_then(|sealed| {
        let opened = key.open_for(id, Purpose::Signing, row.key_id.as_deref(), &sealed);
        Signer::parse_any(opened.ok()?.expose_secret()).ok()
    });
    let until = now.trunc_subsecs(6) + TimeDelta::from_std(overlap).unwrap_or(TimeDelta::zero());
    let previous = old.as_ref().filter(|_| !overlap.is_zero());
    let previous = previous.map(|old| (old, until));
    previous_keep(connection, key, id, previous)?;
    let secret = SecretString::from(signer.expose());
    let sealed = key.seal(id, &secret)?;
    let public_key = signer.public_key();
    signing_put(
        connection,
        id,
        Some(&sealed),
        &key.id(),
        public_key.as_deref(),
    )?;
    Ok(Rotated {
        secret: public_key.is_none().then_some(secret),
        public_key,
        previous_until: previous.map(|(_, until)| until),
    })
}

/// What the present secret is, for an answer that is given twice.
///
/// # Errors
///
/// [`RegisterError`]: `Absent`, or `Secret` if it can't be opened.
pub fn secret_rotated(
    connection: &mut Connection,
    key: &SecretKey,
    id: Uuid,
) -> Result<Rotated, RegisterError> {
    let row = signing_get(connection, id)?.ok_or(RegisterError::Absent(id))?;
    let sealed = row.sealed.ok_or(RegisterError::Absent(id))?;
    let secret = key.open_for(id, Purpose::Signing, row.key_id.as_deref(), &sealed)?;
    let signer = Signer::parse_any(secret.expose_secret());
    let public_key = signer.ok().and_then(|signer| signer.public_key());
    let kept = super::sealed::kept_load(connection, key, Some(id))?.remove(&id);
    Ok(Rotated {
        secret: public_key.is_none().then_some(secret),
        public_key,
        previous_until: kept.and_then(|kept| Some(kept.previous?.1)),
    })
}

fn rotatable(sink: &SinkSpec) -> Result<Scheme, RegisterError> {
    match sink {
        SinkSpec::Webhook {
            secret: Some(SecretSpec::Environment { env, .. }),
            ..
        } => Err(problem(
            "",
            format!(
                "the secret comes from the variable {env} of the metadata folder; set another value \
                 there and apply the folder with a change, or take `secret` out of it first"
            ),
        )),
        SinkSpec::Webhook { signature, .. } => Ok(*signature),
        SinkSpec::Email(_) => Err(problem("", "a mail is not signed, so it has no secret")),
    }
}

fn problem(pointer: &str, message: impl Into<String>) -> RegisterError {
    RegisterError::Problems(vec![SpecProblem::new(pointer, message)])
}
