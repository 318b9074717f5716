//! The receivers: what subscribers write, here in one process with Rowcall.
//!
//! Each verifies signature and timestamp as Standard Webhooks says, enters the event in the ledger,
//! and acknowledges. One is unreliable on purpose: it refuses some events at first, and of others
//! it loses the answer, so that Rowcall has to send them again. `/echo` shows what it gets and
//! verifies nothing; it is for the subscriptions of whoever watches the demo.

use std::{
    collections::BTreeMap, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Instant,
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
    findings::Fault,
    ledger::{Ledger, RECEIVERS, Request},
    receipt::verify,
    shop::below,
};
use crate::{clock::Clock, sink::SigningSecret};

/// The receiver that is unreliable on purpose, a place in [`RECEIVERS`].
const UNRELIABLE: usize = 0;
/// Of so many first requests it refuses one.
const REFUSED_ONE_IN: u64 = 100;
/// Of so many first requests it loses one answer.
const ANSWER_LOST_ONE_IN: u64 = 300;
/// Lines of the echo that wait to be shown; what comes beyond them is not shown.
const ECHO_LINES_MAX: usize = 8;
/// Characters of an event that the echo shows.
const ECHO_CHARS_MAX: usize = 200;

/// The running receivers; they stop when this is dropped.
pub(super) struct Receivers {
    accepting: JoinHandle<()>,
    /// What `/echo` got, a line each.
    pub(super) echo: mpsc::Receiver<String>,
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
}

impl Receivers {
    /// Starts them; `secrets` are those of their subscriptions, by name.
    pub(super) fn start(
        listener: TcpListener,
        mut secrets: BTreeMap<String, SigningSecret>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let (lines, echo) = mpsc::channel(ECHO_LINES_MAX);
        let mut router = Router::new().route("/echo", post(show).with_state(lines));
        for (place, (name, _)) in RECEIVERS.iter().enumerate() {
            let Some(secret) = secrets.remove(*name) else {
                continue;
            };
            let ledger = Arc::clone(ledger);
            let receiver = Arc::new(Receiver {
                place,
                secret,
                ledger,
            });
            router = router.route(&format!("/{name}"), post(receive).with_state(receiver));
        }
        let accepting = tokio::spawn(accept(listener, router));
        Self { accepting, echo }
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

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let (place, ledger) = (receiver.place, &receiver.ledger);
    let receipt = match verify(&receiver.secret, &headers, &body, Clock::System.now()) {
        Ok(receipt) => receipt,
        Err(why) => {
            ledger.fault(Fault::Unverified, place, &why);
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
    };
    let is_first = ledger.request(place, &receipt, at) == Request::First;
    let may_fail = is_first && place == UNRELIABLE;
    if may_fail && below(REFUSED_ONE_IN) == 0 {
        ledger.note(|tally| tally.refused += 1);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    ledger.accept(place, &receipt);
    let mut response = StatusCode::NO_CONTENT.into_response();
    if may_fail && below(ANSWER_LOST_ONE_IN) == 0 {
        ledger.lose_answer(place, &receipt);
        response.extensions_mut().insert(AnswerLost);
    }
    response
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
