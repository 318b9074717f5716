//! Headers of a subscriber's own, by which its receiver, or what stands before it, knows Rowcall.
//!
//! Their values are secrets: they are taken out of a specification before it is stored, kept
//! encrypted, and shown by nothing. What stays in the specification is that there is one, and of
//! the metadata folder the name of the variable that it comes from.

mod written;

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    check::{SpecProblem, pointer_part},
    header_check::{check_header_name, check_header_value},
    model::SinkSpec,
    register::Origin,
};
use crate::config::secret_from_environment;

/// The most bytes of all headers of one subscription, names and values, as they are sent: with the
/// longest URL and Rowcall's own headers less than the 8 KiB that common servers take of a head.
pub const HEADERS_BYTES_MAX: usize = 5 * 1024;

/// What to say where `{ "kept": true }` is written and nothing is kept.
const NOT_KEPT: &str = "no value is kept for this receiver, which is scheme, host and port of the \
     URL; give the value itself, a text";

/// One value that is a secret.
#[derive(Clone)]
pub enum Credential {
    /// `{ env = "NAME" }`: of the program that applies the metadata.
    Environment {
        /// Its name.
        env: String,
        /// Its value, if the caller has looked it up already. Never stored.
        value: Option<SecretString>,
    },
    /// The value itself; API only. Never stored.
    Value(SecretString),
    /// `{ "kept": true }`: what is kept already.
    Kept,
}

/// User name and password (RFC 7617).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// Without a colon. No secret.
    pub user: String,
    /// A secret.
    pub password: Credential,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { env, .. } => write!(f, "secret from ${env}"),
            Self::Value(_) => f.write_str("secret"),
            Self::Kept => f.write_str("kept secret"),
        }
    }
}

/// The values of one subscription, by what they are for: `header:x-api-key`, `bearer`, `basic`.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, SecretString>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes of a request's head they make, with a user name of `user_bytes`.
    fn bytes_sent(&self, user_bytes: usize) -> usize {
        let authorization = "authorization: ".len();
        let line = |(key, value): (&String, &SecretString)| {
            let bytes = value.expose_secret().len();
            let line = match key.strip_prefix("header:") {
                Some(name) => name.len() + ": ".len() + bytes,
                None if key == "basic" => {
                    let pair = base64::encoded_len(user_bytes + 1 + bytes, true);
                    authorization + "Basic ".len() + pair.unwrap_or(usize::MAX / 2)
                }
                None => authorization + "Bearer ".len() + bytes,
            };
            line + "\r\n".len()
        };
        self.0.iter().map(line).sum()
    }

    /// The text that is encrypted: JSON.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let values = self.0.iter();
        let plain: BTreeMap<&str, &str> = values
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        // A map of texts is always JSON.
        serde_json::to_string(&plain).unwrap_or_default().into()
    }

    /// Reads what [`Credentials::to_text`] wrote; `None` if it is something else.
    #[must_use]
    pub fn of_text(text: &SecretString) -> Option<Self> {
        let values: BTreeMap<String, SecretString> =
            serde_json::from_str(text.expose_secret()).ok()?;
        Some(Self(values))
    }
}

/// One place in a sink where a credential is written.
pub struct Slot<'a> {
    /// Its JSON pointer in the specification.
    pub pointer: String,
    /// What it is kept under.
    pub key: String,
    /// The credential.
    pub credential: &'a mut Credential,
}

