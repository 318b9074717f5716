//! What a message says, ready for a template: the variables of docs/EMAIL.md.

use chrono::{DateTime, Utc};
use minijinja::Value;
use serde_json::value::RawValue;

use super::data::{Budget, Members};

/// The most objects (of a digest by keys or by net effect) or events (of one that keeps all) that a
/// mail lists; of the rest it gives the number.
pub const ROWS_MAX: usize = 200;
/// The most columns that a mail shows of one row.
pub const FIELDS_MAX: usize = 100;
/// The type of a digest's CloudEvent (design section 8).
const DIGEST_TYPE: &str = "rowcall.digest";

/// What of a message a mail is made of.
pub(super) struct Content {
    pub(super) kind: Kind,
    /// What templates see.
    pub(super) variables: Value,
    /// When it happened: the mail's date.
    pub(super) time: Option<DateTime<Utc>>,
    /// Number and count of the parts, if a digest has several.
    pub(super) part: Option<(u64, u64)>,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Digest,
}

impl Content {
    /// Reads the body of a message. `None`: it is no JSON object.
    pub(super) fn read(body: &[u8], subscription: &Value) -> Option<Self> {
        let envelope: Members<'_> = serde_json::from_slice(body).ok()?;
        let mut budget = Budget::new();
        let time = envelope.text("time").and_then(|time| moment(&time));
        let is_digest = envelope.text("type").as_deref() == Some(DIGEST_TYPE);
        let (kind, part, mut variables) = if is_digest {
            let data = envelope.get("data").map(Members::of).unwrap_or_default();
            let part = (
                data.number("part").unwrap_or(1),
                data.number("parts").unwrap_or(1),
            );
            let digest = digest(&data, &mut budget);
            let part = (part.1 > 1).then_some(part);
            (Kind::Digest, part, vec![("digest", digest)])
        } else {
            let (event, fields) = event(&envelope, &mut budget);
            (Kind::Event, None, vec![("event", event), ("fields", fields)])
        };
        variables.push(("subscription", subscription.clone()));
        Some(Self {
            kind,
            variables: variables.into_iter().collect(),
            time,
            part,
        })
    }
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.to_utc())
}

/// An event as on the wire, and the columns of its row.
fn event(envelope: &Members<'_>, budget: &mut Budget) -> (Value, Value) {
    let data = envelope.get("data").map(Members::of).unwrap_or_default();
    let fields = fields(&data, budget);
    let members = envelope
        .0
        .iter()
        .take(FIELDS_MAX)
        .map(|(name, json)| (budget.text(name), budget.value(Some(json))))
        .collect::<Vec<_>>();
    (members.into_iter().collect(), fields)
}

/// The columns of a row before and after, in the table's order, those that differ marked.
fn fields(data: &Members<'_>, budget: &mut Budget) -> Value {
    let image = |name| data.get(name).map(Members::of).unwrap_or_default();
    let (before, after) = (image("before"), image("after"));
    let row = if after.0.is_empty() { &before } else { &after };
    let is_update = !before.0.is_empty() && !after.0.is_empty();
    let fields = row.0.iter().take(FIELDS_MAX).map(|(name, _)| {
        let (old, new) = (before.get(name), after.get(name));
        let has_changed = is_update && old.map(RawValue::get) != new.map(RawValue::get);
        [
            ("name", budget.text(name)),
            ("before", budget.value(old)),
            ("after", budget.value(new)),
            ("changed", Value::from(has_changed)),
        ]
        .into_iter()
        .collect::<Value>()
    });
    Value::from(fields.collect::<Vec<_>>())
}

/// A digest as on the wire; of its lists what a mail can show, and `more`, the number of the rest.
fn digest(data: &Members<'_>, budget: &mut Budget) -> Value {
    let mut members = ["subscription", "window", "part", "parts", "count"]
        .map(|name| (name, budget.value(data.get(name))))
        .to_vec();
    let mut rows = Rows {
        left: ROWS_MAX,
        more: 0,
    };
    if let Some(groups) = data.list("events") {
        let groups = groups.into_iter().map(|group| rows.group(group, budget));
        members.push(("events", Value::from(groups.flatten().collect::<Vec<_>>())));
    }
    if let Some(objects) = data.list("objects") {
        let objects = rows.take(objects);
        let objects = objects.into_iter().map(|object| row(object, &[], budget));
        members.push(("objects", Value::from(objects.collect::<Vec<_>>())));
    }
    if let Some(items) = data.list("items") {
        let items = rows.take(items).into_iter().map(|item| {
            let (event, fields) = event(&Members::of(item), budget);
            [("event", event), ("fields", fields)]
                .into_iter()
                .collect::<Value>()
        });
        members.push(("items", Value::from(items.collect::<Vec<_>>())));
    }
    members.push(("more", Value::from(rows.more)));
    members.into_iter().collect()
}

/// Counts what a mail lists, and what it leaves out.
struct Rows {
    left: usize,
    more: usize,
}

