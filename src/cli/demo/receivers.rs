//! The receivers: what subscribers write, here in one process with Rowcall.
//!
//! Each verifies signature and timestamp as Standard Webhooks says, enters the event or the part of
//! a digest in the ledger, and acknowledges. Some are unreliable on purpose: they refuse some at
//! first, and of others they lose the answer, so that Rowcall has to send them again; or they
//! answer late. `/echo` shows what it gets and verifies nothing; it is for the subscriptions of
//! whoever watches the demo.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tower::ServiceExt as _;

use super::{
    digest::{self, DigestPart},
    findings::Fault,
    ledger::{Ledger, Request},
    receipt::{self, verify},
    shop::below,
    subscribers::{Form, SUBSCRIBERS, Way},
};
use crate::{clock::Clock, sink::SigningSecret};

/// How late an answer is that is late on purpose.
const LATE: Duration = Duration::from_millis(400);
/// Lines that wait to be shown; what comes beyond them is not shown.
const LINES_MAX: usize = 32;
/// Characters of an event that the echo shows.
const ECHO_CHARS_MAX: usize = 200;

/// The running receivers; they stop when this is dropped.
pub(super) struct Receivers {
    accepting: JoinHandle<()>,
    /// What `/echo` got, and digests that came, a line each.
    pub(super) lines: mpsc::Receiver<String>,
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A place to listen for the receivers.
pub(super) async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

struct Receiver {
    place: usize,
    secret: SigningSecret,
    ledger: Arc<Ledger>,
    lines: mpsc::Sender<String>,
}

impl Receivers {
    /// Starts them; `secrets` are those of their subscriptions, by name.
    pub(super) fn start(
        listener: TcpListener,
        mut secrets: BTreeMap<String, SigningSecret>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let mut router = Router::new().route("/echo", post(show).with_state(sender.clone()));
        for (place, subscriber) in SUBSCRIBERS.iter().enumerate() {
            // Whoever gets mails has none.
            let Some(secret) = secrets.remove(subscriber.name) else {
                continue;
            };
            let receiver = Arc::new(Receiver {
                place,
                secret,
                ledger: Arc::clone(ledger),
                lines: sender.clone(),
            });
            let handler = match subscriber.way {
                Way::Digest(_) => post(receive_digest),
                Way::Synchronous | Way::Delayed => post(receive),
            };
            let path = format!("/{}", subscriber.name);
            router = router.route(&path, handler.with_state(receiver));
        }
        let accepting = tokio::spawn(accept(listener, router));
        Self { accepting, lines }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(converse(stream, router.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Marks an answer that is not given: the connection is dropped instead.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
struct AnswerLost;

async fn converse(stream: TcpStream, router: Router) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let answered: Result<Response, Infallible> = router.oneshot(request).await;
            let Ok(response) = answered;
            // An error of the service makes hyper drop the connection without an answer.
            match response.extensions().get::<AnswerLost>() {
                Some(lost) => Err(*lost),
                None => Ok(response),
            }
        }
    });
    // Ends with an error whenever an answer was lost.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Receiver {
    /// Reads a request that is signed by who should sign it; or enters what is wrong with it.
    fn read<T>(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        read: fn(&str, &[u8]) -> Result<T, String>,
    ) -> Result<T, Box<Response>> {
        verify(&self.secret, headers, body, Clock::System.now())
            .and_then(|id| read(id, body))
            .map_err(|why| {
                self.ledger.fault(Fault::Unverified, self.place, &why);
                Box::new((StatusCode::BAD_REQUEST, why).into_response())
            })
    }

