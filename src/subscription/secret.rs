//! Secrets at rest: XChaCha20-Poly1305 under `ROWCALL_SECRET_KEY`, bound to their subscription.

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// XChaCha20's nonce, in bytes; long enough to be drawn at random without a counter.
const NONCE_BYTES: usize = 24;

/// The key that encrypts secrets at rest.
pub struct SecretKey(SecretBox<[u8; 32]>);

/// Why a secret key or a secret could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key's text is not 64 hex digits.
    #[error("the secret key is not 64 hexadecimal digits; make one with `openssl rand -hex 32`")]
    KeyFormat,
    /// The ciphertext was not made with this key for this subscription.
    #[error(
        "the secret of subscription {0} can't be decrypted: ROWCALL_SECRET_KEY is not the key it \
         was stored with"
    )]
    WrongKey(Uuid),
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    Random(#[source] getrandom::Error),
}

impl SecretKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
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
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// Draws a new key and gives its text, for embedded mode to keep.
    pub fn generate_text() -> Result<String, SecretError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(SecretError::Random)?;
        Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Names the key without telling it: the first 16 hex digits of its salted SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"rowcall secret key id")
            .chain_update(self.0.expose_secret())
            .finalize();
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Encrypts `secret` for `subscription`: nonce, then ciphertext and tag.
    pub fn seal(&self, subscription: Uuid, secret: &SecretString) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SecretError::Random)?;
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: subscription.as_bytes(),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::WrongKey(subscription))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`SecretKey::seal`] made for the same subscription.
    pub fn open(&self, subscription: Uuid, sealed: &[u8]) -> Result<SecretString, SecretError> {
        let wrong = || SecretError::WrongKey(subscription);
        let (nonce, ciphertext) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(wrong)?;
        let payload = Payload {
            msg: ciphertext,
            aad: subscription.as_bytes(),
        };
        let secret = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| wrong())?;
        String::from_utf8(secret)
            .map(SecretString::from)
            .map_err(|_| wrong())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0.expose_secret()))
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
    fn a_key_is_64_hex_digits() {
        assert!(SecretKey::parse(&"0aF3".repeat(16)).is_ok());
        assert!(SecretKey::parse("0a").is_err());
        assert!(SecretKey::parse(&"zz".repeat(32)).is_err());
    }
}
