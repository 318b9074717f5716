//! A scripted receiver of webhooks: answers as told, well or badly, and remembers what it got.
//!
//! It speaks just enough HTTP/1.1 over raw TCP (or TLS) to misbehave in ways that a server library
//! would prevent. Its ledger is append-only: a request is entered when it was read completely and
//! before any byte of the answer is written, so what a client saw acknowledged is in the ledger.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::expect_used,
    reason = "for tests, which may panic; and as each test file uses another part of this module, \
              no lint is to be expected in all of them"
)]

mod http;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowcall::sink::SigningSecret;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status with an empty body; the connection stays open.
    Status(u16),
    /// This status, headers and body; the connection stays open.
    StatusWith {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// This status, then the connection is closed although nothing announced it.
    StatusThenClose(u16),
    /// Nothing, for ever.
    HangAfterAccept,
    /// The head of a 200, one byte at a time, never finished.
    Drip,
    /// The head of a 200, then its body one byte at a time, never finished.
    DripBody,
    /// The head of a 200, then chunks as fast as they are taken, for ever.
    EndlessBody,
    /// A 200 with a body of so many bytes, announced and sent.
    HugeBody(usize),
    /// A 200 with a header of so many bytes.
    HugeHead(usize),
    /// These bytes instead of an answer, then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is dropped before any byte of an answer.
    Reset,
    /// A 302 to this place.
    Redirect(String),
    /// This status, when the gate is open.
    Held(Gate, u16),
}

/// Holds answers back until it is opened; clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // Never closed: `self` is a sender.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Answer {
    /// This status with one header and an empty body.
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::StatusWith {
            status,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: Vec::new(),
        }
    }
}

/// One request, as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its place in the ledger, from 0.
    pub order: usize,
    /// Which connection it came over, from 0.
    pub connection: usize,
    pub method: String,
    pub path: String,
    /// `webhook-id`; empty if missing, as are the next two.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// Whether one of its signatures is right; nothing if the receiver knows no secret.
    pub verified: Option<bool>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// The value of the header `name`, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    fn is_signed_by(&self, secret: &SigningSecret) -> bool {
        let Ok(timestamp) = self.timestamp.parse() else {
            return false;
        };
        let right = secret.sign(&self.id, timestamp, &self.body);
        self.signature
            .split(' ')
            .any(|signature| signature == right)
    }
}

type Decide = Box<dyn FnMut(&Received) -> Answer + Send>;

#[derive(Default)]
struct State {
    script: Mutex<VecDeque<Answer>>,
    decide: Mutex<Option<Decide>>,
    secret: Mutex<Option<SigningSecret>>,
    ledger: Mutex<Vec<Received>>,
    received: watch::Sender<usize>,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    under_way_most: AtomicUsize,
}

/// A running receiver; it stops, with all its connections, when it is dropped.
pub struct Receiver {
    url: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl Receiver {
    /// Starts on a free port of 127.0.0.1. Answers 200 until told otherwise.
    pub async fn start() -> Self {
        Self::listen("http", None).await
    }

    /// The same over TLS.
    pub async fn start_tls(config: rustls::ServerConfig) -> Self {
        Self::listen("https", Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(scheme: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind a free port");
        let address = listener.local_addr().expect("the bound address");
        let state = Arc::new(State::default());
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&state))).abort_handle();
        Self {
            url: format!("{scheme}://{address}/hook"),
            state,
            accepting,
        }
    }

    /// Where to send, with the path `/hook`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        let after_host = self.url.rsplit(':').next().expect("a port");
        after_host
            .trim_end_matches("/hook")
            .parse()
            .expect("a port number")
    }

    /// Appends to the script: one answer a request, then the default again.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state.script).extend(answers);
    }

    /// Decides each answer by the request, when the script is used up.
    pub fn answer_with(&self, decide: impl FnMut(&Received) -> Answer + Send + 'static) {
        *lock(&self.state.decide) = Some(Box::new(decide));
    }

    /// Verifies the signature of every request from now on.
    pub fn verify_with(&self, secret: SigningSecret) {
        *lock(&self.state.secret) = Some(secret);
    }

    /// The ledger so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state.ledger).clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many requests waited for their answers at the same time, at most.
    pub fn under_way_most(&self) -> usize {
        self.state.under_way_most.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests are in the ledger and returns the ledger; fails the test if
    /// they have not come after `at_most`.
    pub async fn wait_for(&self, count: usize, at_most: Duration) -> Vec<Received> {
        let mut received = self.state.received.subscribe();
        let waited = tokio::time::timeout(at_most, received.wait_for(|have| *have >= count)).await;
        let ledger = self.received();
        if waited.is_err() {
            let ids: Vec<_> = ledger.iter().map(|request| request.id.as_str()).collect();
            panic!(
                "waited {at_most:?} for {count} requests at {}, got {}: {ids:?}",
                self.url,
                ids.len()
            );
        }
        ledger
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    /// Enters a request into the ledger and decides its answer.
    fn enter(&self, mut request: Received) -> Answer {
        request.verified = lock(&self.secret)
            .as_ref()
            .map(|secret| request.is_signed_by(secret));
        let count = {
            let mut ledger = lock(&self.ledger);
            request.order = ledger.len();
            ledger.push(request.clone());
            ledger.len()
        };
        let scripted = lock(&self.script).pop_front();
        let answer = scripted.unwrap_or_else(|| match lock(&self.decide).as_mut() {
            Some(decide) => decide(&request),
            None => Answer::Status(200),
        });
        self.received.send_replace(count);
        answer
    }
}

/// A request from its receipt to the end of its answer.
struct UnderWay<'a>(&'a State);

impl<'a> UnderWay<'a> {
    fn begin(state: &'a State) -> Self {
        let count = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        state.under_way_most.fetch_max(count, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts until it is aborted; the set of connections is dropped, and so aborted, with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        let state = Arc::clone(&state);
        let tls = tls.clone();
        connections.spawn(async move {
            // How a connection ended is for the client to tell: that is what is tested.
            let _ = match tls {
                None => serve(stream, number, &state).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, number, &state).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn serve<S>(stream: S, connection: usize, state: &State) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    while let Some(request) = http::read_request(&mut stream, connection).await? {
        let answer = state.enter(request);
        let _under_way = UnderWay::begin(state);
        let stays_open = http::write_answer(&mut stream, answer).await?;
        if !stays_open {
            return Ok(());
        }
    }
    Ok(())
}
