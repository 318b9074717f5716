//! Registering, changing and removing subscriptions.
//!
//! The players: [`check`] judges what needs no database, for whoever wants all problems at once;
//! [`register`], [`replace`] and [`remove`] do it, inside the caller's transaction.
//!
//! Guaranteed: each change takes the row lock of `rowcall.registry` and raises its revision.
//! Publishing takes the same lock for share, so a change of a row that commits after a registration
//! was answered is matched against it. Secrets are stored encrypted and apart from the definition.

use chrono::{DateTime, SubsecRound as _, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

pub use super::check::{SpecProblem, check, pointer_part};
use super::{
    check::secret_advice,
    credential::{Credentials, credentials_take},
    failing::store::failing_take,
    key_text::object_key_texts,
    model::{OnDead, SecretSpec, SinkSpec, Start, SubscriptionSpec},
    rotation::OVERLAP_DEFAULT,
    sealed::{
        credentials_keep, kept_load, previous_keep,
        store::{SigningRow, signing_get, signing_put},
    },
    secret::{Purpose, SecretError, SecretKey},
    store,
};
use crate::{
    catalog::model::Catalog,
    config::secret_from_environment,
    db::{Connection, DbError, QueryError},
    deliver::lane::block::unblock_all,
    id::id_at,
    registry::registry_raise_for,
    sink::{Scheme, Signer},
    start::begin::{start_begin, start_judge},
    verification::change::verification_follow,
};

/// Where a subscription was born; decides who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The metadata folder.
    Folder,
    /// The API.
    Api,
}

impl Origin {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Api => "api",
        }
    }
}

/// A subscription to be registered. Run [`check`] on it first.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Unique among those that are not deleted.
    pub name: String,
    /// What is asked for.
    pub spec: SubscriptionSpec,
    /// Where it comes from.
    pub origin: Origin,
    /// The API key that registers it; `None` for the folder's.
    pub owner: Option<String>,
}

/// What a registration made.
#[derive(Debug)]
pub struct Registered {
    /// A UUIDv7.
    pub id: Uuid,
    /// The signing secret, generated if none was given: to be shown once. `None` for a sink that
    /// signs nothing, or signs with a key pair, whose private half nobody is told.
    pub secret: Option<SecretString>,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is deleted, and its name is free.
    Removed,
    /// There is none with this id, or it was deleted before.
    Absent,
}

