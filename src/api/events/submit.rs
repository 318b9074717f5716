//! `POST /v1/events`: events that no row tells of.
//!
//! Guaranteed: all events of a request are accepted or none; one that is sent again, with the same
//! source and id, is published once. They are appended to the change table, so that cursor, order
//! and account are those of the rows.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    super::{
        ApiState,
        caller::Caller,
        idempotency::Memory,
        input::unread,
        problem::{Kind, Problem},
    },
    attributes::{self, ATTRIBUTE_BYTES_MAX, Attributes, content_digest},
    data::Unambiguous,
    request::Request,
    schemas::Types,
    store::{EventName, event_accept, event_accepted_digests},
};
use crate::{
    auth::Action,
    capture::{
        rotation,
        store::{NewChange, change_append, doorbell_ring_if_asleep},
    },
    config::Limits,
    db::{Connection, QueryError},
    publish::submitted::Members,
    subscription::check::{SpecProblem, pointer_part},
};

/// The most faults that one answer names.
const FAULTS_MAX: usize = 100;

/// The longest `traceparent` header that is kept, in characters.
const TRACEPARENT_CHARS_MAX: usize = 255;

/// An event that may be accepted.
struct Submitted {
    text: Box<RawValue>,
    attributes: Attributes,
    digest: [u8; 32],
}

#[derive(Serialize)]
struct Accepted {
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    source: String,
    /// It was accepted before, and this changed nothing.
    duplicate: bool,
}

pub(crate) async fn submit(
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    caller.may(Action::SubmitEvents)?;
    let body = body.map_err(|rejection| unread(&rejection, state.limits.body_bytes_max))?;
    let memory = Memory::read(&headers, caller.name(), "POST /v1/events", &body)?;
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() <= TRACEPARENT_CHARS_MAX)
        .map(str::to_owned);
    let (author, now) = (caller.name().to_owned(), state.clock.now());
    let items = state
        .database
        .clone()
        .transaction(move |connection| {
            let request = Request::read(&headers, &body)?;
            let types = state.submitted_types.current(connection)?;
            let is_list = request.is_list;
            let events = check(request, &types, &state.limits)?;
            if let Some(memory) = &memory {
                memory.claim(connection, now)?;
            }
            accept(connection, &events, &author, traceparent.as_deref(), now)
                .map_err(|refusal| refusal.problem(is_list))
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { items })).into_response())
}

/// Judges every event, so that all faults are answered together.
fn check(request: Request, types: &Types, limits: &Limits) -> Result<Vec<Submitted>, Problem> {
    let count = request.events.len();
    if count > limits.events_per_request_max {
        let text = format!(
            "{count} events; the limit is {} (limits.events_per_request_max)",
            limits.events_per_request_max
        );
        return Err(Problem::at(Kind::InvalidBody, "", text));
    }
    let mut problems = Vec::new();
    let mut events = Vec::with_capacity(count);
    for (place, text) in request.events.into_iter().enumerate() {
        let at = prefix(place, request.is_list);
        let mut note = |pointer: &str, text: String| {
            problems.push(SpecProblem::new(format!("{at}{pointer}"), text));
        };
        events.extend(check_one(text, types, limits, &mut note));
        if problems.len() >= FAULTS_MAX {
            problems.truncate(FAULTS_MAX);
            break;
        }
    }
    if problems.is_empty() {
        Ok(events)
    } else {
        Err(Problem::of_body(problems))
    }
}

fn check_one(
    text: Box<RawValue>,
    types: &Types,
    limits: &Limits,
    note: &mut impl FnMut(&str, String),
) -> Option<Submitted> {
    let bytes = text.get().len();
    if bytes > limits.event_bytes_max {
        let limit = limits.event_bytes_max;
        let fault = format!("{bytes} bytes; the limit is {limit} (limits.event_bytes_max)");
        note("", fault);
        return None;
    }
    let members: Members<'_> = match serde_json::from_str(text.get()) {
        Ok(members) => members,
        Err(error) => {
            note(
                "",
                format!("a CloudEvent is expected: {}", without_place(&error)),
            );
            return None;
        }
    };
    let mut is_right = true;
    let mut note = |pointer: String, fault: String| {
        is_right = false;
        note(&pointer, fault);
    };
    let attributes = attributes::check(&members, &mut |name, fault| {
        note(format!("/{}", pointer_part(name)), fault);
    });
    let event_type = members
        .text("type")
        .filter(|text| (1..=ATTRIBUTE_BYTES_MAX).contains(&text.len()));
    let type_fault = event_type
        .as_deref()
        .and_then(|name| types.type_fault(name));
    let is_type_known = event_type.is_some() && type_fault.is_none();
    if let Some(fault) = type_fault {
        note("/type".to_owned(), fault);
    }
    let data = match members
        .get("data")
        .map(|raw| serde_json::from_str(raw.get()))
    {
        None => Some(None),
        Some(Ok(Unambiguous(value))) => Some(Some(value)),
        Some(Err(error)) => {
            note("/data".to_owned(), without_place(&error));
            None
        }
    };
    if let (Some(name), Some(data), true) = (&event_type, &data, is_type_known) {
        types.check_data(name, data.as_ref(), FAULTS_MAX, &mut |pointer, fault| {
            note(format!("/data{pointer}"), fault);
        });
    }
    let digest = content_digest(&members);
    let attributes = attributes.filter(|_| is_right)?;
    Some(Submitted {
        text,
        attributes,
        digest,
    })
}

