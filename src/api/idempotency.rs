//! `Idempotency-Key`: a POST that is sent twice makes one thing and is answered twice.
//!
//! The key is the caller's own: two callers never meet. What it made is remembered in the
//! transaction that makes it, under the registry's lock, so of two at once one makes it and the
//! other is told of it.

mod store;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::problem::{Kind, Problem};
use crate::db::Connection;

/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// The key of one request, and what the request was.
pub(super) struct Memory {
    principal: String,
    key: String,
    fingerprint: [u8; 32],
}

impl Memory {
    /// Reads the header; `None` if it is not there. `route` is method and path.
    pub(super) fn read(
        headers: &HeaderMap,
        principal: &str,
        route: &str,
        body: &[u8],
    ) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get("idempotency-key") else {
            return Ok(None);
        };
        let key = value.to_str().map(str::trim).unwrap_or_default();
        if key.is_empty() || key.len() > KEY_CHARS_MAX {
            return Err(Problem::new(
                Kind::InvalidHeader,
                format!("an Idempotency-Key has 1 to {KEY_CHARS_MAX} visible ASCII characters"),
            ));
        }
        let fingerprint = Sha256::new()
            .chain_update(route.as_bytes())
            .chain_update([0])
            .chain_update(body)
            .finalize();
        Ok(Some(Self {
            principal: principal.to_owned(),
            key: key.to_owned(),
            fingerprint: fingerprint.into(),
        }))
    }

    /// What the same request made before; a problem, if another request has the key.
    pub(super) fn recall(&self, connection: &mut Connection) -> Result<Option<Uuid>, Problem> {
        match store::idempotency_get(connection, &self.principal, &self.key)? {
            None => Ok(None),
            Some((fingerprint, id)) if fingerprint == self.fingerprint => Ok(Some(id)),
            Some(_) => Err(key_reused()),
        }
    }

    /// The key and the fingerprint, for who keeps those of several requests at once.
    pub(super) fn name(&self) -> (KeyName<'_>, [u8; 32]) {
        let name = KeyName {
            principal: &self.principal,
            key: &self.key,
        };
        (name, self.fingerprint)
    }

    /// Keeps what the request made.
    pub(super) fn remember(
        &self,
        connection: &mut Connection,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), Problem> {
        let Self {
            principal,
            key,
            fingerprint,
        } = self;
        Ok(store::idempotency_insert(
            connection,
            principal,
            key,
            fingerprint,
            id,
            now,
        )?)
    }
}

/// What tells one key from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyName<'a> {
    principal: &'a str,
    key: &'a str,
}

/// Another request has the key.
pub(super) fn key_reused() -> Problem {
    Problem::new(
        Kind::IdempotencyKeyReused,
        "this key was sent with another request; draw a new key for each request, and send the same \
         bytes when you repeat one",
    )
}
