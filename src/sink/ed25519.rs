//! Signing what is sent, by Standard Webhooks, asymmetric (`v1a`): receivers hold no secret.
//!
//! The signed content is that of `v1`, the signature ed25519 (RFC 8032), the text `v1a,<base64>`.
//! A private key is written as `whsk_` and the base64 of its seed and its public key, 64 bytes; a
//! public key as `whpk_` and the base64 of its 32 bytes.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use secrecy::{ExposeSecret, SecretSlice, zeroize::Zeroizing};

use super::signature::{BASE64, SecretError, signed_content};

const PREFIX_PRIVATE: &str = "whsk_";
const PREFIX_PUBLIC: &str = "whpk_";
/// The bytes of a seed, and of a public key (RFC 8032, section 5.1.5).
const HALF_BYTES: usize = 32;

/// A key pair that a subscription's webhooks are signed with; clones share it. `Debug` does not
/// show it.
#[derive(Clone)]
pub struct SigningKeyPair {
    pair: Arc<Ed25519KeyPair>,
    /// Kept beside the pair, which gives it back only in forms that are not overwritten.
    seed: SecretSlice<u8>,
}

impl SigningKeyPair {
    /// Reads the `whsk_` text form. The public half may be left out; one that does not belong to
    /// the private half is refused.
    ///
    /// # Errors
    ///
    /// [`SecretError`], if the prefix, the encoding, the length or the pair is wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text
            .trim()
            .strip_prefix(PREFIX_PRIVATE)
            .ok_or(SecretError::Prefix)?;
        if encoded.len() > base64::encoded_len(2 * HALF_BYTES, true).unwrap_or(usize::MAX) {
            return Err(SecretError::PairLength);
        }
        let mut buffer = Zeroizing::new([0_u8; 2 * HALF_BYTES + 2]);
        let length = BASE64
            .decode_slice(encoded, buffer.as_mut_slice())
            .map_err(|_| SecretError::Base64)?;
        let (seed, public) = buffer
            .get(..length)
            .and_then(|bytes| bytes.split_at_checked(HALF_BYTES))
            .ok_or(SecretError::PairLength)?;
        match public.len() {
            0 => Self::of_seed(seed),
            HALF_BYTES => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
                Ok(Self {
                    pair: Arc::new(pair.map_err(|_| SecretError::Pair)?),
                    seed: seed.to_vec().into(),
                })
            }
            _ => Err(SecretError::PairLength),
        }
    }

    /// A new pair whose seed comes from the operating system.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandom`], if the operating system has no random source.
    pub fn generate() -> Result<Self, SecretError> {
        let mut seed = Zeroizing::new([0_u8; HALF_BYTES]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| SecretError::NoRandom)?;
        Self::of_seed(seed.as_slice())
    }

    fn of_seed(seed: &[u8]) -> Result<Self, SecretError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SecretError::Pair)?;
        Ok(Self {
            pair: Arc::new(pair),
            seed: seed.to_vec().into(),
        })
    }

    /// The `whsk_` text, for sealing it before it is stored. It belongs into no log and no answer.
    #[must_use]
    pub fn expose(&self) -> String {
        let both = [self.seed.expose_secret(), self.pair.public_key().as_ref()].concat();
        let both = Zeroizing::new(both);
        let mut text = String::from(PREFIX_PRIVATE);
        BASE64.encode_string(both.as_slice(), &mut text);
        text
    }

    /// The `whpk_` text that receivers verify with.
    #[must_use]
    pub fn public_key(&self) -> String {
        let mut text = String::from(PREFIX_PUBLIC);
        BASE64.encode_string(self.pair.public_key().as_ref(), &mut text);
        text
    }

    /// The signature of one request: `v1a,` and base64. `timestamp` is in whole seconds since
    /// 1970. `None` if the cryptographic library fails, for which it names no reason.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let content: Vec<u8> = signed_content(id, &timestamp.to_string(), body).concat();
        let signature = self.pair.try_sign(&content).ok()?;
        let mut text = String::from("v1a,");
        BASE64.encode_string(signature.as_ref(), &mut text);
        Some(text)
    }
}

impl fmt::Debug for SigningKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeyPair(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect()
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    const RFC_8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
             c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e\
             458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290\
             ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn the_published_keys_sign_as_published() {
        for [seed, public, message, signature] in RFC_8032 {
            let text = format!("whsk_{}", BASE64.encode(bytes(&format!("{seed}{public}"))));
            let pair = SigningKeyPair::parse(&text).unwrap();
            assert_eq!(
                pair.public_key(),
                format!("whpk_{}", BASE64.encode(bytes(public)))
            );
            let signed = pair.pair.try_sign(&bytes(message)).unwrap();
            assert_eq!(signed.as_ref(), bytes(signature));
        }
    }

    #[test]
    fn the_text_form_survives_a_round_trip_and_may_lack_the_public_half() {
        let pair = SigningKeyPair::generate().unwrap();
        let text = pair.expose();
        let again = SigningKeyPair::parse(&text).unwrap();
        assert_eq!(
            (again.expose(), again.public_key()),
            (text.clone(), pair.public_key())
        );
        let seed = BASE64.decode(&text[PREFIX_PRIVATE.len()..]).unwrap();
        let short = format!("whsk_{}", BASE64.encode(&seed[..HALF_BYTES]));
        assert_eq!(SigningKeyPair::parse(&short).unwrap().expose(), text);
        assert_ne!(SigningKeyPair::generate().unwrap().expose(), text);
        assert_eq!(format!("{pair:?}"), "SigningKeyPair(..)");
    }

    #[test]
    fn what_is_no_key_pair_is_refused() {
        let of = |bytes: &[u8]| format!("whsk_{}", BASE64.encode(bytes));
        let (one, two) = (SigningKeyPair::generate(), SigningKeyPair::generate());
        let mut mixed = one.unwrap().seed.expose_secret().to_vec();
        mixed.extend_from_slice(two.unwrap().pair.public_key().as_ref());
        for (text, error) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                SecretError::Prefix,
            ),
            ("whsk_", SecretError::PairLength),
            ("whsk_not base64 at all", SecretError::Base64),
            (&of(&[7; 31]), SecretError::PairLength),
            (&of(&[7; 33]), SecretError::PairLength),
            (&of(&[7; 65]), SecretError::PairLength),
            (&of(&[7; 900]), SecretError::PairLength),
            (&of(&mixed), SecretError::Pair),
        ] {
            assert_eq!(SigningKeyPair::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
