//! Whether a request's events may be accepted, at one revision of the catalogue. Pure.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    super::problem::{Kind, Problem},
    attributes::{self, ATTRIBUTE_BYTES_MAX, Attributes, content_digest},
    data::Unambiguous,
    ledger::Digest,
    request::Request,
    schemas::Types,
    store::EventName,
};
use crate::{
    config::Limits,
    publish::submitted::Members,
    subscription::check::{SpecProblem, pointer_part},
};

/// The most faults that one answer names.
pub(super) const FAULTS_MAX: usize = 100;

/// What is known of a request whose events may be accepted.
#[derive(Debug)]
pub(super) struct Checked {
    /// Of the catalogue by which they may be.
    pub(super) revision: i64,
    /// In the order of the request's.
    pub(super) events: Vec<Event>,
}

/// An event that may be accepted.
#[derive(Debug)]
pub(super) struct Event {
    attributes: Attributes,
    /// Of its content.
    pub(super) digest: Digest,
}

/// What is told of an event that was accepted.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    id: String,
    source: String,
    /// It was accepted before, and this changed nothing.
    duplicate: bool,
}

impl Event {
    pub(super) fn name(&self) -> EventName<'_> {
        EventName {
            source: &self.attributes.source,
            id: &self.attributes.id,
        }
    }

    pub(super) fn traceparent(&self) -> Option<&str> {
        self.attributes.traceparent.as_deref()
    }

    pub(super) fn item(&self, duplicate: bool) -> Item {
        Item {
            id: self.attributes.id.clone(),
            source: self.attributes.source.clone(),
            duplicate,
        }
    }
}

/// Judges every event, so that all faults are answered together.
pub(super) fn check(request: &Request, types: &Types, limits: &Limits) -> Result<Checked, Problem> {
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
    for (place, text) in request.events.iter().enumerate() {
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
    if !problems.is_empty() {
        return Err(Problem::of_body(problems));
    }
    Ok(Checked {
        revision: types.revision(),
        events,
    })
}

fn check_one(
    text: &RawValue,
    types: &Types,
    limits: &Limits,
    note: &mut impl FnMut(&str, String),
) -> Option<Event> {
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
    Some(Event { attributes, digest })
}

/// An error of a part of the body, without the line and column in that part.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// What the pointers of an event begin with.
pub(super) fn prefix(place: usize, is_list: bool) -> String {
    if is_list {
        format!("/{place}")
    } else {
        String::new()
    }
}
