//! The text form of an API key: `rck_<id>_<secret><check>`.
//!
//! The prefix makes a leaked key recognisable to scanners. The id is public: it names the key in
//! lists and logs. The check digits are derived from all that stands before them, so that a slip of
//! copying is told from a revoked key, without a question to the database.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What every key begins with.
pub const PREFIX: &str = "rck_";
/// The length of a key's id, in characters of [a-z0-9].
pub const ID_CHARS: usize = 12;
/// The length of the secret, in characters of base 62: 238 bits.
const SECRET_CHARS: usize = 40;
/// The length of the check digits, in characters of base 62: one slip in 5.7e10 goes unnoticed.
const CHECK_CHARS: usize = 6;

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key as its holder has it.
pub struct ApiKey {
    /// Its public name.
    pub id: String,
    secret: SecretString,
}

/// What is stored of a key: its secret can be compared with it, and not be found from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// Drawn for each key.
    pub salt: [u8; 32],
    /// HMAC-SHA256 of the secret under the salt. The secret is uniformly random and long, so a slow
    /// hash would add nothing.
    pub hash: [u8; 32],
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// It does not look like one.
    #[error("this is no API key: a key looks like rck_<12 characters>_<46 characters>")]
    Form,
    /// It looks like one, but its check digits are those of another.
    #[error("the API key was mistyped or cut off: its check digits do not fit; copy it again")]
    Check,
}

impl ApiKey {
    /// Draws a new key.
    ///
    /// # Errors
    ///
    /// Only if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            id: draw(BASE36, ID_CHARS)?,
            secret: SecretString::from(draw(BASE62, SECRET_CHARS)?),
        })
    }

    /// Reads a key's text.
    ///
    /// # Errors
    ///
    /// [`KeyFormatError`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        let (id, rest) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(KeyFormatError::Form)?;
        if id.len() != ID_CHARS || !id.bytes().all(|byte| BASE36.contains(&byte)) {
            return Err(KeyFormatError::Form);
        }
        let is_base62 = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_base62 || rest.len() != SECRET_CHARS + CHECK_CHARS {
            return Err(if is_base62 {
                KeyFormatError::Check
            } else {
                KeyFormatError::Form
            });
        }
        let (secret, check) = rest.split_at(SECRET_CHARS);
        if check_digits(id, secret)
            .as_bytes()
            .ct_eq(check.as_bytes())
            .into()
        {
            Ok(Self {
                id: id.to_owned(),
                secret: SecretString::from(secret),
            })
        } else {
            Err(KeyFormatError::Check)
        }
    }

    /// The whole text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> String {
        let secret = self.secret.expose_secret();
        format!(
            "{PREFIX}{}_{secret}{}",
            self.id,
            check_digits(&self.id, secret)
        )
    }

    /// What to store of it.
    ///
    /// # Errors
    ///
    /// Only if the operating system gives no random bytes.
    pub fn hash(&self) -> Result<KeyHash, getrandom::Error> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(KeyHash {
            salt,
            hash: self.hash_under(&salt),
        })
    }

    /// Whether `stored` was made of this key, in constant time.
    #[must_use]
    pub fn matches(&self, stored: &KeyHash) -> bool {
        self.hash_under(&stored.salt).ct_eq(&stored.hash).into()
    }

    fn hash_under(&self, salt: &[u8; 32]) -> [u8; 32] {
        // HMAC itself pads a short key with zeros to the block of its hash (RFC 2104, section 2).
        let mut block = [0; 64];
        block[..salt.len()].copy_from_slice(salt);
        let mut code = Hmac::<Sha256>::new(&block.into());
        code.update(self.secret.expose_secret().as_bytes());
        code.finalize().into_bytes().into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

fn check_digits(id: &str, secret: &str) -> String {
    let digest = Sha256::new()
        .chain_update(b"rowcall api key check")
        .chain_update(id.as_bytes())
        .chain_update(b"_")
        .chain_update(secret.as_bytes())
        .finalize();
    let mut number = digest[..8]
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut digits = String::with_capacity(CHECK_CHARS);
    for _ in 0..CHECK_CHARS {
        digits.push(char::from(BASE62[(number % 62) as usize]));
        number /= 62;
    }
    digits
}

/// `length` characters of `alphabet`, each equally likely.
fn draw(alphabet: &[u8], length: usize) -> Result<String, getrandom::Error> {
    // Bytes at or above the largest multiple of the alphabet's size would favour its first
    // characters.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        let usable = bytes
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < fair);
        let missing = length - text.len();
        text.extend(
            usable
                .take(missing)
                .map(|byte| char::from(alphabet[byte % alphabet.len()])),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_and_matches_its_hash_only() {
        let (key, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let text = key.expose();
        assert_eq!(text.len(), 4 + 12 + 1 + 46);
        let read = ApiKey::parse(&text).unwrap();
        let stored = key.hash().unwrap();
        assert!(read.matches(&stored));
        assert!(!other.matches(&stored));
        assert_ne!(key.hash().unwrap().salt, stored.salt);
    }

    #[test]
    fn every_slip_of_one_character_is_noticed() {
        let text = ApiKey::generate().unwrap().expose();
        for at in PREFIX.len()..text.len() {
            let mut slip = text.clone().into_bytes();
            slip[at] = if slip[at] == b'a' { b'b' } else { b'a' };
            assert!(
                ApiKey::parse(std::str::from_utf8(&slip).unwrap()).is_err(),
                "at {at}"
            );
        }
        assert_eq!(
            ApiKey::parse(&text[..50]).unwrap_err(),
            KeyFormatError::Check
        );
        assert_eq!(ApiKey::parse("hunter2").unwrap_err(), KeyFormatError::Form);
    }

    #[test]
    fn nothing_shows_the_secret() {
        let key = ApiKey::generate().unwrap();
        let secret = key.expose()[17..].to_owned();
        assert!(!format!("{key:?}").contains(&secret));
        let error = ApiKey::parse(&key.expose()[1..]).unwrap_err();
        assert!(!error.to_string().contains(&secret));
    }
}
