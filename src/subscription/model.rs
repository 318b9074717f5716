//! A subscription as it is written (TOML or JSON, the same fields) and as it is registered.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use super::credential::{Basic, Credential};
pub use super::{
    labels::Labels,
    on_dead::OnDead,
    retry::{RetrySpec, SCHEDULE_DEFAULT},
    start::Start,
    verify::Verify,
};
pub use crate::digest::late::Late;
use crate::{constraint::rate::Rate, sink::Scheme};

/// What a subscriber asks for. The name is beside it: in TOML it is the table's key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// Event types or patterns of them; together with `object_types` at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Object types or patterns of them: all their events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_types: Vec<String>,
    /// Only these objects of the one object type: column name to value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_keys: Vec<BTreeMap<String, Box<RawValue>>>,
    /// The subscriber's own selection: an expression over the event. Every event, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// When the subscriber is told.
    pub mode: Mode,
    /// When a digest leaves; needed by, and only allowed with, the mode `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Box<DigestSchedule>>,
    /// How a digest is condensed; only allowed with the mode `batch`, where it is `keys` if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condense: Option<Condense>,
    /// An expression whose value divides a digest into groups; only allowed with the mode `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// From where it begins. Only registering looks at it.
    #[serde(default, skip_serializing_if = "Start::is_now")]
    pub start: Start,
    /// For people and for constraints.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Where it is told.
    pub sink: SinkSpec,
    /// How long it is tried.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How many requests the receiver wants at most, such as `50/s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Whether the order of an object's events is kept.
    #[serde(default)]
    pub ordering: Ordering,
    /// How often it is told how far its numbers go; never, if left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub heartbeat: Option<Duration>,
    /// What a dead delivery means for the later events of its object.
    #[serde(default)]
    pub on_dead: OnDead,
}

impl SubscriptionSpec {
    /// The rate, which was checked when it was registered.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate.as_deref().and_then(|rate| Rate::parse(rate).ok())
    }
}

impl Mode {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::SynchronousDelayed => "synchronous_delayed",
            Self::Batch => "batch",
        }
    }

    /// How deliveries carry it: the smaller, the sooner.
    #[must_use]
    pub fn urgency(self) -> i16 {
        match self {
            Self::Synchronous => 0,
            Self::SynchronousDelayed => 1,
            Self::Batch => 2,
        }
    }
}

/// When a subscriber is told of an event.
///
/// Ordered by urgency: of what can be sent, the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// From the moment of commit.
    Synchronous,
    /// When every synchronous subscriber of the event was tried.
    SynchronousDelayed,
    /// In a digest, when its window closes.
    Batch,
}

/// When the window of a digest closes: whichever of these comes first. At least one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSchedule {
    /// Five fields (minute, hour, day of month, month, day of week); a sixth, leading one means
    /// seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The IANA name of the zone in which `cron` is meant, such as `Europe/Berlin`; UTC, if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The most events of one digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// The longest time from a digest's first event to its close.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub max_wait: Option<Duration>,
    /// Whether a window in which nothing happened is told, too. Needs `cron`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub send_empty: bool,
    /// What becomes of windows that end while nobody is there to close them. Other than `merge`
    /// needs `cron`.
    #[serde(default, skip_serializing_if = "Late::is_merge")]
    pub late: Late,
}

/// What a digest tells of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condense {
    /// Per event type the distinct object keys, each with how often and when first and last.
    #[default]
    Keys,
    /// Per object what all its changes came to: the first before and the last after.
    NetEffect,
    /// All events in their order.
    None,
}

/// A duration such as `12h`, where there may be none.
pub(crate) mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => out.collect_str(&humantime::format_duration(*value)),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(input)? else {
            return Ok(None);
        };
        humantime::parse_duration(&text).map(Some).map_err(|error| {
            D::Error::custom(format!(
                "`{text}` is not a duration such as `30m` or `12h`: {error}"
            ))
        })
    }
}

/// Whether the events of one object wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// First receipts of an object's events come in the order its rows changed.
    #[default]
    Key,
    /// Events are sent as soon as they can be.
    None,
}

/// Where a subscriber is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SinkSpec {
    /// An HTTP POST, signed as Standard Webhooks says.
    Webhook {
        /// `http` or `https`, without user name and password.
        url: Url,
        /// Generated if left out. Never kept here: it is taken out before a specification is
        /// stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<SecretSpec>,
        /// How it is signed.
        #[serde(default, skip_serializing_if = "Scheme::is_default")]
        signature: Scheme,
        /// Whether the receiver has to consent first. Where it is left out, the operator's policy
        /// decides for subscriptions of the API.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verify: Option<Verify>,
        /// Headers of the subscriber's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, Credential>,
        /// A token: `Authorization: Bearer ...`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bearer: Option<Credential>,
        /// User name and password: `Authorization: Basic ...`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        basic: Option<Basic>,
    },
    /// A mail.
    Email(EmailSpec),
}

impl SinkSpec {
    /// As it is written in `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Email(_) => "email",
        }
    }

    /// The signing secret that is asked for; `None` too for a sink that signs nothing.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretSpec> {
        match self {
            Self::Webhook { secret, .. } => secret.as_ref(),
            Self::Email(_) => None,
        }
    }

    /// The place of the signing secret; `None` for a sink that signs nothing.
    pub fn secret_mut(&mut self) -> Option<&mut Option<SecretSpec>> {
        match self {
            Self::Webhook { secret, .. } => Some(secret),
            Self::Email(_) => None,
        }
    }
}

/// A sink of the kind `email`; docs/EMAIL.md says what its templates may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSpec {
    /// The recipients: `ada@example.com` or `Ada Lovelace <ada@example.com>`.
    pub to: Vec<String>,
    /// The sender that readers see, in the domain of the operator's; the operator's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who gets the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// A template of one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// A built-in template: `event` or `digest`, as the mode wants it; so it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A template of the subscriber's own for the text part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same for the HTML part; with `text` alone the mail is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// Where a secret comes from.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum SecretSpec {
    /// The value of an environment variable of the program that applies the metadata.
    Environment {
        /// Its name.
        env: String,
        /// Its value, if the caller has looked it up already. Never stored.
        #[serde(skip)]
        value: Option<SecretString>,
    },
    /// `whsec_` and base64; API only.
    Value(String),
}

impl std::fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment { env, .. } => write!(f, "secret from ${env}"),
            Self::Value(_) => f.write_str("secret"),
        }
    }
}

/// The state of a registered subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Events are sent.
    Active,
    /// Events are kept until it is resumed; set by its owner.
    Paused,
    /// As paused; set by Rowcall, because the receiver answered 410 Gone or failed for too long.
    Disabled,
    /// Cancelled; kept while its deliveries are.
    Deleted,
}

impl State {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Disabled, Self::Deleted]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A registered subscription, as publishing and delivering use it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Given at registration.
    pub id: Uuid,
    /// Unique among those that are not deleted.
    pub name: String,
    /// Whether it is sent anything.
    pub state: State,
    /// What was asked for.
    pub spec: SubscriptionSpec,
    /// The texts of `spec.object_keys`, as events carry them; empty if every object is meant.
    pub object_key_texts: Vec<String>,
    /// The key that registered it; `None`: it is the metadata folder's.
    pub owner: Option<String>,
    /// Whether it is the operators', who may be told of every subscription: the folder's, or an
    /// administrator's.
    pub is_operators: bool,
}
