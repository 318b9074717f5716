//! Signing what is sent, by Standard Webhooks (version 1, symmetric).
//!
//! The signed content is `<id>.<timestamp>.<body>`, the code HMAC-SHA256, the text
//! `v1,<base64>`. Source: the Standard Webhooks specification, "Signature scheme"; a test holds
//! the example that its reference libraries publish.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The shortest key accepted, in bytes (Standard Webhooks).
pub const KEY_BYTES_MIN: usize = 24;
/// The longest key accepted, in bytes (Standard Webhooks).
pub const KEY_BYTES_MAX: usize = 64;
/// The key length of a generated secret, in bytes: the output length of SHA-256, beyond which a
/// longer key adds nothing (RFC 2104, section 3).
const KEY_BYTES_GENERATED: usize = 32;

/// The block of SHA-256, in bytes.
const HASH_BLOCK_BYTES: usize = 64;

const PREFIX: &str = "whsec_";

/// Padding is written, and may be missing when read: the reference libraries take both.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is signed of a request, in parts: `<id>.<timestamp>.<body>`.
pub(super) fn signed_content<'a>(id: &'a str, timestamp: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
}

/// The key that a subscription's webhooks are signed with. Its memory is overwritten when it is
/// dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct SigningSecret {
    key: SecretSlice<u8>,
}

/// Why a text is no signing secret. No variant repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not start with `whsec_`.
    #[error("a signing secret starts with `whsec_`")]
    Prefix,
    /// What follows the prefix is no base64.
    #[error("a signing secret is base64 after `whsec_`")]
    Base64,
    /// The key is shorter than [`KEY_BYTES_MIN`] or longer than [`KEY_BYTES_MAX`].
    #[error("a signing secret has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")]
    Length,
    /// What should be an ed25519 key does not start with `whsk_`.
    #[error("an ed25519 signing key (`v1a`) starts with `whsk_`")]
    PairPrefix,
    /// Its length is not that of a seed, or of a seed and a public key.
    #[error("an ed25519 signing key has 32 bytes (the seed) or 64 (seed and public key)")]
    PairLength,
    /// Its public half does not belong to its private half.
    #[error("the halves of the ed25519 signing key do not belong together")]
    Pair,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandom,
}

impl SigningSecret {
    /// Reads the `whsec_` text form.
    ///
    /// # Errors
    ///
    /// [`SecretError`], if the prefix, the encoding or the length of the key is wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(SecretError::Prefix)?;
        if encoded.len() > base64::encoded_len(KEY_BYTES_MAX, true).unwrap_or(usize::MAX) {
            return Err(SecretError::Length);
        }
        // Decoded into a buffer of our own: a vector that grows or shrinks leaves copies behind.
        let mut buffer = Zeroizing::new([0_u8; KEY_BYTES_MAX + 2]);
        let length = BASE64
            .decode_slice(encoded, buffer.as_mut_slice())
            .map_err(|_| SecretError::Base64)?;
        let key = buffer.get(..length).ok_or(SecretError::Length)?;
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(SecretError::Length);
        }
        Ok(Self {
            key: key.to_vec().into(),
        })
    }

    /// A new secret of 32 random bytes from the operating system.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandom`], if the operating system has no random source.
    pub fn generate() -> Result<Self, SecretError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES_GENERATED]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| SecretError::NoRandom)?;
        Ok(Self {
            key: key.to_vec().into(),
        })
    }

    /// The `whsec_` text: for the one answer that tells a subscriber its secret, and for sealing
    /// it before it is stored. It belongs into no log.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut text = String::from(PREFIX);
        BASE64.encode_string(self.key.expose_secret(), &mut text);
        text
    }

    /// The signature of one request: `v1,` and the base64 of HMAC-SHA256 over
    /// `<id>.<timestamp>.<body>`. `timestamp` is in whole seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut code = self.keyed();
        for part in signed_content(id, &timestamp.to_string(), body) {
            code.update(part);
        }
        let mut text = String::from("v1,");
        BASE64.encode_string(code.finalize().into_bytes(), &mut text);
        text
    }

    /// HMAC fills a key up to the block of its hash with zeros (RFC 2104, section 2). Filled up
    /// here, because a whole block is taken as a key without a length to check. No key is longer.
    fn keyed(&self) -> Hmac<Sha256> {
        const { assert!(KEY_BYTES_MAX <= HASH_BLOCK_BYTES) };
        let mut block = Zeroizing::new([0_u8; HASH_BLOCK_BYTES]);
        for (to, from) in block.iter_mut().zip(self.key.expose_secret()) {
            *to = *from;
        }
        Hmac::new((&*block).into())
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret_of(bytes: usize) -> String {
        format!("{PREFIX}{}", BASE64.encode(vec![7_u8; bytes]))
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = SigningSecret::parse(PUBLISHED).unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
    }

    #[test]
    fn the_text_form_survives_a_round_trip() {
        assert_eq!(SigningSecret::parse(PUBLISHED).unwrap().expose(), PUBLISHED);
        let generated = SigningSecret::generate().unwrap().expose();
        assert_eq!(
            SigningSecret::parse(&generated).unwrap().expose(),
            generated
        );
        assert_ne!(SigningSecret::generate().unwrap().expose(), generated);
    }

    #[test]
    fn keys_of_24_to_64_bytes_are_accepted_padded_or_not() {
        for bytes in KEY_BYTES_MIN..=KEY_BYTES_MAX {
            let text = secret_of(bytes);
            assert!(SigningSecret::parse(&text).is_ok(), "{bytes}");
            assert!(
                SigningSecret::parse(text.trim_end_matches('=')).is_ok(),
                "{bytes} unpadded"
            );
        }
        for bytes in [0, 1, 23, 65, 66, 67, 1_000] {
            let error = SigningSecret::parse(&secret_of(bytes)).unwrap_err();
            assert_eq!(error, SecretError::Length, "{bytes}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("", SecretError::Prefix),
            ("whsec_", SecretError::Length),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
                SecretError::Base64,
            ),
            ("whsec_not base64 at all, not at all", SecretError::Base64),
        ] {
            assert_eq!(SigningSecret::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let secret = SigningSecret::parse(PUBLISHED).unwrap();
        assert_eq!(format!("{secret:?}"), "SigningSecret(..)");
    }
}