/// The places of a sink's credentials; none of a sink that is no webhook.
pub fn slots(sink: &mut SinkSpec) -> Vec<Slot<'_>> {
    let SinkSpec::Webhook {
        headers,
        bearer,
        basic,
        ..
    } = sink
    else {
        return Vec::new();
    };
    let of_headers = headers.iter_mut().map(|(name, credential)| Slot {
        pointer: format!("/sink/headers/{}", pointer_part(name)),
        key: format!("header:{}", name.to_ascii_lowercase()),
        credential,
    });
    let of_bearer = bearer.iter_mut().map(|credential| Slot {
        pointer: "/sink/bearer".to_owned(),
        key: "bearer".to_owned(),
        credential,
    });
    let of_basic = basic.iter_mut().map(|basic| Slot {
        pointer: "/sink/basic/password".to_owned(),
        key: "basic".to_owned(),
        credential: &mut basic.password,
    });
    of_headers.chain(of_bearer).chain(of_basic).collect()
}

/// Takes the values out of `sink`, so that they are not stored with the definition. `kept` are
/// those that are stored already.
///
/// # Errors
///
/// Each value that is not there, or that no header can carry.
pub fn credentials_take(
    sink: &mut SinkSpec,
    origin: Origin,
    kept: &Credentials,
) -> Result<Credentials, Vec<SpecProblem>> {
    let (mut taken, mut problems) = (Credentials::default(), Vec::new());
    let user_bytes = match &*sink {
        SinkSpec::Webhook {
            basic: Some(basic), ..
        } => basic.user.len(),
        _ => 0,
    };
    for slot in slots(sink) {
        match value_of(slot.credential, origin, kept.0.get(&slot.key)) {
            Ok(value) => match check_header_value(value.expose_secret()) {
                Ok(()) => {
                    taken.0.insert(slot.key, value);
                }
                Err(text) => problems.push(SpecProblem::new(slot.pointer, text)),
            },
            Err(text) => problems.push(SpecProblem::new(slot.pointer, text)),
        }
    }
    let bytes = taken.bytes_sent(user_bytes);
    if bytes > HEADERS_BYTES_MAX {
        let text = format!(
            "the headers have {bytes} bytes together, names and values as they are sent; the limit \
             is {HEADERS_BYTES_MAX}"
        );
        problems.push(SpecProblem::new("/sink/headers", text));
    }
    if problems.is_empty() {
        Ok(taken)
    } else {
        Err(problems)
    }
}

/// The value; what is left in its place says only that there is one.
fn value_of(
    credential: &mut Credential,
    origin: Origin,
    kept: Option<&SecretString>,
) -> Result<SecretString, String> {
    match credential {
        Credential::Value(value) => {
            let value = value.clone();
            *credential = Credential::Kept;
            Ok(value)
        }
        Credential::Kept => kept.cloned().ok_or_else(|| NOT_KEPT.to_owned()),
        Credential::Environment { .. } if origin == Origin::Api => Err(
            "only the metadata folder may name an environment variable; give the value itself"
                .to_owned(),
        ),
        Credential::Environment { env, value } => {
            let found = value.take().or_else(|| secret_from_environment(env));
            found.ok_or_else(|| format!("the environment variable {env} is not set"))
        }
    }
}

