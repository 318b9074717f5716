//! What a subscription keeps encrypted besides its signing key: the key before it, for a while, and
//! the values of headers.

pub mod store;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{
    credential::Credentials,
    secret::{Purpose, SecretError, SecretKey},
};
use crate::{
    db::{Connection, DbError},
    sink::Signer,
};
use store::{SealedRow, secret_list, secret_put, secret_remove};

/// What is kept of one subscription, opened.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Signs until then besides the present key.
    pub previous: Option<(Signer, DateTime<Utc>)>,
    /// The values of its headers, or why they can't be had.
    pub credentials: Result<Credentials, String>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            previous: None,
            credentials: Ok(Credentials::default()),
        }
    }
}

/// What is kept, by subscription; of one alone, if `only` names it. What can't be opened fails
/// alone.
///
/// # Errors
///
/// Only those of the database.
pub fn kept_load(
    connection: &mut Connection,
    key: &SecretKey,
    only: Option<Uuid>,
) -> Result<HashMap<Uuid, Kept>, crate::db::QueryError> {
    let mut all: HashMap<Uuid, Kept> = HashMap::new();
    for row in secret_list(connection, only)? {
        let kept = all.entry(row.subscription_id).or_default();
        match (Purpose::parse(&row.kind), row.valid_until) {
            (Some(Purpose::Previous), Some(until)) => match opened_signer(key, &row) {
                Ok(signer) => kept.previous = Some((signer, until)),
                // The present one signs alone; receivers that still have this one will say so.
                Err(reason) => tracing::warn!(reason, "a previous secret can't be used"),
            },
            (Some(Purpose::Credentials), _) => kept.credentials = opened_credentials(key, &row),
            // A later version's.
            _ => {}
        }
    }
    Ok(all)
}

fn opened_signer(key: &SecretKey, row: &SealedRow) -> Result<Signer, String> {
    let text = opened(key, Purpose::Previous, row).map_err(|error| error.to_string())?;
    Signer::parse_any(text.expose_secret()).map_err(|error| error.to_string())
}

fn opened_credentials(key: &SecretKey, row: &SealedRow) -> Result<Credentials, String> {
    let text = opened(key, Purpose::Credentials, row).map_err(|error| error.to_string())?;
    Credentials::of_text(&text).ok_or_else(|| "the values of its headers can't be read".to_owned())
}

fn opened(
    key: &SecretKey,
    purpose: Purpose,
    row: &SealedRow,
) -> Result<secrecy::SecretString, SecretError> {
    key.open_for(row.subscription_id, purpose, Some(&row.key_id), &row.sealed)
}

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It could not be encrypted.
    #[error("the secret could not be encrypted")]
    Secret(#[from] SecretError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<crate::db::QueryError> for KeepError {
    fn from(error: crate::db::QueryError) -> Self {
        Self::Db(error.into())
    }
}

/// Keeps the values of a subscription's headers instead of what was kept of them.
///
/// # Errors
///
/// If they can't be encrypted or written.
pub fn credentials_keep(
    connection: &mut Connection,
    key: &SecretKey,
    subscription: Uuid,
    credentials: &Credentials,
) -> Result<(), KeepError> {
    let purpose = Purpose::Credentials;
    if credentials.is_empty() {
        secret_remove(connection, subscription, purpose.as_str())?;
        return Ok(());
    }
    let sealed = key.seal_for(subscription, purpose, &credentials.to_text())?;
    secret_put(connection, &row(subscription, purpose, key, sealed, None))?;
    Ok(())
}

/// Keeps `previous` to sign until `until`; with none, forgets the one that was kept.
///
/// # Errors
///
/// If it can't be encrypted or written.
pub fn previous_keep(
    connection: &mut Connection,
    key: &SecretKey,
    subscription: Uuid,
    previous: Option<(&Signer, DateTime<Utc>)>,
) -> Result<(), KeepError> {
    let purpose = Purpose::Previous;
    let Some((signer, until)) = previous else {
        secret_remove(connection, subscription, purpose.as_str())?;
        return Ok(());
    };
    let sealed = key.seal_for(subscription, purpose, &signer.expose().into())?;
    let row = row(subscription, purpose, key, sealed, Some(until));
    secret_put(connection, &row)?;
    Ok(())
}

fn row(
    subscription_id: Uuid,
    purpose: Purpose,
    key: &SecretKey,
    sealed: Vec<u8>,
    valid_until: Option<DateTime<Utc>>,
) -> SealedRow {
    SealedRow {
        subscription_id,
        kind: purpose.as_str().to_owned(),
        key_id: key.id(),
        sealed,
        valid_until,
    }
}
