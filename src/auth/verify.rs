//! From the text that a caller sent to who it is.
//!
//! Each request asks the database. Those that come while one query is under way ask together with
//! the next one.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    key::{ApiKey, KeyFormatError, KeyHash, PREFIX},
    role::Role,
    store,
};
use crate::db::{
    Database, DbError,
    joint::{Asked, Bounds, Full, Joint, Together},
};

/// Queries for keys that are under way at once, the keys that one asks for, and those that wait.
const LOOKUPS: Bounds = Bounds {
    groups_max: 2,
    group_weight_max: 256,
    group_size_max: 256,
    weight_max: 10_000,
};

/// The API keys as they are in the database; clones share the way there.
#[derive(Clone)]
pub struct Keys(Joint<Lookup>);

struct Lookup(Database);

/// Role and hash of a key that works.
type Found = Option<(Role, KeyHash)>;

impl Keys {
    /// Those of `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(Joint::new(Lookup(database), LOOKUPS))
    }

    async fn find(&self, id: &str) -> Result<Found, AuthError> {
        let room = self.0.room(1).map_err(|Full| AuthError::Busy)?;
        match self.0.ask(&Asked::new(id.to_owned(), room)).await {
            Some(found) => found.map_err(AuthError::Db),
            None => Err(AuthError::Db(Arc::new(DbError::Panicked))),
        }
    }
}

impl Together for Lookup {
    type Ask = String;
    type Answer = Result<Found, Arc<DbError>>;

    async fn answer(&self, asked: Vec<Arc<Asked<String>>>) -> Vec<Self::Answer> {
        let count = asked.len();
        let found = self.0.run(move |connection| {
            let ids: Vec<&str> = asked.iter().map(|id| id.as_str()).collect();
            let known = store::keys_find(connection, &ids)?;
            Ok::<_, DbError>(ids.iter().map(|id| known.get(*id).cloned()).collect())
        });
        let found: Result<Vec<Found>, DbError> = found.await;
        match found {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(Arc::new(error)); count],
        }
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key's id, or `bootstrap`. Owns the subscriptions that it registers.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// The bootstrap key of the configuration: an admin without a row in the repository.
#[derive(Clone)]
pub struct AdminKey([u8; 32]);

/// The principal of the bootstrap key. No key's id can be this: they have 12 characters.
pub const BOOTSTRAP: &str = "bootstrap";

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The text is no key. Telling that helps no attacker: it takes no knowledge to find out.
    #[error(transparent)]
    Format(#[from] KeyFormatError),
    /// There is no such key, its secret is another, or it was revoked: which of them is not told.
    #[error("the API key is not valid (any more); ask an administrator for another")]
    Invalid,
    /// Too many keys are being looked for.
    #[error("too many requests wait to be let in; send it again in a moment")]
    Busy,
    /// The database failed, so nobody can tell.
    #[error(transparent)]
    Db(Arc<DbError>),
}

impl AdminKey {
    /// Keeps only a digest of the key.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        Self(Sha256::digest(key.expose_secret().as_bytes()).into())
    }

    /// Digests have one length, so the comparison tells nothing of the key's.
    fn matches(&self, text: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.0.ct_eq(&digest).into()
    }
}

impl std::fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminKey(..)")
    }
}

/// Finds out who sent `text`. The bootstrap key works without the database.
///
/// # Errors
///
/// [`AuthError`].
pub async fn authenticate(
    keys: &Keys,
    admin_key: Option<&AdminKey>,
    text: &str,
) -> Result<Principal, AuthError> {
    if admin_key.is_some_and(|admin| admin.matches(text)) {
        return Ok(Principal {
            name: BOOTSTRAP.to_owned(),
            role: Role::Admin,
        });
    }
    let key = match ApiKey::parse(text) {
        Ok(key) => key,
        // It may be a mistyped bootstrap key, of whose form nothing is known.
        Err(KeyFormatError::Form) if admin_key.is_some() && !text.starts_with(PREFIX) => {
            return Err(AuthError::Invalid);
        }
        Err(error) => return Err(error.into()),
    };
    let found = keys.find(&key.id).await?;
    // An unknown id costs the same work as a wrong secret.
    let absent = KeyHash {
        salt: [0; 32],
        hash: [0; 32],
    };
    let is_match = key.matches(found.as_ref().map_or(&absent, |(_, hash)| hash));
    match found {
        Some((role, _)) if is_match => Ok(Principal { name: key.id, role }),
        _ => Err(AuthError::Invalid),
    }
}
