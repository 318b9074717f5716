//! Secrets at rest: XChaCha20-Poly1305 under `ROWCALL_SECRET_KEY`, bound to their subscription and
//! to what they are for. Former keys (`ROWCALL_SECRET_KEYS_OLD`) still open what they encrypted.

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// XChaCha20's nonce, in bytes; long enough to be drawn at random without a counter.
const NONCE_BYTES: usize = 24;

/// The most former keys.
pub const FORMER_KEYS_MAX: usize = 16;

/// The key that encrypts secrets at rest, and former ones, which open what they encrypted.
pub struct SecretKey {
    present: OneKey,
    former: Vec<OneKey>,
}

struct OneKey {
    key: SecretBox<[u8; 32]>,
    /// Worked out once: with each secret that is opened it is compared.
    id: String,
}

/// What a ciphertext is kept for. It is bound to it: one that is moved to another place opens
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The key that a subscription's webhooks are signed with.
    Signing,
    /// The one before it, while a rotation goes on.
    Previous,
    /// The values of its headers.
    Credentials,
}

impl Purpose {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Previous => "previous",
            Self::Credentials => "credentials",
        }
    }

    /// Reads what [`Purpose::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Signing, Self::Previous, Self::Credentials]
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
    }

    /// What a ciphertext is authenticated with. That of signing secrets was there first and has
    /// the subscription only.
    fn bound_to(self, subscription: Uuid) -> Vec<u8> {
        let mut bound = subscription.as_bytes().to_vec();
        if self != Self::Signing {
            bound.extend_from_slice(self.as_str().as_bytes());
        }
        bound
    }
}

/// Why a secret key or a secret could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key's text is not 64 hex digits.
    #[error("the secret key is not 64 hexadecimal digits; make one with `openssl rand -hex 32`")]
    KeyFormat,
    /// More than [`FORMER_KEYS_MAX`] former keys.
    #[error(
        "there are more than {FORMER_KEYS_MAX} former keys; run `rowcall secrets rekey` and take \
         out those that nothing is encrypted with"
    )]
    TooManyKeys,
    /// The ciphertext was not made with this key for this subscription.
    #[error(
        "the secret of subscription {0} can't be decrypted: ROWCALL_SECRET_KEY is not the key it \
         was stored with"
    )]
    WrongKey(Uuid),
    /// The key that it was encrypted with is not known here.
    #[error(
        "the secret of subscription {subscription} is encrypted with the key {key_id}, which is \
         neither ROWCALL_SECRET_KEY nor in ROWCALL_SECRET_KEYS_OLD; add that key, or give the \
         subscription a new secret"
    )]
    MissingKey {
        /// Whose it is.
        subscription: Uuid,
        /// Names the key.
        key_id: String,
    },
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    Random(#[source] getrandom::Error),
}

impl SecretKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        Ok(Self {
            present: OneKey::parse(text)?,
            former: Vec::new(),
        })
    }

    /// Knows former keys too, of the same form. Empty texts are none.
    ///
    /// # Errors
    ///
    /// If one is no key, or there are more than [`FORMER_KEYS_MAX`].
    pub fn with_former<'a>(
        mut self,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SecretError> {
        for text in texts.into_iter().filter(|text| !text.trim().is_empty()) {
            self.former.push(OneKey::parse(text)?);
        }
        if self.former.len() > FORMER_KEYS_MAX {
            return Err(SecretError::TooManyKeys);
        }
        Ok(self)
    }

    /// Draws a new key and gives its text, for embedded mode to keep.
    pub fn generate_text() -> Result<String, SecretError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(SecretError::Random)?;
        Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Names the present key without telling it: the first 16 hex digits of its salted SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        self.present.id.clone()
    }

    /// The names of all keys, the present one's first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.all().map(|key| key.id.clone()).collect()
    }

    /// Encrypts a signing secret for `subscription` with the present key: nonce, then ciphertext
    /// and tag.
    pub fn seal(&self, subscription: Uuid, secret: &SecretString) -> Result<Vec<u8>, SecretError> {
        self.seal_for(subscription, Purpose::Signing, secret)
    }

    /// The same for `purpose`.
    pub fn seal_for(
        &self,
        subscription: Uuid,
        purpose: Purpose,
        secret: &SecretString,
    ) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SecretError::Random)?;
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: &purpose.bound_to(subscription),
        };
        let cipher = self.present.cipher();
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::WrongKey(subscription))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`SecretKey::seal`] made for the same subscription with any known key.
    pub fn open(&self, subscription: Uuid, sealed: &[u8]) -> Result<SecretString, SecretError> {
        self.open_for(subscription, Purpose::Signing, None, sealed)
    }

    /// Decrypts what [`SecretKey::seal_for`] made with the key `key_id`; with any that is known, if
    /// that was not written down.
    pub fn open_for(
        &self,
        subscription: Uuid,
        purpose: Purpose,
        key_id: Option<&str>,
        sealed: &[u8],
    ) -> Result<SecretString, SecretError> {
        let wrong = || SecretError::WrongKey(subscription);
        let is_meant = |key: &&OneKey| key_id.is_none_or(|id| key.id == id);
        let mut keys = self.all().filter(is_meant).peekable();
        if let (Some(key_id), None) = (key_id, keys.peek()) {
            return Err(SecretError::MissingKey {
                subscription,
                key_id: key_id.to_owned(),
            });
        }
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(wrong)?;
        let aad = purpose.bound_to(subscription);
        let secret = keys
            .find_map(|key| {
                let payload = Payload {
                    msg: ciphertext,
                    aad: &aad,
                };
                key.cipher().decrypt(&XNonce::from(*nonce), payload).ok()
            })
            .ok_or_else(wrong)?;
        String::from_utf8(secret)
            .map(SecretString::from)
            .map_err(|_| wrong())
    }

    fn all(&self) -> impl Iterator<Item = &OneKey> {
        std::iter::once(&self.present).chain(&self.former)
    }
}

