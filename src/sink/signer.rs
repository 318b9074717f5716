//! What signs a subscription's webhooks: a secret that both sides share, or a key pair.

use serde::{Deserialize, Serialize};

use super::{ed25519::SigningKeyPair, signature::SecretError, signature::SigningSecret};

/// How webhooks are signed, by Standard Webhooks' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HMAC-SHA256 under a secret that the receiver has too.
    #[default]
    V1,
    /// ed25519: the receiver has the public half only.
    V1a,
}

impl Scheme {
    /// Whether it is the one that is meant where none is written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

/// What signs. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub enum Signer {
    /// `v1`
    Secret(SigningSecret),
    /// `v1a`
    Pair(SigningKeyPair),
}

impl From<SigningSecret> for Signer {
    fn from(secret: SigningSecret) -> Self {
        Self::Secret(secret)
    }
}

impl From<SigningKeyPair> for Signer {
    fn from(pair: SigningKeyPair) -> Self {
        Self::Pair(pair)
    }
}

impl Signer {
    /// Reads what [`Signer::expose`] wrote, or what a subscriber brings, for `scheme`.
    ///
    /// # Errors
    ///
    /// [`SecretError`], also if it is for the other scheme.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, SecretError> {
        match scheme {
            Scheme::V1 => SigningSecret::parse(text).map(Self::Secret),
            Scheme::V1a => match SigningKeyPair::parse(text) {
                Err(SecretError::Prefix) => Err(SecretError::PairPrefix),
                read => read.map(Self::Pair),
            },
        }
    }

    /// Reads either form.
    ///
    /// # Errors
    ///
    /// [`SecretError`], if it is neither.
    pub fn parse_any(text: &str) -> Result<Self, SecretError> {
        match SigningKeyPair::parse(text) {
            Err(SecretError::Prefix) => SigningSecret::parse(text).map(Self::Secret),
            read => read.map(Self::Pair),
        }
    }

    /// A new one.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandom`], if the operating system has no random source.
    pub fn generate(scheme: Scheme) -> Result<Self, SecretError> {
        match scheme {
            Scheme::V1 => SigningSecret::generate().map(Self::Secret),
            Scheme::V1a => SigningKeyPair::generate().map(Self::Pair),
        }
    }

    /// Which scheme it is for.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Secret(_) => Scheme::V1,
            Self::Pair(_) => Scheme::V1a,
        }
    }

    /// The text form: to be sealed. Only a shared secret is ever told to anybody, once.
    #[must_use]
    pub fn expose(&self) -> String {
        match self {
            Self::Secret(secret) => secret.expose(),
            Self::Pair(pair) => pair.expose(),
        }
    }

    /// What receivers verify with, if that is no secret: `whpk_` and base64.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match self {
            Self::Secret(_) => None,
            Self::Pair(pair) => Some(pair.public_key()),
        }
    }

    /// The signature of one request, with its scheme. `timestamp` is in whole seconds since 1970.
    /// `None` if the cryptographic library fails.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        match self {
            Self::Secret(secret) => Some(secret.sign(id, timestamp, body)),
            Self::Pair(pair) => pair.sign(id, timestamp, body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_for_the_other_scheme_is_refused_with_what_is_expected() {
        for scheme in [Scheme::V1, Scheme::V1a] {
            let text = Signer::generate(scheme).unwrap().expose();
            assert_eq!(Signer::parse(scheme, &text).unwrap().scheme(), scheme);
            assert_eq!(Signer::parse_any(&text).unwrap().scheme(), scheme);
        }
        let secret = Signer::generate(Scheme::V1).unwrap().expose();
        let error = Signer::parse(Scheme::V1a, &secret).unwrap_err();
        assert!(error.to_string().contains("whsk_"), "{error}");
        let pair = Signer::generate(Scheme::V1a).unwrap().expose();
        let error = Signer::parse(Scheme::V1, &pair).unwrap_err();
        assert!(error.to_string().contains("whsec_"), "{error}");
    }
}
