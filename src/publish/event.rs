//! An event: what a change is on the wire (design section 8).
//!
//! The body is put together from the captured text. Rows are never parsed and written again, so
//! what a receiver gets is what Postgres made of the row, to the byte.

use std::{fmt::Write as _, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::submitted::AcceptedEvent;
use crate::{
    capture::{
        change::{Change, Op},
        image::Image,
    },
    registry::{index::Query, target::Target},
};

/// One occurrence of an event type.
#[derive(Clone, Debug)]
pub struct Event {
    /// UUIDv7; in the order of publishing.
    pub id: Uuid,
    /// The name of the source that it is of.
    pub source: Arc<str>,
    /// The order of publishing.
    pub position: i64,
    /// The event type's name.
    pub event_type: Arc<str>,
    /// The object type; `None` for an event that came through the API.
    pub object_type: Option<Arc<str>>,
    /// Within what keys are compared for the order: the object type, or the source that the API's
    /// caller named.
    pub scope: Arc<str>,
    /// The object key's text, or the subject of an event that came through the API; `None` only
    /// for one without a subject, for a TRUNCATE, and for a gap whose key could not be saved.
    pub key: Option<String>,
    /// The key's text before this event, if it changed it.
    pub previous_key: Option<String>,
    /// When the change was made, or what the API's caller says of it.
    pub time: DateTime<Utc>,
    /// When it was captured or accepted, by which constraints go: a caller can't choose it.
    pub captured_at: DateTime<Utc>,
    /// The change's place in the change table.
    pub change_seq: i64,
    /// The writer's transaction, in the source's database.
    pub xid: i64,
    /// The CloudEvent as structured JSON, without `sequence`.
    pub body: Arc<str>,
    /// The one subscription that it is for; `None`: all that match.
    pub only_for: Option<Uuid>,
}

/// What an event gets besides its change.
#[derive(Clone, Copy, Debug)]
pub struct Numbering<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The event's id.
    pub id: Uuid,
    /// The event's position.
    pub position: i64,
}

impl Event {
    /// The event that `change` is; `schema` is where that of its data is found.
    #[must_use]
    pub fn of(
        change: &Change,
        event_type: &Arc<str>,
        target: &Target,
        number: Numbering<'_>,
        schema: Option<&str>,
    ) -> Self {
        let body = body(change, event_type, target, number, schema).into();
        Self {
            id: number.id,
            source: Arc::clone(&target.source),
            position: number.position,
            event_type: Arc::clone(event_type),
            object_type: Some(Arc::clone(&target.name)),
            scope: Arc::clone(&target.name),
            key: change.key.clone(),
            previous_key: change.previous_key.clone(),
            time: change.row.at,
            captured_at: change.row.at,
            change_seq: change.row.seq,
            xid: change.row.writer_xid(),
            body,
            only_for: None,
        }
    }

    /// The event that `change` carries whole: it came through the API.
    ///
    /// # Errors
    ///
    /// The reason why it is none, which no event that the API accepted has.
    pub fn submitted(change: &Change, number: Numbering<'_>) -> Result<Self, String> {
        let row = &change.row;
        let accepted = AcceptedEvent::parse(row.after.as_deref().unwrap_or_default())?;
        let body = accepted.body(number, row.at, row.traceparent.as_deref());
        Ok(Self {
            id: number.id,
            source: number.source.into(),
            position: number.position,
            event_type: accepted.event_type.as_str().into(),
            object_type: None,
            scope: Self::scope_of_source(&accepted.source),
            key: accepted.subject.clone(),
            previous_key: None,
            time: accepted.time.unwrap_or(row.at),
            captured_at: row.at,
            change_seq: row.seq,
            xid: row.xid,
            body: body.into(),
            only_for: None,
        })
    }

    /// Within what the subjects of events are compared that came through the API.
    #[must_use]
    pub fn scope_of_source(source: &str) -> Arc<str> {
        // No object type has a space in its name.
        format!("source {source}").into()
    }

    /// Whether it tells a row that is there after it.
    #[must_use]
    pub fn tells_row(&self) -> bool {
        // The first place of this kind is the event's own: before it there are only texts, in which
        // a quote is escaped.
        let op = self.body.split_once("},\"op\":\"").map(|(_, rest)| rest);
        let is = |op: &str, name: Op| {
            let rest = op.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.starts_with('"'))
        };
        self.object_type.is_some()
            && op.is_some_and(|op| {
                [Op::Create, Op::Update, Op::Snapshot]
                    .into_iter()
                    .any(|name| is(op, name))
            })
    }

    /// The lane of the object; `None` if there is no object.
    #[must_use]
    pub fn lane(&self) -> Option<i64> {
        self.key.as_deref().map(|key| self.lane_of(key))
    }

    /// The lane of the object before its key changed.
    #[must_use]
    pub fn lane_previous(&self) -> Option<i64> {
        self.previous_key.as_deref().map(|key| self.lane_of(key))
    }

    fn lane_of(&self, key: &str) -> i64 {
        lane(&self.scope, key)
    }

    /// What the index is asked for to find its subscriptions.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        Query {
            object_type: self.object_type.as_deref(),
            event_type: &self.event_type,
            key: self.key.as_deref(),
            previous_key: self.previous_key.as_deref(),
        }
    }
}