impl Rows {
    fn take<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        let shown = list.len().min(self.left);
        self.left -= shown;
        self.more += list.len() - shown;
        list.truncate(shown);
        list
    }

    /// An event type of a digest by keys; nothing, if none of its objects fits any more.
    fn group(&mut self, json: &RawValue, budget: &mut Budget) -> Option<Value> {
        let group = Members::of(json);
        let all = group.list("keys").unwrap_or_default();
        let count = all.len();
        let keys = self.take(all);
        if keys.is_empty() && count > 0 {
            return None;
        }
        let more = Value::from(count - keys.len());
        let keys: Vec<Value> = keys.into_iter().map(|key| row(key, &[], budget)).collect();
        let instead = [("keys", Value::from(keys)), ("more", more)];
        Some(row(json, &instead, budget))
    }
}

/// An object of a list, with its columns as `fields` if it has a row; members of `instead` stand for
/// its own.
fn row(json: &RawValue, instead: &[(&str, Value)], budget: &mut Budget) -> Value {
    let members = Members::of(json);
    let mut read = Vec::new();
    for (name, value) in members.0.iter().take(FIELDS_MAX) {
        if !instead.iter().any(|(other, _)| other == name) {
            read.push((budget.text(name), budget.value(Some(value))));
        }
    }
    if members.get("before").is_some() || members.get("after").is_some() {
        read.push((Value::from("fields"), fields(&members, budget)));
    }
    for (name, value) in instead {
        read.push((Value::from(*name), value.clone()));
    }
    read.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Content {
        Content::read(body.as_bytes(), &Value::from("s")).unwrap()
    }

    fn at(content: &Content, path: &str) -> String {
        let value = path
            .split('.')
            .try_fold(content.variables.clone(), |value, part| {
                match part.parse::<usize>() {
                    Ok(index) => value.get_item(&Value::from(index)),
                    Err(_) => value.get_attr(part),
                }
            });
        value.unwrap().to_string()
    }

    #[test]
    fn an_event_keeps_its_columns_in_order_and_marks_what_changed() {
        let content = read(
            r#"{"id":"e","type":"sales.order.updated","time":"2026-11-21T08:00:00Z","data":
               {"before":{"id":1,"z":"a","b":1.50},"after":{"id":1,"z":"b","b":1.50}}}"#,
        );
        assert_eq!((content.kind, content.part), (Kind::Event, None));
        assert_eq!(content.time.unwrap().timestamp(), 1_795_248_000);
        assert_eq!(at(&content, "event.type"), "sales.order.updated");
        assert_eq!(at(&content, "fields.1.name"), "z");
        assert_eq!(at(&content, "fields.1.before"), "a");
        assert_eq!(at(&content, "fields.1.changed").to_lowercase(), "true");
        assert_eq!(at(&content, "fields.2.after"), "1.50");
        assert_eq!(at(&content, "fields.2.changed").to_lowercase(), "false");
    }

    #[test]
    fn a_digest_lists_so_many_objects_and_counts_the_rest() {
        let keys = |count: usize| {
            let keys: Vec<String> = (0..count)
                .map(|key| format!(r#"{{"key":"{key}","count":1}}"#))
                .collect();
            keys.join(",")
        };
        let content = read(&format!(
            r#"{{"type":"rowcall.digest","data":{{"part":2,"parts":3,"count":650,"events":[
               {{"type":"a","count":150,"keys":[{}]}},{{"type":"b","count":300,"keys":[{}]}},
               {{"type":"c","count":200,"keys":[{}]}}]}}}}"#,
            keys(150),
            keys(300),
            keys(200)
        ));
        assert_eq!((content.kind, content.part), (Kind::Digest, Some((2, 3))));
        assert_eq!(at(&content, "digest.events.0.more"), "0");
        assert_eq!(at(&content, "digest.events.1.more"), "250");
        assert_eq!(at(&content, "digest.events.1.keys.49.key"), "49");
        assert_eq!(at(&content, "digest.more"), "450");
        let events = content.variables.get_attr("digest").unwrap();
        assert_eq!(events.get_attr("events").unwrap().len(), Some(2));
    }

    #[test]
    fn net_effects_and_whole_events_have_their_columns() {
        let objects = read(
            r#"{"type":"rowcall.digest","data":{"objects":[{"key":"7","op":"update",
               "before":{"a":1},"after":{"a":2}}]}}"#,
        );
        assert_eq!(at(&objects, "digest.objects.0.fields.0.after"), "2");
        let items = read(
            r#"{"type":"rowcall.digest","data":{"items":[{"type":"t","data":{"after":{"a":2}}}]}}"#,
        );
        assert_eq!(at(&items, "digest.items.0.event.type"), "t");
        assert_eq!(at(&items, "digest.items.0.fields.0.after"), "2");
    }

    #[test]
    fn what_is_no_cloud_event_is_no_content() {
        for body in ["", "[]", "nonsense", "{\"a\":"] {
            assert!(Content::read(body.as_bytes(), &Value::from("s")).is_none());
        }
    }
}
