//! What a folded object is on the wire. Pure.
//!
//! `before` and `after` are the text that was captured, copied out of the stored events.

use std::{borrow::Cow, fmt::Write as _};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fold::{Object, Of};
use crate::capture::image::Image;

/// What all changes of an object came to, for whoever judges whether it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Fold<'a> {
    /// The object's type.
    pub object_type: &'a str,
    /// Its last key as text.
    pub key: &'a str,
    /// `create`, `update`, `delete` or `snapshot`.
    pub op: &'static str,
    /// The row before the first change, as it was captured; `None`: there was none.
    pub before: Option<&'a RawValue>,
    /// The row after the last change; `None`: there is none.
    pub after: Option<&'a RawValue>,
    /// How many events were folded.
    pub count: i64,
}

/// What is needed of an event's body.
#[derive(Debug, Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    previous_key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

impl<'a> Data<'a> {
    /// Nothing, if the event is not there: an object whose events are lost is told without images.
    fn of(body: Option<&'a str>) -> Self {
        body.and_then(|body| serde_json::from_str::<Body<'a>>(body).ok())
            .map_or_else(Self::default, |body| body.data)
    }
}

/// The key of the object of an event's body, as JSON.
pub(super) fn key_json(body: Option<&str>) -> Option<String> {
    Data::of(body).key.map(|key| key.get().to_owned())
}

/// What is told of `object`, whose first and last event have these bodies; `None` if nothing is,
/// because what was done was undone or `is_wanted` does not want the rest.
pub(super) fn effect(
    object: &Object,
    types: &[Box<str>],
    first: Option<&str>,
    last: Option<&str>,
    is_wanted: impl Fn(&Fold<'_>) -> bool,
) -> Option<String> {
    let name = |place: u32| types.get(place as usize).map_or("", |name| &**name);
    let (object_type, key, first_key) = match &object.of {
        Of::Object {
            object_type,
            key,
            first_key,
            ..
        } => (name(*object_type), key, first_key),
        Of::Unknown { object_type } => {
            return Some(no_object(name(*object_type), "gap", object.count));
        }
        Of::Truncated { object_type } => {
            return Some(no_object(name(*object_type), "truncate", object.count));
        }
        Of::Nothing { event_type } => return Some(nothing(event_type, object.count)),
    };
    // What became of an object whose events are lost is as unknown as after a gap.
    let is_gap = object.has_gap || first.is_none() || last.is_none();
    let (first, last) = (Data::of(first), Data::of(last));
    let before = first.before.filter(|_| !object.is_first_gap);
    let after = last.after.filter(|_| !object.is_last_gap);
    let op = match (before, after) {
        _ if is_gap => "gap",
        (None, None) => return None,
        // It was there before anything was told of it.
        (None, Some(_)) if first.op.as_deref() == Some("snapshot") => "snapshot",
        (None, Some(_)) => "create",
        (Some(_), None) => "delete",
        (Some(before), Some(after)) if is_same(before, after) => return None,
        (Some(_), Some(_)) => "update",
    };
    let fold = Fold {
        object_type,
        key,
        op,
        before,
        after,
        count: object.count,
    };
    if !is_gap && !is_wanted(&fold) {
        return None;
    }
    let mut out = String::with_capacity(
        before.map_or(4, |image| image.get().len()) + after.map_or(4, |image| image.get().len()),
    );
    let _ = write!(out, r#"{{"object_type":{}"#, quoted(object_type));
    let json = |value: Option<&RawValue>| value.map_or("null", RawValue::get).to_owned();
    // A gap may not know its key; then another event of the object does.
    let told = last.key.or(first.key).map(|key| key.get().to_owned());
    let told = told.unwrap_or_else(|| quoted(key));
    let _ = write!(out, r#","key":{told}"#);
    if first_key != key {
        let _ = write!(
            out,
            r#","previous_key":{}"#,
            json(first.previous_key.or(first.key))
        );
    }
    let _ = write!(
        out,
        r#","op":"{op}","before":{},"after":{},"count":{}}}"#,
        json(before),
        json(after),
        object.count
    );
    Some(out)
}

fn no_object(object_type: &str, op: &str, count: i64) -> String {
    format!(
        r#"{{"object_type":{},"key":null,"op":"{op}","before":null,"after":null,"count":{count}}}"#,
        quoted(object_type)
    )
}

fn nothing(event_type: &str, count: i64) -> String {
    format!(
        r#"{{"object_type":null,"type":{},"key":null,"op":"event","before":null,"after":null,"count":{count}}}"#,
        quoted(event_type)
    )
}

/// Whether two images agree in all columns, added and dropped ones included.
fn is_same(before: &RawValue, after: &RawValue) -> bool {
    if before.get() == after.get() {
        return true;
    }
    match (Image::parse(before.get()), Image::parse(after.get())) {
        (Ok(before), Ok(after)) => after.changed_since(&before).is_empty(),
        _ => false,
    }
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    // A string always serialises.
    serde_json::to_string(text).unwrap_or_default()
}
