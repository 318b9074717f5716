//! How submitted events are stored: those of all requests that wait, in one transaction.
//!
//! Guaranteed: each request is answered for itself, after the commit, and as if it had been stored
//! alone, in the order in which they came. What can't be stored with the others, or would keep them
//! waiting for somebody else, is stored by itself, and so are they.

use std::sync::Arc;

use axum::{body::Bytes, http::HeaderMap};
use chrono::{DateTime, Utc};

use super::{
    super::{
        idempotency::{KeyName, Memory},
        problem::{Kind, Problem},
    },
    check::{Checked, Item, check},
    ledger::Ledger,
    request::Request,
    schemas::{SubmittedTypes, Types},
    settle::settle,
    store::{EventName, locks_wait_at_most},
};
use crate::{
    capture::{
        rotation,
        store::{NewChange, change_append, doorbell_ring_if_asleep},
    },
    clock::Clock,
    config::Limits,
    db::{
        Connection, Database, DbError,
        joint::{Asked, Bounds, Full, Joint, Room, Together},
    },
};

/// Transactions that store requests together, at once: while one waits for its commit, the other
/// writes.
const GROUPS_MAX: usize = 2;

/// What is stored together, in bytes of bodies, unless one body is larger.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Requests that are stored together.
const GROUP_REQUESTS_MAX: usize = 256;

/// What a request weighs beside its body, in bytes.
const REQUEST_BYTES: usize = 1_024;

/// How long a group waits for who is remembering one of its names, in milliseconds; then each of
/// its requests waits by itself.
const GROUP_LOCK_WAIT_MS: u32 = 500;

/// Larger bodies are judged on a thread where that keeps nobody waiting.
const JUDGED_INLINE_BYTES_MAX: usize = 16 * 1024;

/// Takes submitted events in; clones share it.
#[derive(Clone)]
pub struct Intake {
    storing: Storing,
    joint: Joint<Storing>,
}

/// Where they are stored.
#[derive(Clone)]
struct Storing {
    database: Database,
    clock: Clock,
    types: SubmittedTypes,
    limits: Arc<Limits>,
}

/// A request, checked at one revision of the catalogue.
struct Submission {
    request: Request,
    checked: Checked,
    sender: Sender,
}

/// What became of one request of a group.
enum Outcome {
    /// It is stored, or refused.
    Answered(Result<Vec<Item>, Problem>),
    /// The database was away, for all of them.
    Failed(Arc<DbError>),
    /// Nothing: it is to be stored by itself.
    Apart,
}

/// What came with a request beside its events.
pub(super) struct Sender {
    pub(super) author: String,
    pub(super) traceparent: Option<String>,
    pub(super) memory: Option<Memory>,
}

impl Intake {
    /// Stores in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Clock, limits: &Limits) -> Self {
        let storing = Storing {
            database,
            clock,
            types: SubmittedTypes::default(),
            limits: Arc::new(limits.clone()),
        };
        let bounds = Bounds {
            groups_max: GROUPS_MAX,
            group_weight_max: GROUP_BYTES_MAX,
            group_size_max: GROUP_REQUESTS_MAX,
            weight_max: limits.events_waiting_bytes_max,
        };
        Self {
            joint: Joint::new(storing.clone(), bounds),
            storing,
        }
    }

    /// Checks a request and stores its events; all of them, or none.
    pub(super) async fn accept(
        &self,
        headers: HeaderMap,
        body: Bytes,
        sender: Sender,
    ) -> Result<Vec<Item>, Problem> {
        let room = self.room(body.len())?;
        let (request, checked) = self.judged(headers, body).await?;
        let submission = Submission {
            request,
            checked,
            sender,
        };
        let asked = Asked::new(submission, room);
        match self.joint.ask(&asked).await {
            Some(Outcome::Answered(answer)) => answer,
            Some(Outcome::Failed(error)) => Err((&*error).into()),
            // After a panic too: what was stored after all is told as duplicates.
            Some(Outcome::Apart) | None => self.storing.store_apart(asked).await,
        }
    }

    /// Before the body is looked at, so that what has no room costs little.
    fn room(&self, body_bytes: usize) -> Result<Room, Problem> {
        self.joint.room(body_bytes + REQUEST_BYTES).map_err(|Full| {
            let limit = self.storing.limits.events_waiting_bytes_max;
            let text = format!(
                "{limit} bytes of events (limits.events_waiting_bytes_max) wait to be stored; send \
                 the request again in a moment"
            );
            Problem::new(Kind::Unavailable, text)
        })
    }

    async fn judged(&self, headers: HeaderMap, body: Bytes) -> Result<(Request, Checked), Problem> {
        let types = match self.storing.types.last() {
            Some(types) => types,
            None => self.storing.types_now().await?,
        };
        let limits = Arc::clone(&self.storing.limits);
        let is_small = body.len() <= JUDGED_INLINE_BYTES_MAX;
        let (of, with) = (Arc::clone(&types), Arc::clone(&limits));
        let judge = move || {
            let request = Request::read(&headers, &body)?;
            let checked = check(&request, &of, &with);
            Ok::<_, Problem>((request, checked))
        };
        let (request, checked) = if is_small {
            judge()?
        } else {
            let judged = tokio::task::spawn_blocking(judge).await;
            judged.map_err(|_| Problem::internal())??
        };
        let refusal = match checked {
            Ok(checked) => return Ok((request, checked)),
            Err(refusal) => refusal,
        };
        // A catalogue that is no longer the present one refuses nothing.
        let present = self.storing.types_now().await?;
        if present.revision() == types.revision() {
            return Err(refusal);
        }
        let again = move || check(&request, &present, &limits).map(|checked| (request, checked));
        let judged = tokio::task::spawn_blocking(again).await;
        judged.map_err(|_| Problem::internal())?
    }
}

