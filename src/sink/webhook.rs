//! Webhooks: one signed POST a message, by Standard Webhooks.
//!
//! A status of 2xx within the timeout is the acknowledgement; 410 ends the subscription; all else
//! may be tried again. Redirects are never followed: a redirect could point anywhere, and would
//! turn a POST into a GET.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::http::uri::Authority;
use hyper::http::{Extensions, response};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::capture_connection;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::client::WebhookClient;
use super::connection::ReuseMark;
use super::excerpt::Beginning;
use super::failure;
use super::retry_after::retry_after;
use super::signer::Signer;
use super::url_check::{UrlRefusal, target_of};
use super::{Attempt, Exchange, Message, Outcome, Sink};

/// How much of a response body is read, in bytes. At its end the connection can be used again; a
/// longer one costs its receiver the connection. Of what is no acknowledgement the beginning is
/// kept.
pub const RESPONSE_BODY_BYTES_MAX: usize = 16 * 1024;
/// How long the end of a response body is waited for, within the request timeout. By then the
/// outcome is known, so a receiver that drips its body holds a sender no longer than this.
pub const RESPONSE_BODY_WAIT: Duration = Duration::from_secs(1);

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
pub(super) const ROWCALL: HeaderValue =
    HeaderValue::from_static(concat!("rowcall/", env!("CARGO_PKG_VERSION")));

/// Sends messages to one URL, signed with the secret of one subscription.
pub struct WebhookSink {
    pub(super) client: WebhookClient,
    pub(super) target: Uri,
    signer: Signer,
    /// Signs too, until then.
    previous: Option<(Signer, DateTime<Utc>)>,
    /// The subscriber's own, sent with every request. Their values are secrets.
    headers: Option<Box<HeaderMap>>,
    /// Told with each delivery to a receiver that consented to it.
    origin: Option<HeaderValue>,
}

impl WebhookSink {
    /// A sink that posts to `url`, without its fragment.
    ///
    /// # Errors
    ///
    /// [`UrlRefusal`], if the URL can never be called; it converts into [`Outcome::Final`].
    pub fn new(
        client: WebhookClient,
        url: &Url,
        signer: impl Into<Signer>,
    ) -> Result<Self, UrlRefusal> {
        let target = target_of(url, client.guard())?;
        if target.authority().is_none() {
            return Err(UrlRefusal::NoHost);
        }
        Ok(Self {
            client,
            target,
            signer: signer.into(),
            previous: None,
            headers: None,
            origin: None,
        })
    }

    /// Signs with the `previous` key as well, before `until`, while a rotation goes on: receivers
    /// accept a request if any of its signatures is right.
    #[must_use]
    pub fn also_signed_by(mut self, previous: impl Into<Signer>, until: DateTime<Utc>) -> Self {
        self.previous = Some((previous.into(), until));
        self
    }