/// An error of a part of the body, without the line and column in that part.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Writes what was not accepted before.
fn accept(
    connection: &mut Connection,
    events: &[Submitted],
    author: &str,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<Item>, Refusal> {
    let mut digests: BTreeMap<EventName<'_>, [u8; 32]> = BTreeMap::new();
    let mut reused = BTreeSet::new();
    for event in events {
        let known = digests.entry(event.name()).or_insert(event.digest);
        if *known != event.digest {
            reused.insert(event.name());
        }
    }
    // In the order of their names, so that of two requests with the same events one waits for the
    // other and never both.
    let wanted: Vec<(EventName<'_>, &[u8])> = digests
        .iter()
        .map(|(name, digest)| (*name, &digest[..]))
        .collect();
    let new = event_accept(connection, &wanted, now)?;
    let before: Vec<EventName<'_>> = digests
        .keys()
        .copied()
        .filter(|name| !new.contains(&name.owned()))
        .collect();
    let stored = event_accepted_digests(connection, &before)?;
    for name in before {
        match stored.get(&name.owned()) {
            Some(digest) if digest[..] == digests[&name][..] => {}
            Some(_) => {
                reused.insert(name);
            }
            // Forgotten by upkeep between the two statements.
            None => {
                let text = "an event's id was just being forgotten; send the request again";
                return Err(Problem::new(Kind::Unavailable, text).into());
            }
        }
    }
    if !reused.is_empty() {
        let is_reused = |event: &Submitted| reused.contains(&event.name());
        let places = (0..events.len()).filter(|place| is_reused(&events[*place]));
        return Err(Refusal::IdReused(places.collect()));
    }
    let mut unwritten = new;
    let mut items = Vec::with_capacity(events.len());
    let mut changes = Vec::with_capacity(unwritten.len());
    for event in events {
        let is_first = unwritten.remove(&event.name().owned());
        if is_first {
            changes.push(NewChange {
                event: event.text.get(),
                traceparent: event.attributes.traceparent.as_deref().or(traceparent),
            });
        }
        items.push(Item {
            id: event.attributes.id.clone(),
            source: event.attributes.source.clone(),
            duplicate: !is_first,
        });
    }
    if !changes.is_empty() {
        let rotation = rotation::writable(connection, now)?;
        change_append(connection, rotation, author, &changes)?;
        doorbell_ring_if_asleep(connection)?;
    }
    Ok(items)
}

/// Why events were not accepted.
enum Refusal {
    /// Those at these places have the names of others.
    IdReused(Vec<usize>),
    Other(Problem),
}

impl Refusal {
    fn problem(self, is_list: bool) -> Problem {
        let places = match self {
            Self::Other(problem) => return problem,
            Self::IdReused(places) => places,
        };
        let faults = places.into_iter().take(FAULTS_MAX).map(|place| {
            let text = "another event of this source has this id; an event that is sent again is \
                        the same in all its parts, and a new one has a new id";
            SpecProblem::new(format!("{}/id", prefix(place, is_list)), text)
        });
        Problem::of_fields(Kind::EventIdReused, faults.collect())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::Other(error.into())
    }
}

/// What the pointers of an event begin with.
fn prefix(place: usize, is_list: bool) -> String {
    if is_list {
        format!("/{place}")
    } else {
        String::new()
    }
}

impl Submitted {
    fn name(&self) -> EventName<'_> {
        EventName {
            source: &self.attributes.source,
            id: &self.attributes.id,
        }
    }
}
