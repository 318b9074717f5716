//! The receiver of the bench: checks each signature, reads what the oracle needs, and keeps it in
//! the order of arrival. An event is entered before it is answered, so what was acknowledged is in
//! it.

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
use rowcall::sink::SigningSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, runtime::Runtime};
use uuid::Uuid;

use crate::support::app::SIGNING_SECRET;

/// The object types of the bank, with the table, key and balance of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Object {
    Account,
    Teller,
    Branch,
}

impl Object {
    pub(crate) const ALL: [Self; 3] = [Self::Account, Self::Teller, Self::Branch];

    /// Its table, its key column and its balance column.
    pub(crate) fn columns(self) -> [&'static str; 3] {
        match self {
            Self::Account => ["pgbench_accounts", "aid", "abalance"],
            Self::Teller => ["pgbench_tellers", "tid", "tbalance"],
            Self::Branch => ["pgbench_branches", "bid", "bbalance"],
        }
    }

    fn of_event_type(event_type: &str) -> Option<Self> {
        match event_type {
            "bank.account.updated" => Some(Self::Account),
            "bank.teller.updated" => Some(Self::Teller),
            "bank.branch.updated" => Some(Self::Branch),
            _ => None,
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    /// The last part of the path: which subscription it was sent for.
    pub(crate) subscription: String,
    pub(crate) id: Uuid,
    pub(crate) body_hash: [u8; 32],
    pub(crate) object: Object,
    pub(crate) key: i64,
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) sequence: i64,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, object, key) = (self.id, self.object, self.key);
        let (before, after, sequence) = (self.before, self.after, self.sequence);
        write!(
            f,
            "{object:?} {key} from {before} to {after}, sequence {sequence}, event {id}"
        )
    }
}

#[derive(Default)]
struct Entries {
    receipts: Vec<Receipt>,
    /// Requests that are not what they should be, in words.
    faults: Vec<String>,
}

#[derive(Default)]
struct Shared {
    entries: Mutex<Entries>,
    entered: Condvar,
}

/// The running receiver. It stops when it is dropped.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    _runtime: Runtime,
}

impl Ledger {
    pub(crate) fn start() -> Self {
        let secret = SigningSecret::parse(SIGNING_SECRET).unwrap();
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/{subscription}", post(receive))
            .with_state((Arc::clone(&shared), secret));
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

    /// How many requests were received.
    pub(crate) fn count(&self) -> usize {
        self.entries().receipts.len()
    }

    /// Waits until there are `count`; false if they have not come after `at_most`.
    pub(crate) fn wait_for(&self, count: usize, at_most: Duration) -> bool {
        let (_entries, waited) = self
            .shared
            .entered
            .wait_timeout_while(self.entries(), at_most, |entries| {
                entries.receipts.len() < count
            })
            .unwrap();
        !waited.timed_out()
    }

    /// All receipts, in the order of their arrival; fails the test if a request was not right.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        let entries = self.entries();
        let faults = entries.faults.len();
        let first = entries.faults.first();
        assert_eq!(faults, 0, "requests that are not right, first: {first:?}");
        entries.receipts.clone()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        let entries = self.shared.entries.lock();
        entries.unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(
    State((shared, secret)): State<(Arc<Shared>, SigningSecret)>,
    Path(subscription): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let read = read(&secret, subscription, &headers, &body);
    let mut entries = shared
        .entries
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match read {
        Ok(receipt) => entries.receipts.push(receipt),
        Err(fault) => entries.faults.push(fault),
    }
    drop(entries);
    shared.entered.notify_all();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Event {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    sequence: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    before: Row,
    after: Row,
}

/// A row of any of the three tables, of which two columns count.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "abalance", alias = "tbalance", alias = "bbalance")]
    balance: i64,
}

fn read(
    secret: &SigningSecret,
    subscription: String,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Receipt, String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("{name} is missing"))
    };
    let id = header("webhook-id")?;
    let timestamp = header("webhook-timestamp")?;
    let right = secret.sign(id, timestamp.parse().unwrap_or(0), body);
    if header("webhook-signature")? != right {
        return Err(format!("{id} is not signed by its secret"));
    }
    let text = || String::from_utf8_lossy(body);
    let fault = |error: &dyn fmt::Display| format!("{id}: {error}: {}", text());
    let event: Event = serde_json::from_slice(body).map_err(|error| fault(&error))?;
    if event.id.to_string() != id {
        return Err(fault(&"another id in the body"));
    }
    let object = Object::of_event_type(&event.event_type);
    Ok(Receipt {
        subscription,
        id: event.id,
        body_hash: Sha256::digest(body).into(),
        object: object.ok_or_else(|| fault(&"an event type that nobody made happen"))?,
        key: event.subject.parse().map_err(|error| fault(&error))?,
        before: event.data.before.balance,
        after: event.data.after.balance,
        sequence: event.sequence.parse().map_err(|error| fault(&error))?,
    })
}