impl OneKey {
    fn parse(text: &str) -> Result<Self, SecretError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(SecretError::KeyFormat);
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |index: usize| char::from(pair[index]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(SecretError::KeyFormat);
            };
            *byte = (high * 16 + low) as u8;
        }
        let digest = Sha256::new()
            .chain_update(b"rowcall secret key id")
            .chain_update(key)
            .finalize();
        let id = digest[..8].iter().map(|byte| format!("{byte:02x}"));
        Ok(Self {
            id: id.collect(),
            key: SecretBox::new(Box::new(key)),
        })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.key.expose_secret()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_and_for_its_subscription() {
        let key = SecretKey::parse(&SecretKey::generate_text().unwrap()).unwrap();
        let other = SecretKey::parse(&SecretKey::generate_text().unwrap()).unwrap();
        let (mine, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sealed = key.seal(mine, &SecretString::from("whsec_abc")).unwrap();

        assert_eq!(
            key.open(mine, &sealed).unwrap().expose_secret(),
            "whsec_abc"
        );
        assert!(key.open(theirs, &sealed).is_err());
        assert!(other.open(mine, &sealed).is_err());
        assert!(key.open(mine, &sealed[..10]).is_err());
        assert_ne!(key.id(), other.id());
        let plain = sealed.windows(6).any(|window| window == b"whsec_");
        assert!(!plain);
    }

    #[test]
    fn a_former_key_opens_and_the_present_one_seals() {
        let texts = [SecretKey::generate_text(), SecretKey::generate_text()].map(Result::unwrap);
        let [old_text, new_text] = &texts;
        let old = SecretKey::parse(old_text).unwrap();
        let both = SecretKey::parse(new_text).unwrap();
        let both = both.with_former([old_text.as_str(), " "]).unwrap();
        let new = SecretKey::parse(new_text).unwrap();
        let id = Uuid::from_u128(1);
        let secret = SecretString::from("s");
        let open = |key: &SecretKey, key_id: Option<&str>, sealed: &[u8]| {
            let opened = key.open_for(id, Purpose::Previous, key_id, sealed);
            opened.map(|secret| secret.expose_secret().to_owned())
        };

        let sealed = old.seal_for(id, Purpose::Previous, &secret).unwrap();
        assert_eq!(open(&both, Some(&old.id()), &sealed).unwrap(), "s");
        assert_eq!(open(&both, None, &sealed).unwrap(), "s");
        assert!(
            both.open_for(id, Purpose::Credentials, None, &sealed)
                .is_err()
        );
        let missing = open(&new, Some(&old.id()), &sealed)
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains(&old.id()) && missing.contains("KEYS_OLD"),
            "{missing}"
        );
        let sealed = both.seal_for(id, Purpose::Previous, &secret).unwrap();
        assert_eq!(open(&new, Some(&both.id()), &sealed).unwrap(), "s");
        assert_eq!(both.ids(), [new.id(), old.id()]);
    }

    #[test]
    fn a_key_is_64_hex_digits() {
        assert!(SecretKey::parse(&"0aF3".repeat(16)).is_ok());
        assert!(SecretKey::parse("0a").is_err());
        assert!(SecretKey::parse(&"zz".repeat(32)).is_err());
    }
}