/// Why a registration was refused or failed. Of these only `Db` and `Secret` are faults of the
/// system; the others are the caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another subscription has the name.
    #[error("the name `{0}` is taken by another subscription; choose another name")]
    NameTaken(String),
    /// There is none with this id, or it is deleted.
    #[error("there is no subscription {0}")]
    Absent(Uuid),
    /// What only the database could tell: key values that their columns can't hold, secrets that
    /// the environment lacks.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems(Vec<SpecProblem>),
    /// The secret could not be made or encrypted.
    #[error("the secret could not be stored")]
    Secret(#[from] SecretError),
    /// The definition could not be written as JSON.
    #[error("the definition could not be written")]
    Definition(#[from] serde_json::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<QueryError> for RegisterError {
    fn from(error: QueryError) -> Self {
        Self::Db(error.into())
    }
}

/// Registers a subscription, active from the commit of the caller's transaction on.
///
/// # Errors
///
/// See [`RegisterError`]; after `Problems` and `NameTaken` the transaction is still usable.
pub fn register(
    connection: &mut Connection,
    key: &SecretKey,
    catalog: &Catalog,
    registration: Registration,
    now: DateTime<Utc>,
) -> Result<Registered, RegisterError> {
    let Registration {
        name,
        mut spec,
        origin,
        owner,
    } = registration;
    let signer = match secret_take(&mut spec, origin)? {
        Some(signer) => Some(signer),
        None if spec.sink.secret_mut().is_none() => None,
        None => Some(generated(&spec)?),
    };
    let secret = signer.as_ref();
    let secret = secret.map(|signer| SecretString::from(signer.expose()));
    let credentials = credentials_take(&mut spec.sink, origin, &Credentials::default());
    let credentials = credentials.map_err(RegisterError::Problems)?;
    // Before the lock: publishing need not wait for up to a hundred small queries.
    let key_texts = object_key_texts(connection, catalog, &spec)?;

    let id = id_at(now);
    registry_raise_for(connection, id)?;
    let problems = start_judge(connection, catalog, &spec, now)?;
    if !problems.is_empty() {
        return Err(RegisterError::Problems(problems));
    }
    let sealed = secret.as_ref().map(|secret| key.seal(id, secret));
    let sealed = sealed.transpose()?;
    let row = store::NewSubscription {
        id,
        name: &name,
        origin: origin.as_str(),
        owner: owner.as_deref(),
        mode: spec.mode.as_str(),
        definition: &serde_json::to_string(&spec)?,
        object_key_texts: &key_texts,
        secret: sealed.as_deref(),
    };
    if !store::subscription_insert(connection, &row, now.trunc_subsecs(6))? {
        return Err(RegisterError::NameTaken(name));
    }
    let public_key = signer.and_then(|signer| signer.public_key());
    let public = public_key.as_deref();
    signing_put(connection, id, sealed.as_deref(), &key.id(), public)?;
    credentials_keep(connection, key, id, &credentials)?;
    start_begin(connection, catalog, id, &spec, now.trunc_subsecs(6))?;
    verification_follow(connection, id, None, &spec.sink, now.trunc_subsecs(6))?;
    let secret = secret.filter(|_| public_key.is_none());
    Ok(Registered { id, secret })
}

/// Gives a registered subscription another specification. Its secret stays unless `spec` brings
/// one, or its sink signs nothing any more; its name, state and deliveries stay.
///
/// # Errors
///
/// See [`RegisterError`]; after `Problems` and `Absent` the transaction is still usable.
pub fn replace(
    connection: &mut Connection,
    key: &SecretKey,
    catalog: &Catalog,
    id: Uuid,
    mut spec: SubscriptionSpec,
    now: DateTime<Utc>,
) -> Result<(), RegisterError> {
    let Some(origin) = store::subscription_origin(connection, id)? else {
        return Err(RegisterError::Absent(id));
    };
    if let Some(definition) = store::subscription_definition(connection, id)? {
        let began: Began = serde_json::from_str(&definition)?;
        if began.start != spec.start {
            let text = format!(
                "it says where the subscription began, and stays `{}`; to begin anew, register \
                 another subscription",
                began.start
            );
            return Err(problem("/start", text));
        }
    }
    let before = signing_get(connection, id)?.ok_or(RegisterError::Absent(id))?;
    // One that can't be read says nothing of what was.
    let sink_before = serde_json::from_str::<SubscriptionSpec>(&before.definition);
    let sink_before = sink_before.ok().map(|spec| spec.sink);
    // Who may change the URL may not read what is kept: at another receiver's he could.
    let is_same = sink_before.as_ref();
    let is_same = is_same.is_some_and(|before| !before.is_anothers(&spec.sink));
    let kept = kept_load(connection, key, Some(id))?.remove(&id);
    let kept = kept.filter(|_| is_same);
    let kept = kept.and_then(|kept| kept.credentials.ok());
    let credentials = credentials_take(&mut spec.sink, origin, &kept.unwrap_or_default());
    let credentials = credentials.map_err(RegisterError::Problems)?;
    let mut secret = secret_take(&mut spec, origin)?;
    let signs = spec.sink.secret_mut().is_some();
    let scheme = spec.sink.scheme();
    let is_other_scheme = scheme != sink_before.as_ref().and_then(SinkSpec::scheme);
    if signs && secret.is_none() && is_other_scheme && scheme == Some(Scheme::V1a) {
        // Its public half can be asked for.
        secret = Some(generated(&spec)?);
    }
    if signs && secret.is_none() && (before.sealed.is_none() || is_other_scheme) {
        // There is no answer that a generated one could be shown in.
        return Err(problem(
            "/sink/secret",
            "this subscription signed nothing, or with a key pair, until now: give a secret, \
             `whsec_` and base64, or register another subscription",
        ));
    }
    let sealed = match &secret {
        Some(secret) => Some(key.seal(id, &SecretString::from(secret.expose()))?),
        None => None,
    };
    let key_texts = object_key_texts(connection, catalog, &spec)?;

    registry_raise_for(connection, id)?;
    let change = store::SubscriptionChange {
        mode: spec.mode.as_str(),
        definition: &serde_json::to_string(&spec)?,
        object_key_texts: &key_texts,
        secret: sealed.as_deref(),
        keeps_secret: signs,
    };
    let now = now.trunc_subsecs(6);
    if !store::subscription_update(connection, id, &change, now)? {
        return Err(RegisterError::Absent(id));
    }
    if spec.on_dead == OnDead::Continue {
        unblock_all(connection, id, now)?;
    }
    if let Some(signer) = &secret {
        if origin == Origin::Folder {
            overlap(connection, key, id, &before, signer, now)?;
        } else {
            previous_keep(connection, key, id, None)?;
        }
    }
    if !signs {
        previous_keep(connection, key, id, None)?;
    }
    if secret.is_some() || !signs {
        let public = secret.and_then(|signer| signer.public_key());
        signing_put(
            connection,
            id,
            sealed.as_deref(),
            &key.id(),
            public.as_deref(),
        )?;
    }
    credentials_keep(connection, key, id, &credentials)?;
    verification_follow(connection, id, sink_before.as_ref(), &spec.sink, now)?;
    Ok(())
}

/// Deletes a subscription. Its name is free at once; upkeep cancels what it was still owed.
///
/// # Errors
///
/// Only those of the database.
pub fn remove(
    connection: &mut Connection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Removal, RegisterError> {
    registry_raise_for(connection, id)?;
    let is_removed = store::subscription_delete(connection, id, now)?;
    failing_take(connection, id)?;
    Ok(if is_removed {
        Removal::Removed
    } else {
        Removal::Absent
    })
}

/// A folder has no other way to rotate a secret: the one that it replaces signs too, for a while.
fn overlap(
    connection: &mut Connection,
    key: &SecretKey,
    id: Uuid,
    before: &SigningRow,
    signer: &Signer,
    now: DateTime<Utc>,
) -> Result<(), RegisterError> {
    let old = before.sealed.as_ref().and_then(|sealed| {
        let opened = key.open_for(id, Purpose::Signing, before.key_id.as_deref(), sealed);
        Signer::parse_any(opened.ok()?.expose_secret()).ok()
    });
    if let Some(old) = old.filter(|old| old.expose() != signer.expose()) {
        previous_keep(connection, key, id, Some((&old, now + OVERLAP_DEFAULT)))?;
    }
    Ok(())
}

fn generated(spec: &SubscriptionSpec) -> Result<Signer, RegisterError> {
    let made = Signer::generate(spec.sink.scheme().unwrap_or_default());
    made.map_err(|error| secret_problem(&error.to_string()))
}

/// What of a stored definition can't be changed.
#[derive(Deserialize)]
struct Began {
    #[serde(default)]
    start: Start,
}

/// Takes the secret out of `spec`, so that it is not stored with the definition. The name of an
/// environment variable is no secret and stays, for the folder to be written again.
fn secret_take(
    spec: &mut SubscriptionSpec,
    origin: Origin,
) -> Result<Option<Signer>, RegisterError> {
    let scheme = spec.sink.scheme().unwrap_or_default();
    let Some(secret) = spec.sink.secret_mut() else {
        return Ok(None);
    };
    let text = match secret.take() {
        None => return Ok(None),
        Some(SecretSpec::Value(text)) => SecretString::from(text),
        Some(SecretSpec::Environment { .. }) if origin == Origin::Api => {
            // A caller could otherwise have any variable of the program used as a key of its own.
            return Err(problem(
                "/sink/secret",
                "only the metadata folder may name an environment variable; give the secret \
                 itself, or leave it out and one is generated",
            ));
        }
        Some(SecretSpec::Environment { env, value }) => {
            let Some(value) = value.or_else(|| secret_from_environment(&env)) else {
                return Err(problem(
                    "/sink/secret/env",
                    format!("the environment variable {env} is not set"),
                ));
            };
            *secret = Some(SecretSpec::Environment { env, value: None });
            value
        }
    };
    match Signer::parse(scheme, text.expose_secret()) {
        Ok(secret) => Ok(Some(secret)),
        Err(error) => Err(secret_problem(&error.to_string())),
    }
}

fn secret_problem(error: &str) -> RegisterError {
    problem("/sink/secret", secret_advice(error))
}

fn problem(pointer: &str, message: impl Into<String>) -> RegisterError {
    RegisterError::Problems(vec![SpecProblem::new(pointer, message)])
}
