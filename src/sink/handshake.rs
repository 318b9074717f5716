//! Asking a receiver whether it wants to be sent anything: CloudEvents 1.0, "HTTP 1.1 Web Hooks
//! for Event Delivery", section 4.
//!
//! One OPTIONS request names who asks; consent is the header `WebHook-Allowed-Origin` that names
//! the same, or `*`. A status alone is none, for many servers answer OPTIONS to anybody, and a
//! redirect is not followed. Asking by callback (section 4.1.3) is not offered.

use std::num::NonZeroU32;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::http::response;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::capture_connection;
use tokio::time::{Instant, timeout_at};

use super::failure;
use super::webhook::{RESPONSE_BODY_WAIT, ROWCALL, WebhookSink, discard, mark_as_used};
use super::{Outcome, Sink as _};

/// The longest origin, in bytes: the longest name that DNS has.
pub const ORIGIN_BYTES_MAX: usize = 253;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// What a receiver said when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It wants to be sent events.
    Granted {
        /// Requests a minute that it allows; `None` if it named no bound.
        rate_per_minute: Option<NonZeroU32>,
    },
    /// It did not say so.
    Withheld {
        /// What it answered or why it was not reached, in Rowcall's words.
        detail: String,
        /// Asking again changes nothing: the address guard forbids it.
        is_final: bool,
    },
}

/// Whether `text` may be the origin that receivers are told: a DNS name, in ASCII.
///
/// # Errors
///
/// What is wrong and what is expected.
pub fn check_origin(text: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if text.len() <= ORIGIN_BYTES_MAX && text.split('.').all(is_label) {
        Ok(())
    } else {
        Err("an origin is a DNS name such as rowcall.example.com, without scheme and port".into())
    }
}

impl WebhookSink {
    /// Asks once, within `timeout`, for the consent to be sent events by `origin`, at `rate`
    /// requests a minute if one is given. The subscriber's own headers are sent along: what stands
    /// before the receiver may ask for them.
    pub async fn handshake(
        &self,
        origin: &str,
        rate: Option<NonZeroU32>,
        timeout: Duration,
    ) -> Consent {
        let deadline = Instant::now() + timeout;
        let Ok(name) = HeaderValue::from_str(origin) else {
            return withheld("the origin cannot be written in a header".to_owned());
        };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.own_headers();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, ROWCALL);
        headers.insert(REQUEST_ORIGIN, name);
        if let Some(rate) = rate {
            headers.insert(REQUEST_RATE, rate.get().into());
        }
        let connection = capture_connection(&mut request);
        let outcome = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                mark_as_used(&head.extensions);
                discard(body, deadline.min(Instant::now() + RESPONSE_BODY_WAIT)).await;
                return self.consent(&head, origin, rate);
            }
            Ok(Err(error)) => failure::outcome(&error, self.host(), self.client.trusts_nobody()),
            Err(_elapsed) => {
                let connected = connection.connection_metadata().is_some();
                failure::timed_out(self.host(), timeout, connected)
            }
        };
        let is_final = matches!(outcome, Outcome::Final { .. });
        let detail = match outcome {
            Outcome::Retry { detail, .. }
            | Outcome::Final { detail, .. }
            | Outcome::Gone { detail, .. } => detail,
            Outcome::Delivered { .. } => String::new(),
        };
        Consent::Withheld { detail, is_final }
    }

    fn consent(&self, head: &response::Parts, origin: &str, rate: Option<NonZeroU32>) -> Consent {
        let (host, status) = (self.host(), head.status);
        if status.is_redirection() {
            return withheld(format!(
                "{host} answered OPTIONS with {}, a redirect; redirects are not followed: register \
                 the final URL",
                status.as_u16()
            ));
        }
        let mut allowed = head.headers.get_all(ALLOWED_ORIGIN).iter();
        let is_meant = |value: &HeaderValue| {
            let text = value.to_str().unwrap_or_default().trim();
            text == "*" || text.eq_ignore_ascii_case(origin)
        };
        let says = match (allowed.next(), allowed.next()) {
            (Some(value), None) if is_meant(value) && status.is_success() => {
                return self.granted(head, rate);
            }
            (Some(_), Some(_)) => "WebHook-Allowed-Origin twice",
            (Some(value), None) if is_meant(value) => "a status that is no success",
            (Some(_), None) => "another WebHook-Allowed-Origin",
            (None, _) => "no WebHook-Allowed-Origin",
        };
        let advice = match status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                "; it does not handle OPTIONS"
            }
            _ => "",
        };
        withheld(format!(
            "{host} answered OPTIONS with {} and {says}{advice}; to consent it answers 200 with \
             `WebHook-Allowed-Origin: {origin}` or `*`",
            status.as_u16()
        ))
    }

    fn granted(&self, head: &response::Parts, asked: Option<NonZeroU32>) -> Consent {
        let rate = head.headers.get(ALLOWED_RATE);
        let rate = rate.and_then(|value| value.to_str().ok()).map(str::trim);
        match (rate, asked) {
            (Some("*"), _) | (None, None) => Consent::Granted {
                rate_per_minute: None,
            },
            (None, Some(_)) => withheld(format!(
                "{} consents, but was asked for a rate and answered no WebHook-Allowed-Rate: a \
                 number of requests a minute, or `*`",
                self.host()
            )),
            (Some(text), _) => match rate_read(text) {
                Some(rate) => Consent::Granted {
                    rate_per_minute: Some(rate),
                },
                None => withheld(format!(
                    "{} consents, but its WebHook-Allowed-Rate is neither a number of requests a \
                     minute above 0 nor `*`",
                    self.host()
                )),
            },
        }
    }
}

/// A number above 0; one that is too large to be counted is the largest that is not.
fn rate_read(text: &str) -> Option<NonZeroU32> {
    // `parse` would take a sign.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(u64::MAX))?;
    NonZeroU32::new(u32::try_from(number).unwrap_or(u32::MAX))
}

fn withheld(detail: String) -> Consent {
    Consent::Withheld {
        detail,
        is_final: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_dns_name() {
        for text in ["rowcall", "rowcall.example.com", "a-1.b_2.example"] {
            assert_eq!(check_origin(text), Ok(()), "{text}");
        }
        let long = "a".repeat(ORIGIN_BYTES_MAX + 1);
        for text in [
            "",
            ".",
            "a..b",
            "https://a.example",
            "a:80",
            "a b",
            "*",
            &long,
        ] {
            assert!(check_origin(text).is_err(), "{text}");
        }
    }
}
