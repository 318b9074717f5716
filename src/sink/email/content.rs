//! What a message says, ready for a template: the variables of docs/EMAIL.md.

use chrono::{DateTime, Utc};
use minijinja::Value;
use serde_json::value::RawValue;

use super::data::{Budget, DIGEST_VALUE_CHARS_MAX, Members, VALUE_CHARS_MAX, map};
use crate::catalog::model::DIGEST_EVENT_TYPE;

/// The most objects (of a digest by keys or by net effect) or events (of one that keeps all) that a
/// mail lists; of the rest it gives the number.
pub const ROWS_MAX: usize = 200;
/// The most columns that a mail shows of one event.
pub const FIELDS_MAX: usize = 100;
/// The most columns that it shows of one object in a digest.
pub const DIGEST_ROW_FIELDS_MAX: usize = 20;
/// The most columns that it shows of all objects in a digest.
pub const DIGEST_FIELDS_MAX: usize = 1_000;

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
        let time = envelope.text("time").and_then(|time| moment(&time));
        let is_digest = envelope.text("type").as_deref() == Some(DIGEST_EVENT_TYPE);
        let (kind, part, mut variables) = if is_digest {
            let data = envelope.get("data").map(Members::of).unwrap_or_default();
            let part = (
                data.number("part").unwrap_or(1),
                data.number("parts").unwrap_or(1),
            );
            let digest = digest(&data, &mut Budget::new(DIGEST_VALUE_CHARS_MAX));
            let part = (part.1 > 1).then_some(part);
            (Kind::Digest, part, vec![("digest", digest)])
        } else {
            let (event, fields) = event(&envelope, &mut Budget::new(VALUE_CHARS_MAX));
            (
                Kind::Event,
                None,
                vec![("event", event), ("fields", fields)],
            )
        };
        variables.push(("subscription", subscription.clone()));
        Some(Self {
            kind,
            variables: map(variables),
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
    let fields = fields(&data, false, FIELDS_MAX, budget);
    (members(envelope, &[], budget), Value::from(fields))
}

/// The members of an object without `left_out`.
fn members(object: &Members<'_>, left_out: &[&str], budget: &mut Budget) -> Value {
    let members = object.0.iter().take(FIELDS_MAX);
    let kept = members.filter(|(name, _)| !left_out.contains(&name.as_ref()));
    let kept: Vec<_> = kept
        .map(|(name, json)| (budget.text(name), budget.value(Some(json))))
        .collect();
    map(kept)
}

/// The columns of a row before and after, in the table's order, those that differ marked. Of an
/// update `changed_only` keeps the latter.
fn fields(
    data: &Members<'_>,
    changed_only: bool,
    count_max: usize,
    budget: &mut Budget,
) -> Vec<Value> {
    let image = |name| data.get(name).map(Members::of).unwrap_or_default();
    let (before, after) = (image("before"), image("after"));
    let row = if after.0.is_empty() { &before } else { &after };
    let is_update = !before.0.is_empty() && !after.0.is_empty();
    let mut fields = Vec::new();
    for (name, _) in row.0.iter().take(FIELDS_MAX) {
        let (old, new) = (before.get(name), after.get(name));
        let has_changed = is_update && old.map(RawValue::get) != new.map(RawValue::get);
        if changed_only && is_update && !has_changed {
            continue;
        }
        if fields.len() >= count_max {
            break;
        }
        fields.push(map([
            ("name", budget.text(name)),
            ("before", budget.value(old)),
            ("after", budget.value(new)),
            ("changed", Value::from(has_changed)),
        ]));
    }
    fields
}

/// A digest as on the wire; of its lists what a mail can show, and `more`, the number of the rest.
fn digest(data: &Members<'_>, budget: &mut Budget) -> Value {
    let mut members = [
        "subscription",
        "window",
        "part",
        "parts",
        "count",
        "group",
        "rest",
    ]
    .map(|name| (name, budget.value(data.get(name))))
    .to_vec();
    let mut rows = Rows {
        rows_left: ROWS_MAX,
        fields_left: DIGEST_FIELDS_MAX,
        more: 0,
    };
    if let Some(groups) = data.list("events") {
        let groups = groups.into_iter().map(|group| rows.group(group, budget));
        members.push(("events", Value::from(groups.flatten().collect::<Vec<_>>())));
    }
    if let Some(objects) = data.list("objects") {
        let shown = rows.take(objects).into_iter();
        let objects = shown.map(|object| rows.object(object, budget));
        members.push(("objects", Value::from(objects.collect::<Vec<_>>())));
    }
    if let Some(items) = data.list("items") {
        let items = rows
            .take(items)
            .into_iter()
            .map(|item| rows.item(item, budget));
        members.push(("items", Value::from(items.collect::<Vec<_>>())));
    }
    members.push(("more", Value::from(rows.more)));
    map(members)
}

/// Counts what a mail lists, and what it leaves out.
struct Rows {
    rows_left: usize,
    fields_left: usize,
    more: usize,
}

impl Rows {
    fn take<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        let shown = list.len().min(self.rows_left);
        self.rows_left -= shown;
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
        if keys.is_empty() && (count > 0 || self.rows_left == 0) {
            return None;
        }
        let more = count - keys.len();
        let keys = keys.into_iter().map(Members::of);
        let keys: Vec<Value> = keys.map(|key| members(&key, &[], budget)).collect();
        Some(map([
            ("type", budget.value(group.get("type"))),
            ("object_type", budget.value(group.get("object_type"))),
            ("count", budget.value(group.get("count"))),
            ("keys", Value::from(keys)),
            ("more", Value::from(more)),
        ]))
    }

    /// An object of a digest by net effect.
    fn object(&mut self, json: &RawValue, budget: &mut Budget) -> Value {
        let object = Members::of(json);
        let fields = self.fields(&object, budget);
        let mut members: Vec<(&str, Value)> = vec![("fields", fields)];
        for name in ["object_type", "key", "op", "count"] {
            members.push((name, budget.value(object.get(name))));
        }
        map(members)
    }

    /// An event of a digest that keeps all; its row is in `fields` alone.
    fn item(&mut self, json: &RawValue, budget: &mut Budget) -> Value {
        let envelope = Members::of(json);
        let data = envelope.get("data").map(Members::of).unwrap_or_default();
        map([
            ("event", members(&envelope, &["data"], budget)),
            ("data", members(&data, &["before", "after"], budget)),
            ("fields", self.fields(&data, budget)),
        ])
    }

    fn fields(&mut self, data: &Members<'_>, budget: &mut Budget) -> Value {
        let count_max = DIGEST_ROW_FIELDS_MAX.min(self.fields_left);
        let fields = fields(data, true, count_max, budget);
        self.fields_left -= fields.len();
        Value::from(fields)
    }
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
            r#"{{"type":"rowcall.digest","data":{{"part":2,"parts":3,"count":650,"group":"EU","events":[
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
        assert_eq!(at(&content, "digest.group"), "EU");
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
    fn a_digest_shows_so_many_columns_of_an_object_and_of_all() {
        let columns: Vec<String> = (0..30).map(|column| format!("\"c{column}\":1")).collect();
        let object = format!(r#"{{"op":"create","after":{{{}}}}}"#, columns.join(","));
        let objects = vec![object; 100].join(",");
        let content = read(&format!(
            r#"{{"type":"rowcall.digest","data":{{"objects":[{objects}]}}}}"#
        ));
        let fields = |object: usize| {
            let digest = content.variables.get_attr("digest").unwrap();
            let object = digest
                .get_attr("objects")
                .unwrap()
                .get_item_by_index(object);
            object.unwrap().get_attr("fields").unwrap().len().unwrap()
        };
        let shown: Vec<usize> = (0..100).map(fields).collect();
        assert_eq!(shown[0], DIGEST_ROW_FIELDS_MAX);
        assert_eq!(shown.iter().sum::<usize>(), DIGEST_FIELDS_MAX);
    }

    #[test]
    fn what_is_no_cloud_event_is_no_content() {
        for body in ["", "[]", "nonsense", "{\"a\":"] {
            assert!(Content::read(body.as_bytes(), &Value::from("s")).is_none());
        }
    }
}
