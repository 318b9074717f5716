//! The receiver of the bench: checks each request, reads what the oracles need, and keeps it in
//! the order of arrival, which is one order for all subscriptions. A request is entered before it
//! is answered, so what was acknowledged is in it.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use chrono::{DateTime, Utc};
use rowcall::{clock::Clock, sink::SigningSecret};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

use crate::{
    support::app::SIGNING_SECRET,
    wire::{Part, Request, Told, Update},
};

/// One request that told of an event.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    /// The last part of the path: which subscription it was sent for.
    pub(crate) subscription: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) body_hash: [u8; 32],
    pub(crate) update: Update,
    pub(crate) sequence: i64,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (update, sequence, at) = (&self.update, self.sequence, self.at);
        let (object, key, id) = (update.object, update.key, update.id);
        let (before, after) = (update.before, update.after);
        write!(
            f,
            "{object:?} {key} from {before} to {after}, sequence {sequence}, event {id}, at {at}"
        )
    }
}

/// One request with a part of a digest.
#[derive(Clone, Debug)]
pub(crate) struct PartReceipt {
    pub(crate) subscription: String,
    pub(crate) id: String,
    pub(crate) body_hash: [u8; 32],
    pub(crate) part: Part,
    pub(crate) sequence: i64,
}

/// What was received, in the order of arrival.
#[derive(Clone, Default)]
struct Entries {
    receipts: Vec<Receipt>,
    parts: Vec<PartReceipt>,
    /// Requests that are not what they should be, in words.
    faults: Vec<String>,
}

struct Shared {
    secret: SigningSecret,
    entries: Mutex<Entries>,
    entered: Condvar,
    /// Whether parts of digests are answered; until then their senders wait.
    answers_parts: watch::Sender<bool>,
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let entries = self.entries.lock();
        entries.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_there`; false if it was not after `at_most`.
    fn wait_until(&self, at_most: Duration, is_there: impl Fn(&Entries) -> bool) -> bool {
        let (_entries, waited) = self
            .entered
            .wait_timeout_while(self.entries(), at_most, |entries| !is_there(entries))
            .unwrap();
        !waited.timed_out()
    }
}

/// The running receiver. It stops when it is dropped.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    _runtime: Runtime,
}

impl Ledger {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared {
            secret: SigningSecret::parse(SIGNING_SECRET).unwrap(),
            entries: Mutex::default(),
            entered: Condvar::new(),
            answers_parts: watch::Sender::new(true),
        });
        let router = Router::new()
            .route("/{subscription}", post(receive))
            .with_state(Arc::clone(&shared));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            shared,
            address,
            _runtime: runtime,
        }
    }

    /// Where the events of a subscription are to be sent.
    pub(crate) fn url(&self, subscription: &str) -> String {
        format!("http://{}/{subscription}", self.address)
    }

    /// How many requests with events were received.
    pub(crate) fn count(&self) -> usize {
        self.shared.entries().receipts.len()
    }

    /// Waits until there are `count`; false if they have not come after `at_most`.
    pub(crate) fn wait_for(&self, count: usize, at_most: Duration) -> bool {
        self.shared
            .wait_until(at_most, |entries| entries.receipts.len() >= count)
    }

    /// From now on parts of digests are entered, and not answered. Waits until that has happened to
    /// one; false if it has not after `at_most`.
    pub(crate) fn leave_part_unanswered(&self, at_most: Duration) -> bool {
        self.shared.answers_parts.send_replace(false);
        let before = self.shared.entries().parts.len();
        self.shared
            .wait_until(at_most, |entries| entries.parts.len() > before)
    }

    /// Answers parts of digests again.
    pub(crate) fn answer_parts(&self) {
        self.shared.answers_parts.send_replace(true);
    }

    /// All receipts, in the order of their arrival; fails the test if a request was not right.
    pub(crate) fn receipts(&self) -> (Vec<Receipt>, Vec<PartReceipt>) {
        let entries = self.shared.entries().clone();
        let faults = entries.faults.len();
        let first = entries.faults.first();
        assert_eq!(faults, 0, "requests that are not right, first: {first:?}");
        (entries.receipts, entries.parts)
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(subscription): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let read = Request::read(&shared.secret, &subscription, &headers, &body);
    let is_part = enter(&mut shared.entries(), subscription, read);
    shared.entered.notify_all();
    if is_part {
        let mut answers = shared.answers_parts.subscribe();
        // The other side is there as long as the receiver.
        let _ = answers.wait_for(|answers| *answers).await;
    }
    StatusCode::NO_CONTENT
}

/// Enters a request. Returns whether it is a part of a digest.
fn enter(entries: &mut Entries, subscription: String, read: Result<Request, String>) -> bool {
    let request = match read {
        Ok(request) => request,
        Err(fault) => {
            entries.faults.push(fault);
            return false;
        }
    };
    let Request {
        id,
        body_hash,
        sequence,
        told,
    } = request;
    let is_part = matches!(told, Told::Part(_));
    match told {
        Told::Update(update) => entries.receipts.push(Receipt {
            subscription,
            at: Clock::System.now(),
            body_hash,
            update,
            sequence,
        }),
        Told::Part(part) => entries.parts.push(PartReceipt {
            subscription,
            id,
            body_hash,
            part,
            sequence,
        }),
    }
    is_part
}