    /// Sends these headers with every request. They replace none of the sink's own.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = (!headers.is_empty()).then(|| Box::new(headers));
        self
    }

    /// Names `origin` in each delivery, as the receiver's consent demands (CloudEvents Web Hooks,
    /// section 4.1.2). One that no header can carry is left out.
    #[must_use]
    pub fn with_origin(mut self, origin: &str) -> Self {
        self.origin = origin.parse().ok();
        self
    }

    async fn attempt(
        &self,
        message: &Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> (Outcome, Option<String>) {
        let deadline = Instant::now() + timeout;
        let Some(headers) = self.headers(message, now) else {
            let detail = "the message's id or headers cannot be written in HTTP".to_owned();
            let status = None;
            return (Outcome::Final { status, detail }, None);
        };

        // The client itself repeats a request that was never written. One that was written to a
        // kept-alive connection just as the receiver closed it comes back as an error; it is
        // repeated here, once, because the fault is the connection's age and not the receiver's.
        // Should the receiver have seen it after all, it sees the same id twice.
        let mut repeated = false;
        loop {
            let mut request = self.request(&headers, &message.body);
            let connection = capture_connection(&mut request);
            match timeout_at(deadline, self.client.request(request)).await {
                Ok(Ok(response)) => return self.judge(response, now, deadline).await,
                Ok(Err(error)) if !repeated && failure::was_stale_connection(&error) => {
                    repeated = true;
                }
                Ok(Err(error)) => {
                    let trusts_nobody = self.client.trusts_nobody();
                    return (failure::outcome(&error, self.host(), trusts_nobody), None);
                }
                Err(_elapsed) => {
                    let connected = connection.connection_metadata().is_some();
                    return (failure::timed_out(self.host(), timeout, connected), None);
                }
            }
        }
    }

    /// The subscriber's own headers.
    pub(super) fn own_headers(&self) -> HeaderMap {
        self.headers.as_deref().cloned().unwrap_or_default()
    }

    /// All headers but `host` and `content-length`, which the client adds. Nothing, if one of
    /// them cannot be written.
    fn headers(&self, message: &Message, now: DateTime<Utc>) -> Option<HeaderMap> {
        let mut headers = self.own_headers();
        if let Some(origin) = &self.origin {
            headers.insert(REQUEST_ORIGIN, origin.clone());
        }
        for (name, value) in &message.extra_headers {
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                value.parse().ok()?,
            );
        }
        let timestamp = now.timestamp();
        headers.insert(WEBHOOK_ID, message.id.parse().ok()?);
        headers.insert(WEBHOOK_TIMESTAMP, timestamp.into());
        headers.insert(
            WEBHOOK_SIGNATURE,
            self.signatures(message, now)?.parse().ok()?,
        );
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(message.content_type));
        headers.insert(USER_AGENT, ROWCALL);
        Some(headers)
    }

    /// The present key's first.
    fn signatures(&self, message: &Message, now: DateTime<Utc>) -> Option<String> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        let mut text = self
            .signer
            .sign(&message.id, now.timestamp(), &message.body)?;
        if let Some((previous, _)) = previous {
            text.push(' ');
            text += &previous.sign(&message.id, now.timestamp(), &message.body)?;
        }
        Some(text)
    }

    fn request(&self, headers: &HeaderMap, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers.clone();
        request
    }

    async fn judge(
        &self,
        response: Response<Incoming>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> (Outcome, Option<String>) {
        let (head, body) = response.into_parts();
        mark_as_used(&head.extensions);
        let deadline = deadline.min(Instant::now() + RESPONSE_BODY_WAIT);
        let outcome = self.outcome(&head, now);
        if head.status.is_success() {
            discard(body, deadline).await;
            return (outcome, None);
        }
        let beginning = Beginning::read(body, RESPONSE_BODY_BYTES_MAX, deadline).await;
        let signers = [
            Some(&self.signer),
            self.previous.as_ref().map(|(signer, _)| signer),
        ];
        let keys: Vec<String> = signers.into_iter().flatten().map(Signer::expose).collect();
        let query = self.target.query();
        let answer = beginning.text(&head.headers, &keys, &self.own_headers(), query);
        (outcome, answer)
    }

    fn outcome(&self, head: &response::Parts, now: DateTime<Utc>) -> Outcome {
        let status = head.status.as_u16();
        if head.status.is_success() {
            return Outcome::Delivered { status };
        }
        if head.status == StatusCode::GONE {
            let detail = format!("{} answered 410: it wants no more of this", self.host());
            return Outcome::Gone { status, detail };
        }
        let detail = if head.status.is_redirection() {
            self.describe_redirect(head)
        } else {
            format!("{} answered {status}{}", self.host(), advice(head.status))
        };
        let retry_after = retry_after(&head.headers, now);
        Outcome::Retry {
            status: Some(status),
            detail,
            retry_after,
        }
    }

    /// Names the host that the redirect leads to and not its whole URL, which may hold a token.
    fn describe_redirect(&self, head: &response::Parts) -> String {
        let location = head
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let base = Url::parse(&self.target.to_string()).ok();
        let to = match (location, base) {
            (Some(location), Some(base)) => base.join(location).ok(),
            _ => None,
        };
        let host = to
            .as_ref()
            .and_then(Url::host_str)
            .filter(|host| host.len() <= HOST_SHOWN_MAX);
        let to = host.map(|host| format!(" to {host}")).unwrap_or_default();
        format!(
            "{} answered {}, a redirect{to}; redirects are not followed: register the final URL",
            self.host(),
            head.status.as_u16(),
        )
    }
}

/// The longest host name shown from a `Location`, in bytes: the longest that DNS has.
const HOST_SHOWN_MAX: usize = 253;

/// What somebody can do about an answer, where the status tells.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; does it check the signature with this subscription's secret?"
        }
        StatusCode::NOT_FOUND => "; check the path of the URL",
        StatusCode::METHOD_NOT_ALLOWED => "; webhooks are sent with POST",
        StatusCode::PAYLOAD_TOO_LARGE => "; it accepts no body of this size",
        StatusCode::TOO_MANY_REQUESTS => "; it asks for fewer requests",
        _ => "",
    }
}

pub(super) fn mark_as_used(extensions: &Extensions) {
    if let Some(mark) = extensions.get::<ReuseMark>() {
        mark.set();
    }
}

/// Reads the body to its end, or drops it, and with it the connection, at the limit of bytes or
/// time. Nothing is kept or decompressed.
pub(super) async fn discard(body: Incoming, deadline: Instant) {
    let mut body = Limited::new(body, RESPONSE_BODY_BYTES_MAX);
    let to_the_end = async { while let Some(Ok(_)) = body.frame().await {} };
    // How it ended is of no interest: the head was the answer.
    let _ = timeout_at(deadline, to_the_end).await;
}

impl Sink for WebhookSink {
    fn as_webhook(&self) -> Option<&WebhookSink> {
        Some(self)
    }

    /// Host and port as the URL has them, without the port if it is the scheme's own.
    fn host(&self) -> &str {
        self.target.authority().map_or("", Authority::as_str)
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> Attempt<'a> {
        Box::pin(async move { self.attempt(message, now, timeout).await.0 })
    }

    fn exchange<'a>(
        &'a self,
        message: &'a Message,
        now: DateTime<Utc>,
        timeout: Duration,
    ) -> Exchange<'a> {
        Box::pin(self.attempt(message, now, timeout))
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the target: its path and query may hold a token.
        f.debug_struct("WebhookSink")
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}