impl Together for Storing {
    type Ask = Submission;
    type Answer = Outcome;

    async fn answer(&self, asked: Vec<Arc<Asked<Submission>>>) -> Vec<Outcome> {
        let (count, storing) = (asked.len(), self.clone());
        let stored = self.database.transaction(move |connection| {
            locks_wait_at_most(connection, GROUP_LOCK_WAIT_MS)?;
            storing.store(connection, &asked)
        });
        let stored: Result<Vec<_>, DbError> = stored.await;
        match stored {
            Ok(answers) => answers.into_iter().map(Outcome::Answered).collect(),
            Err(error) if is_of_all(&error) => {
                let error = Arc::new(error);
                let failed = || Outcome::Failed(Arc::clone(&error));
                std::iter::repeat_with(failed).take(count).collect()
            }
            Err(error) => {
                let error = crate::stage::chain(&error);
                tracing::warn!(requests = count, %error, "events are stored request by request");
                std::iter::repeat_with(|| Outcome::Apart)
                    .take(count)
                    .collect()
            }
        }
    }
}

/// Whether the failure of a group says something of each in it: the database is away. Anything else
/// may be for one of them.
fn is_of_all(error: &DbError) -> bool {
    let text = crate::stage::chain(error);
    error.is_passing() && !text.contains("lock timeout") && !text.contains("deadlock")
}

impl Storing {
    /// The types as they are now.
    async fn types_now(&self) -> Result<Arc<Types>, DbError> {
        let types = self.types.clone();
        self.database
            .run(move |connection| types.current(connection))
            .await
    }

    /// Stores one request in a transaction of its own, which waits for whoever it must.
    async fn store_apart(&self, asked: Arc<Asked<Submission>>) -> Result<Vec<Item>, Problem> {
        let storing = self.clone();
        let stored = self
            .database
            .transaction(move |connection| storing.store(connection, &[asked]));
        let answers: Result<Vec<_>, DbError> = stored.await;
        answers?.pop().unwrap_or_else(|| Err(Problem::internal()))
    }

    /// Stores what may be stored of several requests, and tells of each what became of it.
    fn store(
        &self,
        connection: &mut Connection,
        asked: &[Arc<Asked<Submission>>],
    ) -> Result<Vec<Result<Vec<Item>, Problem>>, DbError> {
        let now = self.clock.now();
        let types = self.types.current(connection)?;
        let judged: Vec<Result<&Submission, Problem>> = asked
            .iter()
            .map(|asked| asked.judged_by(&types, &self.limits))
            .collect();
        let sound = || judged.iter().filter_map(|judged| judged.as_ref().ok());
        let keys = sound().filter_map(|submission| submission.key());
        let mut keys: Ledger<KeyName<'_>> = Ledger::open(connection, keys, now)?;
        let names = sound().flat_map(|submission| submission.names());
        let mut names: Ledger<EventName<'_>> = Ledger::open(connection, names, now)?;
        let (mut answers, mut changes) = (Vec::with_capacity(asked.len()), Vec::new());
        for submission in judged {
            let settled = submission.and_then(|submission| {
                let events: Vec<_> = submission.names().collect();
                let duplicates = settle(submission.key(), &events, &mut keys, &mut names)
                    .map_err(|refusal| refusal.problem(submission.request.is_list))?;
                changes.extend(submission.changes(&duplicates));
                Ok(submission.items(duplicates))
            });
            answers.push(settled);
        }
        keys.close(connection, now)?;
        names.close(connection, now)?;
        append(connection, &changes, now)?;
        Ok(answers)
    }
}

fn append(
    connection: &mut Connection,
    changes: &[NewChange<'_>],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rotation = rotation::writable(connection, now)?;
    change_append(connection, rotation, changes)?;
    Ok(doorbell_ring_if_asleep(connection)?)
}

impl Submission {
    /// Itself, if the types by which it was checked are these, or it passes by these as well.
    fn judged_by(&self, types: &Types, limits: &Limits) -> Result<&Self, Problem> {
        if self.checked.revision != types.revision() {
            check(&self.request, types, limits)?;
        }
        Ok(self)
    }

    fn key(&self) -> Option<(KeyName<'_>, [u8; 32])> {
        self.sender.memory.as_ref().map(Memory::name)
    }

    fn names(&self) -> impl Iterator<Item = (EventName<'_>, [u8; 32])> {
        self.checked
            .events
            .iter()
            .map(|event| (event.name(), event.digest))
    }

    /// The changes of the events that were not accepted before.
    fn changes<'a>(&'a self, duplicates: &[bool]) -> impl Iterator<Item = NewChange<'a>> {
        let events = self.request.events.iter().zip(&self.checked.events);
        let first = events
            .zip(duplicates)
            .filter(|(_, is_duplicate)| !**is_duplicate);
        first.map(|((text, event), _)| NewChange {
            event: text.get(),
            author: &self.sender.author,
            traceparent: event.traceparent().or(self.sender.traceparent.as_deref()),
        })
    }

    fn items(&self, duplicates: Vec<bool>) -> Vec<Item> {
        let items = self.checked.events.iter().zip(duplicates);
        items
            .map(|(event, duplicate)| event.item(duplicate))
            .collect()
    }
}
