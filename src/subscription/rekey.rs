//! Encrypting what is kept anew, with the present key: batch after batch, each a transaction of its
//! own. It may be ended at any time and begun again: what has the present key is left alone.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    sealed::store::{
        Ciphertext, KeyUse, ciphertext_list, ciphertext_replace, key_uses, key_uses_other,
    },
    secret::{Purpose, SecretKey},
};
use crate::{
    db::{Connection, Database, DbError, QueryError},
    observe::readiness::Readiness,
};

/// Secrets that one transaction encrypts anew.
pub const REKEY_BATCH_MAX: i64 = 200;

/// The warning's name in /readyz.
const WARNING: &str = "secret keys";

/// What was done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Encrypted anew.
    pub done: u64,
    /// Written by somebody else while this was at them, with the key that he has. One that is
    /// written so when this has passed it is not among them: [`keys_used`] tells.
    pub raced: u64,
    /// Not to be opened with any known key, by the id of their key; `unknown` where that was not
    /// written down.
    pub unreadable: BTreeMap<String, u64>,
    /// Where to go on; `None` at the end.
    after: Option<(Uuid, String)>,
    begun: bool,
}

impl Rekeyed {
    /// Whether everything was looked at.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.begun && self.after.is_none()
    }
}

/// Encrypts one batch anew and tells what was done until now.
///
/// # Errors
///
/// Those of the database; run it again with what it was given.
pub fn rekey_batch(
    connection: &mut Connection,
    key: &SecretKey,
    mut so_far: Rekeyed,
    batch_max: i64,
) -> Result<Rekeyed, DbError> {
    let key_id = key.id();
    let (id, kind) = so_far.after.take().unwrap_or_default();
    so_far.begun = true;
    let batch = ciphertext_list(connection, &key_id, (id, &kind), batch_max)?;
    if let Some(last) = batch.last()
        && batch.len() as i64 == batch_max
    {
        so_far.after = Some((last.subscription_id, last.kind.clone()));
    }
    for one in &batch {
        match anew(key, one) {
            Some(sealed) if ciphertext_replace(connection, one, &sealed, &key_id)? => {
                so_far.done += 1;
            }
            Some(_) => so_far.raced += 1,
            None => {
                let id = one.key_id.clone().unwrap_or_else(|| "unknown".to_owned());
                *so_far.unreadable.entry(id).or_default() += 1;
            }
        }
    }
    Ok(so_far)
}

fn anew(key: &SecretKey, one: &Ciphertext) -> Option<Vec<u8>> {
    let purpose = Purpose::parse(&one.kind)?;
    let id = one.subscription_id;
    let opened = key.open_for(id, purpose, one.key_id.as_deref(), &one.sealed);
    key.seal_for(id, purpose, &opened.ok()?).ok()
}

/// The keys that anything is encrypted with, and how often.
///
/// # Errors
///
/// Those of the database.
pub fn keys_used(connection: &mut Connection) -> Result<Vec<KeyUse>, QueryError> {
    key_uses(connection)
}

/// Says in the log and in /readyz which keys are missing. Their subscriptions wait; the others are
/// not disturbed.
///
/// # Errors
///
/// Those of the database.
pub async fn missing_keys_tell(
    database: &Database,
    ids: Vec<String>,
    readiness: &Readiness,
) -> Result<(), DbError> {
    let read =
        move |connection: &mut Connection| Ok::<_, DbError>(key_uses_other(connection, &ids)?);
    let missing = database.run(read).await?;
    if missing.is_empty() {
        readiness.warning_clear(WARNING);
        return Ok(());
    }
    let each = missing.iter().map(|used| {
        let id = used.key_id.as_deref().unwrap_or_default();
        format!("{} with the key {id}", used.count)
    });
    let text = format!(
        "secrets are encrypted with keys that are not known here, and their subscriptions wait: {}; \
         add the keys to ROWCALL_SECRET_KEYS_OLD and start anew",
        each.collect::<Vec<_>>().join(", ")
    );
    tracing::error!("{text}");
    readiness.warning_set(WARNING, text);
    Ok(())
}