/// What an event says of where it comes from.
#[must_use]
pub fn event_source(source: &str) -> String {
    format!("/rowcall/{source}")
}

/// The body with its sequence number: the same on every attempt, for both parts are stored.
#[must_use]
pub fn with_sequence(body: &str, sequence: i64) -> String {
    let open = body.strip_suffix('}').unwrap_or(body);
    format!("{open},\"sequence\":\"{sequence:020}\"}}")
}

/// Names an object's order by 64 bits of SHA-256: the same in every version and instance. Two
/// objects with the same lane, one pair in some billions, only wait for each other.
#[must_use]
pub fn lane(object_type: &str, key: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(object_type)
        .chain_update([0])
        .chain_update(key)
        .finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

fn body(
    change: &Change,
    event_type: &str,
    target: &Target,
    number: Numbering<'_>,
    schema: Option<&str>,
) -> String {
    let row = &change.row;
    let images = [&row.before, &row.after].map(|image| image.as_deref().map_or(0, str::len));
    let mut out = String::with_capacity(images[0] + images[1] + 640);
    let _ = write!(
        out,
        r#"{{"specversion":"1.0","id":"{}","source":"{}","type":{}"#,
        number.id,
        event_source(number.source),
        quoted(event_type)
    );
    if let Some(key) = &change.key {
        let _ = write!(out, r#","subject":{}"#, quoted(key));
    }
    let _ = write!(
        out,
        r#","time":"{}","datacontenttype":"application/json""#,
        row.at.to_rfc3339_opts(SecondsFormat::Micros, true)
    );
    if let Some(schema) = schema {
        let _ = write!(out, r#","dataschema":{}"#, quoted(schema));
    }
    if let Some(key) = &change.key {
        // Slashes part the object type from the key; a key's own are percent-encoded.
        let _ = write!(
            out,
            r#","partitionkey":{}"#,
            quoted(&format!("{}/{key}", target.name))
        );
    }
    if let Some(traceparent) = &row.traceparent {
        let _ = write!(out, r#","traceparent":{}"#, quoted(traceparent));
    }
    let _ = write!(out, r#","data":{{"object_type":{}"#, quoted(&target.name));
    match change.op {
        Op::Gap => gap_data(&mut out, change, target),
        _ => object_data(&mut out, change, target),
    }
    out.push_str(r#","actor":"#);
    out.push_str(
        &row.actor
            .as_deref()
            .map_or_else(|| "null".to_owned(), quoted),
    );
    let _ = write!(out, r#","xid":"{}"}}}}"#, row.writer_xid());
    out
}

fn object_data(out: &mut String, change: &Change, target: &Target) {
    let (before, after) = (change.row.before.as_deref(), change.row.after.as_deref());
    let key = &target.object_type.key;
    match after.or(before) {
        Some(image) => push_key(out, "key", image, key),
        // A TRUNCATE is no object's.
        None => out.push_str(r#","key":null"#),
    }
    if let Some(before) = before.filter(|_| change.previous_key.is_some()) {
        push_key(out, "previous_key", before, key);
    }
    let _ = write!(
        out,
        r#","op":"{}","before":{},"after":{},"changed":{}"#,
        change.op.as_str(),
        before.unwrap_or("null"),
        after.unwrap_or("null"),
        change.changed
    );
}

/// A gap tells what is known of the change that could not be captured whole.
fn gap_data(out: &mut String, change: &Change, target: &Target) {
    let known = change
        .row
        .after
        .as_deref()
        .and_then(|text| Image::parse(text).ok());
    let field = |name: &str| {
        known
            .as_ref()
            .and_then(|known| known.get(name))
            .map_or("null", RawValue::get)
    };
    let _ = write!(
        out,
        r#","key":{},"op":"gap","table":{},"captured_op":{},"reason":{},"size":{}"#,
        field("key"),
        quoted(&target.object_type.table.to_string()),
        field("op"),
        field("reason"),
        field("size")
    );
    // A gap of a time, not of one change (source/gap).
    if known
        .as_ref()
        .is_some_and(|known| known.get("to").is_some())
    {
        let _ = write!(out, r#","from":{},"to":{}"#, field("from"), field("to"));
    }
}

/// Appends the key columns of an image as an object.
fn push_key(out: &mut String, name: &str, image: &str, key: &[String]) {
    let _ = write!(out, r#","{name}":{{"#);
    if let Ok(image) = Image::parse(image) {
        for (index, column) in key.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let value = image.get(column).map_or("null", RawValue::get);
            let _ = write!(out, "{comma}{}:{value}", quoted(column));
        }
    }
    out.push('}');
}

fn quoted(text: &str) -> String {
    // A string always serialises.
    serde_json::to_string(text).unwrap_or_default()
}
