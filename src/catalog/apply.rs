//! Applying a folder: in one transaction, under the registry's lock, as a new version.
//!
//! Guaranteed: either all of it becomes the running catalogue, with its subscriptions registered
//! and its triggers installed, or nothing changes. A folder that was not changed since it was last
//! applied is left alone. Only what was born in the folder is touched.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use miette::Diagnostic;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{
    examine::{Examined, Order, examine},
    load::Item,
    model::Catalog,
    plan::{Action, Change, Kind, Plan},
    problem::{MetadataError, Problem},
    store::{
        NewItem, NewVersion, catalog_item_close, catalog_item_insert, catalog_version_folder,
        catalog_version_insert, lock_timeout_set, transaction_read_only,
    },
};
use crate::{
    capture::install::InstallError,
    db::{Connection, Database, DbError, QueryError},
    registry::{SecretKeyError, registry_lock, registry_raise, secret_key_check},
    subscription::{
        model::{SecretSpec, SubscriptionSpec},
        register::{
            Origin, RegisterError, Registered, Registration, SpecProblem, register, remove, replace,
        },
        secret::SecretKey,
    },
};

/// How long one lock is waited for. Writers queue behind a waiting CREATE TRIGGER, so this is also
/// how long an apply can hold them up each time.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a whole apply is tried when a lock can't be had.
pub const ATTEMPTS_MAX: u32 = 5;

/// What became of an apply.
#[derive(Debug)]
pub enum Outcome {
    /// The folder is what runs now.
    Applied {
        /// The new version.
        version: i64,
        /// What was changed.
        plan: Plan,
        /// Names of new subscriptions with the secrets that were generated for them: to be shown
        /// once, and never logged.
        secrets: Vec<(String, SecretString)>,
    },
    /// The folder was applied before, and is unchanged since.
    Unchanged {
        /// The running version.
        version: i64,
    },
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ApplyError {
    /// The folder is not valid.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Metadata(#[from] MetadataError),
    /// The folder's subscriptions have secrets, and there is nothing to encrypt them with.
    #[error("the folder has subscriptions, and ROWCALL_SECRET_KEY is not set")]
    #[diagnostic(help(
        "set it to the 64 hexadecimal digits that `rowcall serve` runs with; make them with \
         `openssl rand -hex 32`"
    ))]
    NoSecretKey,
    /// The secret key is not the repository's.
    #[error(transparent)]
    #[diagnostic(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// A subscription could not be written.
    #[error("the subscription `{name}` could not be registered")]
    Register {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: RegisterError,
    },
    /// The triggers could not be installed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Install(#[from] InstallError),
    /// Locks could not be had.
    #[error("the metadata could not be applied in {ATTEMPTS_MAX} attempts")]
    #[diagnostic(help(
        "a long transaction probably holds one of the tables, or another apply is under way: see \
         pg_stat_activity and pg_locks, and try again; nothing was changed"
    ))]
    Busy(#[source] Box<Self>),
    /// The database failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Db(#[from] DbError),
}

impl From<QueryError> for ApplyError {
    fn from(error: QueryError) -> Self {
        Self::Db(error.into())
    }
}

/// Says what [`apply`] would change, and changes nothing.
///
/// # Errors
///
/// [`ApplyError::Metadata`] if the folder would be refused.
pub async fn plan(database: &Database, order: Arc<Order>) -> Result<Plan, ApplyError> {
    let plan = database.transaction(move |connection| {
        transaction_read_only(connection)?;
        examine(connection, &order).map(|examined| examined.plan)
    });
    plan.await
}