    /// Whether it is time to fail on purpose: one of so many first requests.
    fn fails(request: Request, one_in: u64) -> bool {
        request == Request::First && one_in > 0 && below(one_in) == 0
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let (place, ledger) = (receiver.place, &receiver.ledger);
    let receipt = match receiver.read(&headers, &body, receipt::read) {
        Ok(receipt) => receipt,
        Err(refusal) => return *refusal,
    };
    let subscriber = &SUBSCRIBERS[place];
    let request = ledger.request(place, &receipt, at);
    if Receiver::fails(request, subscriber.refused_one_in) {
        ledger.refuse(place, &receipt);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if Receiver::fails(request, subscriber.late_one_in) {
        ledger.note(|tally| tally.late += 1);
        tokio::time::sleep(LATE).await;
    }
    ledger.accept(place, &receipt);
    let mut response = StatusCode::NO_CONTENT.into_response();
    if Receiver::fails(request, subscriber.answer_lost_one_in) {
        ledger.lose_answer(place, &receipt);
        response.extensions_mut().insert(AnswerLost);
    }
    response
}

async fn receive_digest(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (place, ledger) = (receiver.place, &receiver.ledger);
    let part = match receiver.read(&headers, &body, digest::read) {
        Ok(part) => part,
        Err(refusal) => return *refusal,
    };
    let request = ledger.digest_request(place, &part, Clock::System.now());
    if Receiver::fails(request, SUBSCRIBERS[place].refused_one_in) {
        ledger.note(|tally| tally.refused += 1);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if ledger.digest_accept(place, &part) {
        // A full channel means that more comes than anybody can read.
        let _ = receiver.lines.try_send(digest_line(place, &part));
    }
    StatusCode::NO_CONTENT.into_response()
}

/// A digest that has come whole: of whom, its window, how many events and parts.
fn digest_line(place: usize, last: &DigestPart) -> String {
    let subscriber = &SUBSCRIBERS[place];
    let window = last.window.map_or_else(String::new, |(from, to)| {
        let time = "%H:%M:%S%.3f";
        format!("{} to {} UTC, ", from.format(time), to.format(time))
    });
    let form = match subscriber.way {
        Way::Digest(Form::NetEffect) => "net effect of ",
        _ => "",
    };
    format!(
        "digest {}: {window}{form}{} events, {} {}",
        subscriber.name,
        last.count,
        last.parts,
        if last.parts == 1 { "part" } else { "parts" }
    )
}

async fn show(State(lines): State<mpsc::Sender<String>>, body: Bytes) -> StatusCode {
    // A full channel means that more comes than anybody can read.
    let _ = lines.try_send(echo_line(&body));
    StatusCode::NO_CONTENT
}

/// An event's type, what was changed, and what its row is now; or the start of whatever else came.
fn echo_line(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Shown<'a> {
        r#type: String,
        subject: Option<String>,
        #[serde(borrow)]
        data: ShownData<'a>,
    }
    #[derive(Deserialize)]
    struct ShownData<'a> {
        #[serde(borrow)]
        changed: &'a RawValue,
        #[serde(borrow)]
        after: Option<&'a RawValue>,
    }
    let text = match serde_json::from_slice::<Shown<'_>>(body) {
        Ok(shown) => format!(
            "{} {}, changed {}, now {}",
            shown.r#type,
            shown.subject.unwrap_or_default(),
            shown.data.changed.get(),
            shown.data.after.map_or("gone", RawValue::get)
        ),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    // What comes from elsewhere must not steer the terminal.
    let text: String = text
        .chars()
        .take(ECHO_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("echo: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        r#"{"type":"a.b.updated","subject":"1","data":{"changed":["a"],"after":{"a": 2}}}"#;

    #[test]
    fn the_echo_is_one_short_line_whatever_comes() {
        assert!(
            echo_line(BODY.as_bytes()).starts_with("echo: a.b.updated 1, changed [\"a\"], now {")
        );
        let line = echo_line(format!("\u{1b}[2J{}", "x".repeat(1_000)).as_bytes());
        assert!(!line.contains('\u{1b}'), "{line}");
        assert!(line.chars().count() < ECHO_CHARS_MAX + 10);
    }
}
