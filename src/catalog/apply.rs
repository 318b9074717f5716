//! Applying a folder: in one transaction, under the registry's lock, as a new version.
//!
//! Guaranteed: either all of it becomes the running catalogue, with its subscriptions registered
//! and its triggers installed, or nothing changes. A folder that was not changed since it was last
//! applied is left alone. Only what was born in the folder is touched.

mod error;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tokio::time::Instant;

pub use self::error::ApplyError;
use self::error::is_busy;
use super::{
    elsewhere::{self, Others},
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
    db::{Connection, Database},
    foreign::look::{Seen, look},
    registry::{registry_lock, registry_raise, secret_key_check},
    subscription::{
        credential::{Credential, slots},
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

/// Says what [`apply`] would change, and changes nothing.
///
/// # Errors
///
/// [`ApplyError::Metadata`] if the folder would be refused.
pub async fn plan(database: &Database, order: Arc<Order>) -> Result<Plan, ApplyError> {
    let seen = see(database, &order).await?;
    examined(database, &order, seen)
        .await
        .map(|(plan, ..)| plan)
}

/// Looks at the tables of other databases, if the folder or the running catalogue has such.
async fn see(database: &Database, order: &Arc<Order>) -> Result<Seen, ApplyError> {
    let asking = Arc::clone(order);
    let asked = database.transaction(move |connection| {
        transaction_read_only(connection)?;
        Ok::<_, ApplyError>(elsewhere::asked(connection, &asking)?)
    });
    Ok(look(&order.sources, asked.await?).await)
}

/// Judges the folder, and changes nothing.
async fn examined(
    database: &Database,
    order: &Arc<Order>,
    seen: Seen,
) -> Result<(Plan, Catalog, Seen), ApplyError> {
    let order = Arc::clone(order);
    let examined = database.transaction(move |connection| {
        transaction_read_only(connection)?;
        let examined = examine(connection, &order, &seen)?;
        Ok::<_, ApplyError>((examined.plan, examined.catalog, seen))
    });
    examined.await
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
    E: Into<ApplyError> + Send + 'static,
{
    let mut attempt = 1;
    loop {
        let begun = Instant::now();
        let outcome = apply_once(database, &order, now, &install).await;
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

/// One attempt with all databases: those of other sources first, then the catalogue, see
/// [`elsewhere`].
async fn apply_once<I, E>(
    database: &Database,
    order: &Arc<Order>,
    now: DateTime<Utc>,
    install: &I,
) -> Result<Outcome, ApplyError>
where
    I: Fn(&mut Connection, &Catalog, DateTime<Utc>) -> Result<(), E> + Clone + Send + 'static,
    E: Into<ApplyError> + Send + 'static,
{
    let seen = see(database, order).await?;
    let mut others = Others::default();
    if !seen.is_empty() {
        let (_, catalog, seen) = examined(database, order, seen).await?;
        others = Others::prepare(seen, database, order, &catalog, now, install).await?;
    }
    let (applying, installing) = (Arc::clone(order), install.clone());
    let applied = database.transaction(move |connection| {
        let outcome = apply_with(connection, &applying, &others, now, installing)?;
        Ok::<_, ApplyError>((outcome, others))
    });
    let (outcome, others) = applied.await?;
    others.finish(now, install).await;
    Ok(outcome)
}

/// One attempt, inside the caller's transaction and without other databases; after an error the
/// caller must roll it back.
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
    apply_with(connection, order, &Others::default(), now, install)
}

fn apply_with<E>(
    connection: &mut Connection,
    order: &Order,
    others: &Others,
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
    let examined = examine(connection, order, &others.seen)?;
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
    let before = Catalog::load(connection)?;
    if !others.write(connection, &before, &catalog)? {
        return Err(ApplyError::Raced);
    }
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
    for slot in slots(&mut spec.sink) {
        if let Credential::Environment { env, value } = slot.credential {
            *value = (order.environment)(env);
        }
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
