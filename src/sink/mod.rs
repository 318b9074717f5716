//! Where notifications go.
//!
//! A [`Sink`] is one way to one receiver: it is given a [`Message`], makes one attempt, and says in
//! an [`Outcome`] what came of it. It keeps no state about deliveries, never waits to try again and
//! never decides what happens next: `deliver` maps outcomes to retries in one place.
//!
//! The players: [`check_url`] and [`AddressGuard`] decide where a sink may go; `connect` dials only
//! what the guard admitted; [`WebhookClient`] keeps connections; [`Signer`] signs;
//! [`WebhookSink`] makes a request of a message and an outcome of an answer. [`EmailSink`] makes a
//! mail of it, by the one [`Mailer`].
//!
//! Guaranteed: an attempt ends within its timeout; no address is dialled that the guard did not
//! admit, but the mail server's, which the operator named; what a receiver sends is read up to a
//! named limit and never repeated in a log or an outcome (its beginning is kept beside it); secrets
//! appear nowhere.

mod client;
mod connect;
mod connection;
mod ed25519;
mod email;
mod excerpt;
mod failure;
mod guard;
mod handshake;
mod net;
mod retry_after;
mod signature;
mod signer;
mod url_check;
mod webhook;

use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
pub use hyper::body::Bytes;

pub use client::{ClientError, IDLE_PER_HOST_MAX, IDLE_TIMEOUT, RESPONSE_HEAD_BYTES_MAX};
pub use client::{RESPONSE_HEADERS_MAX, WebhookClient};
pub use connect::{ADDRESSES_TRIED_MAX, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT};
pub use ed25519::SigningKeyPair;
pub use email::{
    CONNECTIONS_DEFAULT, CONNECTIONS_MAX, CONTENT_BYTES_MAX, DIGEST_FIELDS_MAX,
    DIGEST_ROW_FIELDS_MAX, DIGEST_VALUE_CHARS_MAX, DISPLAY_NAME_CHARS_MAX, DOMAIN_BYTES_MAX,
    ENTRIES_MAX, EmailSink, FIELDS_MAX, FUEL, HTML_BYTES_MAX, LITERAL_ENTRIES_MAX,
    LOCAL_PART_BYTES_MAX, MAIL_IDLE_TIMEOUT, MailSettings, MailSettingsError, Mailer, MailerError,
    RECIPIENTS_MAX, REPLY_BYTES_MAX, ROWS_MAX, SUBJECT_CHARS_MAX, TEMPLATE_BYTES_MAX,
    TEXT_BYTES_MAX, VALUE_CHARS_MAX, check_email,
};
pub use excerpt::ANSWER_CHARS_MAX;
pub use guard::{AddressGuard, Refusal};
pub use handshake::{Consent, ORIGIN_BYTES_MAX, check_origin};
pub use net::{Net, NetError};
pub use retry_after::RETRY_AFTER_MAX;
pub use signature::{KEY_BYTES_MAX, KEY_BYTES_MIN, SecretError, SigningSecret};
pub use signer::{Scheme, Signer};
pub use url_check::{URL_BYTES_MAX, UrlRefusal, check_url};
pub use webhook::{RESPONSE_BODY_BYTES_MAX, RESPONSE_BODY_WAIT, WebhookSink};

/// One thing to send.
#[derive(Clone, Debug)]
pub struct Message {
    /// Becomes `webhook-id`: the same on every attempt, so that a receiver can tell a repeat.
    /// Visible ASCII.
    pub id: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Sent byte for byte; clones share the bytes.
    pub body: Bytes,
    /// Further headers, for example `rowcall-replay: 1`. They cannot replace those of the sink.
    pub extra_headers: Vec<(&'static str, String)>,
}

/// What one attempt came to.
///
/// `detail` is in Rowcall's own words. It holds nothing of a body or a secret, and where somebody
/// can do something about the failure it says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver acknowledged the message.
    Delivered {
        /// The status it answered with.
        status: u16,
    },
    /// It failed now and may succeed later.
    Retry {
        /// The status, if the receiver answered.
        status: Option<u16>,
        /// What happened.
        detail: String,
        /// How long the receiver asked to be left alone, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// It can never succeed as things are configured: the address guard or the URL forbids it.
    Final {
        /// The status, if the receiver answered.
        status: Option<u16>,
        /// What happened.
        detail: String,
    },
    /// The receiver wants no more of this subscription.
    Gone {
        /// The status it answered with: 410.
        status: u16,
        /// What happened.
        detail: String,
    },
}

impl From<UrlRefusal> for Outcome {
    fn from(refusal: UrlRefusal) -> Self {
        Self::Final {
            status: None,
            detail: refusal.to_string(),
        }
    }
}

/// The outcome of an attempt that is under way.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// The outcome of an attempt, and how the receiver's answer begins.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = (Outcome, Option<String>)> + Send + 'a>>;

/// One way to one receiver.
pub trait Sink: Send + Sync {
    /// What this sink shares with others that reach the same receiver; limits and circuit
    /// breakers are kept by it.
    fn host(&self) -> &str;

    /// The webhook that it is, if it is one: only that can be asked for consent.
    fn as_webhook(&self) -> Option<&WebhookSink> {
        None
    }

    /// Makes one attempt, which ends within `timeout`. `now` is the time told to the receiver.
    fn send<'a>(
        &'a self,
        message: &'a Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> Attempt<'a>;

    /// As [`Sink::send`]; with it comes how the receiver's answer begins, where it did not
    /// acknowledge and the protocol has such a thing: at most [`ANSWER_CHARS_MAX`] characters,
    /// without secrets of ours, and not for everybody's eyes.
    fn exchange<'a>(
        &'a self,
        message: &'a Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> Exchange<'a> {
        Box::pin(async move { (self.send(message, now, timeout).await, None) })
    }
}