/// The headers that a sink sends besides its own.
///
/// # Errors
///
/// If a value is missing or no header can carry it, in words for the owner.
pub fn headers_of(sink: &SinkSpec, values: &Credentials) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let SinkSpec::Webhook {
        headers: named,
        bearer,
        basic,
        ..
    } = sink
    else {
        return Ok(headers);
    };
    let value = |key: &str| {
        let value = values.0.get(key).map(ExposeSecret::expose_secret);
        value.ok_or_else(|| format!("the value of `{key}` is not kept; give it anew with PATCH"))
    };
    let mut insert = |name: HeaderName, text: &str| {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| format!("the value of `{name}` can't be sent; give it anew"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok::<_, String>(())
    };
    for name in named.keys() {
        let header = check_header_name(name)?;
        insert(
            header,
            value(&format!("header:{}", name.to_ascii_lowercase()))?,
        )?;
    }
    if bearer.is_some() {
        insert(AUTHORIZATION, &format!("Bearer {}", value("bearer")?))?;
    }
    if let Some(basic) = basic {
        let pair = BASE64.encode(format!("{}:{}", basic.user, value("basic")?));
        insert(AUTHORIZATION, &format!("Basic {pair}"))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(json: &str) -> SinkSpec {
        serde_json::from_str(json).unwrap()
    }

    const ALL: &str = r#"{"kind": "webhook", "url": "https://a.example/",
        "headers": {"X-Api-Key": "k1"}, "basic": {"user": "me", "password": "p:w"}}"#;

    #[test]
    fn what_is_taken_out_is_sent_and_shown_nowhere() {
        let mut spec = sink(ALL);
        let none = Credentials::default();
        let taken = credentials_take(&mut spec, Origin::Api, &none).unwrap();
        let stored = serde_json::to_string(&spec).unwrap();
        assert!(
            !stored.contains("k1") && !stored.contains("p:w"),
            "{stored}"
        );
        assert!(!format!("{spec:?}{taken:?}").contains("k1"));
        let kept = Credentials::of_text(&taken.to_text()).unwrap();
        let headers = headers_of(&sink(&stored), &kept).unwrap();
        assert_eq!(headers["x-api-key"], "k1");
        assert_eq!(headers["authorization"], "Basic bWU6cDp3");
        assert!(headers["x-api-key"].is_sensitive());
    }

    #[test]
    fn a_value_that_was_never_given_is_missed() {
        let text = r#"{"kind": "webhook", "url": "https://a.example/", "bearer": {"kept": true}}"#;
        let none = Credentials::default();
        let problems = credentials_take(&mut sink(text), Origin::Api, &none).unwrap_err();
        assert_eq!(problems[0].pointer, "/sink/bearer");
        assert!(headers_of(&sink(text), &none).is_err());
    }

    #[test]
    fn all_headers_together_have_a_limit() {
        let none = Credentials::default();
        let taken = |sink: serde_json::Value| {
            let mut spec: SinkSpec = serde_json::from_value(sink).unwrap();
            let taken = credentials_take(&mut spec, Origin::Api, &none);
            taken.map(|taken| {
                let headers = headers_of(&spec, &taken).unwrap();
                let lines = headers
                    .iter()
                    .map(|(name, value)| name.as_str().len() + value.len());
                lines.map(|line| line + 4).sum::<usize>()
            })
        };
        let of = |parts: [usize; 3]| {
            let [a, b, password] = parts.map(|bytes| "x".repeat(bytes));
            serde_json::json!({"kind": "webhook", "url": "https://a.example/",
                "headers": {"X-A": a, "X-B": b}, "basic": {"user": "me", "password": password}})
        };
        // 2 lines of 7 bytes, one of 23 and the base64 of 3 and 1,497 bytes.
        let rest = HEADERS_BYTES_MAX - 2 * 7 - 23 - 2_000;
        assert_eq!(
            taken(of([2_000, rest - 2_000, 1_497])),
            Ok(HEADERS_BYTES_MAX)
        );
        let problems = taken(of([2_000, rest - 1_999, 1_497])).unwrap_err();
        assert_eq!(problems[0].pointer, "/sink/headers");
        assert!(
            problems[0].message.contains("have 5121 bytes"),
            "{problems:?}"
        );
        let bearer = serde_json::json!({"kind": "webhook", "url": "https://a.example/",
            "bearer": "x".repeat(2_048), "headers": {"X-A": "y"}});
        assert_eq!(taken(bearer), Ok(2_048 + 7 + 17 + 8));
    }

    #[test]
    fn a_wrong_form_is_refused_without_being_repeated() {
        for value in [
            "7",
            "[\"hunter2\"]",
            r#"{"env": 7}"#,
            r#"{"kept": false}"#,
            r#"{"x": "hunter2"}"#,
        ] {
            let text =
                format!(r#"{{"kind": "webhook", "url": "https://a.example/", "bearer": {value}}}"#);
            let error = serde_json::from_str::<SinkSpec>(&text)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("take a text") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
