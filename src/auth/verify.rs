//! From the text that a caller sent to who it is.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    key::{ApiKey, KeyFormatError, KeyHash, PREFIX},
    role::Role,
    store,
};
use crate::db::{Database, DbError};

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
    /// The database failed, so nobody can tell.
    #[error(transparent)]
    Db(#[from] DbError),
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
    database: &Database,
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
    let id = key.id.clone();
    let found = database
        .run(move |connection| Ok::<_, DbError>(store::key_find(connection, &id)?))
        .await?;
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