/// Applies a folder; `install` then brings the triggers to the new catalogue, in the same
/// transaction. Tried again, up to [`ATTEMPTS_MAX`] times, when a lock can't be had.
///
/// # Errors
///
/// See [`ApplyError`]; after any of them nothing was changed.
pub async fn apply<I, E>(
    database: &Database,
    order: Arc<Order>,
    now: DateTime<Utc>,
    install: I,
) -> Result<Outcome, ApplyError>
where
    I: Fn(&mut Connection, &Catalog, DateTime<Utc>) -> Result<(), E> + Clone + Send + 'static,
    E: Into<ApplyError>,
{
    let mut attempt = 1;
    loop {
        let begun = Instant::now();
        let (order, install) = (order.clone(), install.clone());
        let outcome = database
            .transaction(move |connection| apply_in(connection, &order, now, install))
            .await;
        match outcome {
            Err(error) if is_busy(&error, begun.elapsed()) => {
                if attempt == ATTEMPTS_MAX {
                    return Err(ApplyError::Busy(Box::new(error)));
                }
                tracing::info!(
                    attempt,
                    "a lock could not be had; the metadata is applied again"
                );
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Whether a lock could not be had. Diesel does not tell a lock timeout from other errors of the
/// server, and the server's text may be in any language; but none comes before its time, and to
/// repeat another error is harmless.
fn is_busy(error: &ApplyError, elapsed: Duration) -> bool {
    if matches!(error, ApplyError::Install(InstallError::Busy { .. })) {
        return true;
    }
    if elapsed < LOCK_TIMEOUT {
        return false;
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(
            error.downcast_ref::<QueryError>(),
            Some(QueryError::DatabaseError(..))
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// One attempt, inside the caller's transaction; after an error the caller must roll it back.
///
/// # Errors
///
/// See [`ApplyError`].
pub fn apply_in<E>(
    connection: &mut Connection,
    order: &Order,
    now: DateTime<Utc>,
    install: impl Fn(&mut Connection, &Catalog, DateTime<Utc>) -> Result<(), E>,
) -> Result<Outcome, ApplyError>
where
    E: Into<ApplyError>,
{
    lock_timeout_set(connection, LOCK_TIMEOUT.as_millis() as u64)?;
    registry_lock(connection)?;
    let is_same = catalog_version_folder(connection)?.as_deref() == Some(&order.folder.digest);
    // To take the folder's word is to apply it again over what the API changed since.
    if is_same && order.take.is_none() {
        let version = Catalog::load(connection)?.version;
        return Ok(Outcome::Unchanged { version });
    }
    let examined = examine(connection, order)?;
    if is_same && examined.plan.is_empty() {
        let version = examined.catalog.version;
        return Ok(Outcome::Unchanged { version });
    }
    registry_raise(connection)?;
    let version = catalog_version_insert(
        connection,
        &NewVersion {
            author: &order.author,
            reason: &order.reason,
            digest: Some(&order.folder.digest),
            applied_at: now,
        },
    )?;
    let catalog = Catalog {
        version,
        ..examined.catalog.clone()
    };
    items_write(connection, version, &examined)?;
    let secrets = subscriptions_write(connection, order, &catalog, &examined, now)?;
    install(connection, &catalog, now).map_err(Into::into)?;
    Ok(Outcome::Applied {
        version,
        plan: examined.plan,
        secrets,
    })
}

fn items_write(
    connection: &mut Connection,
    version: i64,
    examined: &Examined,
) -> Result<(), ApplyError> {
    let of_catalog = |change: &&Change| change.kind != Kind::Subscription;
    for Change { kind, name, action } in examined.plan.changes.iter().filter(of_catalog) {
        if !matches!(action, Action::Add(_)) {
            catalog_item_close(connection, version, kind.as_str(), name)?;
        }
        if let Some(definition) = examined.wanted.get(&(*kind, name.clone())) {
            let item = NewItem {
                kind: kind.as_str(),
                name,
                origin: Origin::Folder,
                definition: &definition.to_string(),
            };
            catalog_item_insert(connection, version, &item)?;
        }
    }
    Ok(())
}

/// Registers, replaces and removes; returns the generated secrets.
fn subscriptions_write(
    connection: &mut Connection,
    order: &Order,
    catalog: &Catalog,
    examined: &Examined,
    now: DateTime<Utc>,
) -> Result<Vec<(String, SecretString)>, ApplyError> {
    for (name, id) in &examined.registered {
        if examined
            .wanted
            .contains_key(&(Kind::Subscription, name.clone()))
        {
            continue;
        }
        remove(connection, *id, now).map_err(|source| ApplyError::Register {
            name: name.clone(),
            source,
        })?;
    }
    let due = |item: &&Item<SubscriptionSpec>| examined.must_be_written(item);
    let mut due = order.folder.subscriptions.iter().filter(due).peekable();
    if due.peek().is_none() {
        return Ok(Vec::new());
    }
    let key: &SecretKey = order.secret_key.as_deref().ok_or(ApplyError::NoSecretKey)?;
    secret_key_check(connection, key)?;
    let mut secrets = Vec::new();
    for item in due {
        let mut spec = item.spec.clone();
        secret_look_up(&mut spec, order);
        let written = match examined.registered.get(&item.name) {
            Some(id) => replace(connection, key, catalog, *id, spec, now),
            None => {
                let generated = spec.sink.secret().is_none();
                let registration = Registration {
                    name: item.name.clone(),
                    spec,
                    origin: Origin::Folder,
                    owner: None,
                };
                register(connection, key, catalog, registration, now).map(
                    |Registered { secret, .. }| {
                        if generated && let Some(secret) = secret {
                            secrets.push((item.name.clone(), secret));
                        }
                    },
                )
            }
        };
        written.map_err(|error| register_error(item, error))?;
    }
    Ok(secrets)
}

/// Examining has found the variable set.
fn secret_look_up(spec: &mut SubscriptionSpec, order: &Order) {
    if let Some(Some(SecretSpec::Environment { env, value })) = spec.sink.secret_mut() {
        *value = (order.environment)(env);
    }
}

/// What only registering could find is still a fault of a place in the folder.
fn register_error(item: &Item<SubscriptionSpec>, error: RegisterError) -> ApplyError {
    match error {
        RegisterError::Problems(problems) => {
            let problem = |problem: SpecProblem| {
                Problem::new(item.places.at(&problem.pointer), problem.message)
            };
            MetadataError::invalid(problems.into_iter().map(problem).collect()).into()
        }
        source => ApplyError::Register {
            name: item.name.clone(),
            source,
        },
    }
}
