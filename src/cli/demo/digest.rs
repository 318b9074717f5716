//! A digest's part as a receiver reads it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::receipt::Print;

/// A part of a digest.
#[derive(Clone, Debug)]
pub(super) struct DigestPart {
    pub(super) digest: Uuid,
    pub(super) part: u32,
    pub(super) parts: u32,
    /// Events of the whole digest.
    pub(super) count: i64,
    /// From and to; of a mail it is not read.
    pub(super) window: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Of a mail they are not read.
    pub(super) entries: Vec<Entry>,
    pub(super) body: Print,
}

/// What a digest tells of one object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Of a net effect there is none.
    pub(super) event_type: Option<String>,
    /// Object type and object key, parted by a slash.
    pub(super) object: String,
    pub(super) count: i64,
    pub(super) before: Print,
    pub(super) after: Print,
}

impl DigestPart {
    /// The id on the wire.
    pub(super) fn id(&self) -> String {
        format!("{}.{}", self.digest, self.part)
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    window: Window,
    part: u32,
    parts: u32,
    count: i64,
    #[serde(default)]
    events: Vec<Group>,
    #[serde(borrow, default)]
    objects: Vec<Object<'a>>,
}

#[derive(Deserialize)]
struct Window {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Group {
    r#type: String,
    object_type: String,
    keys: Vec<Keyed>,
}

#[derive(Deserialize)]
struct Keyed {
    #[serde(deserialize_with = "key_text")]
    key: String,
    count: i64,
}

#[derive(Deserialize)]
struct Object<'a> {
    object_type: String,
    #[serde(deserialize_with = "key_text")]
    key: String,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    count: i64,
}

/// Reads a part whose `webhook-id` was `id`; or says what is wrong with it.
pub(super) fn read(id: &str, body: &[u8]) -> Result<DigestPart, String> {
    let read: Body<'_> =
        serde_json::from_slice(body).map_err(|error| format!("the body can't be read: {error}"))?;
    let (digest, part) = read_id(id).ok_or("webhook-id is no part of a digest")?;
    let data = read.data;
    if read.id != id || part != data.part {
        return Err("webhook-id is not the part's id".to_owned());
    }
    let groups = data.events.into_iter().flat_map(|group| {
        let Group {
            r#type,
            object_type,
            keys,
        } = group;
        keys.into_iter().map(move |Keyed { key, count }| Entry {
            event_type: Some(r#type.clone()),
            object: format!("{object_type}/{key}"),
            count,
            before: Print::of_image(None),
            after: Print::of_image(None),
        })
    });
    let objects = data.objects.into_iter().map(|object| Entry {
        event_type: None,
        object: format!("{}/{}", object.object_type, object.key),
        count: object.count,
        before: Print::of_image(object.before),
        after: Print::of_image(object.after),
    });
    Ok(DigestPart {
        digest,
        part,
        parts: data.parts,
        count: data.count,
        window: Some((data.window.from, data.window.to)),
        entries: groups.chain(objects).collect(),
        body: Print::of(body),
    })
}

/// The digest and the number of a part's id.
pub(super) fn read_id(id: &str) -> Option<(Uuid, u32)> {
    let (digest, part) = id.split_once('.')?;
    Some((digest.parse().ok()?, part.parse().ok()?))
}

/// An object key as text: its values in their order. The demo's need no escapes.
fn key_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Key;
    impl<'de> Visitor<'de> for Key {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object key")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
            let mut values = Vec::new();
            while let Some((_, value)) = map.next_entry::<String, Value>()? {
                values.push(match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
            }
            Ok(values.join("/"))
        }
    }
    deserializer.deserialize_map(Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1ff9d-ecdb-7579-a718-646930f087ee.2";

    fn body(data: &str) -> String {
        let window = r#"{"from":"2026-11-21T08:00:00.000000Z","to":"2026-11-21T08:00:05.000000Z"}"#;
        format!(
            r#"{{"id":"{ID}","data":{{"window":{window},"part":2,"parts":3,"count":7,{data}}}}}"#
        )
    }

    #[test]
    fn keys_and_net_effects_are_read() {
        let keys = body(
            r#""events":[{"type":"a.b.created","object_type":"a.b","count":3,
                "keys":[{"key":{"order_id":42,"line":1},"count":2},{"key":{"order_id":43,"line":9},"count":1}]}]"#,
        );
        let part = read(ID, keys.as_bytes()).unwrap();
        assert_eq!((part.part, part.parts, part.count), (2, 3, 7));
        assert_eq!(part.id(), ID);
        let told: Vec<_> = part
            .entries
            .iter()
            .map(|entry| (entry.object.as_str(), entry.count))
            .collect();
        assert_eq!(told, [("a.b/42/1", 2), ("a.b/43/9", 1)]);

        let effects = body(
            r#""objects":[{"object_type":"a.b","key":{"sku":"x"},"op":"create","before":null,
                "after":{"n": 1},"count":4}]"#,
        );
        let part = read(ID, effects.as_bytes()).unwrap();
        assert_eq!(part.entries[0].object, "a.b/x");
        assert_eq!(part.entries[0].before, Print::of(b"null"));
        assert_eq!(part.entries[0].after, Print::of(br#"{"n": 1}"#));
    }

    #[test]
    fn another_id_is_refused() {
        let other = ID.replace(".2", ".1");
        let refused = read(&other, body(r#""events":[]"#).as_bytes()).unwrap_err();
        assert!(refused.contains("not the part's id"), "{refused}");
        assert!(read("2", body(r#""events":[]"#).as_bytes()).is_err());
    }
}
