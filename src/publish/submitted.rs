//! An event that the API accepted: read from the change table, and what it is on the wire. Pure.
//!
//! Such an event is a change without a row: the CloudEvent as it was submitted. Its `id` and
//! `source` become `originid` and `originsource`, since on the wire an event has Rowcall's own; its
//! other attributes and its data are carried as they were written, to the byte.

use std::{borrow::Cow, fmt, fmt::Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::event::{Numbering, event_source};
use crate::catalog::operations::is_operational;

/// Extensions that Rowcall sets, and a publisher can't.
pub const RESERVED_EXTENSIONS: [&str; 3] = ["originid", "originsource", "sequence"];

/// Attributes that have a place of their own in the body.
const PLACED: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "traceparent",
    "data",
];

/// The members of a JSON object in their order, each with its value's text; none is there twice.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The text of a member; a null is as good as none (CloudEvents JSON format 1.0, section 2.2).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .filter(|value| value.get() != "null" || name == "data")
    }

    /// A member that is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        /// A name that is borrowed unless it holds an escape.
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("`{name}` is given twice")));
                    }
                    // A JSON object may be longer than a CloudEvent has attributes.
                    if members.len() == MEMBERS_MAX {
                        let text = format!("there are more than {MEMBERS_MAX} attributes");
                        return Err(A::Error::custom(text));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }

        input.deserialize_map(Object).map(Members)
    }
}

/// The most attributes of an event, its data included.
pub const MEMBERS_MAX: usize = 64;

/// An event as it was accepted.
#[derive(Debug)]
pub struct AcceptedEvent<'a> {
    /// The event type's name.
    pub event_type: String,
    /// The publisher's name for where it happened.
    pub source: String,
    /// The publisher's id, unique within `source`.
    pub id: String,
    /// What it is about: the object key's text, for those who are told.
    pub subject: Option<String>,
    /// When it happened, if the publisher says so.
    pub time: Option<DateTime<Utc>>,
    /// The text of `data`, if there is any.
    pub data: Option<&'a RawValue>,
    members: Members<'a>,
}

impl<'a> AcceptedEvent<'a> {
    /// Reads what the change table holds.
    ///
    /// # Errors
    ///
    /// Why it is no event; the API accepts none of which this could be said.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let members: Members<'a> =
            serde_json::from_str(text).map_err(|error| format!("it is no event: {error}"))?;
        let needed = |name: &str| {
            let text = members.text(name);
            text.ok_or_else(|| format!("it is no event: it has no `{name}`"))
        };
        Ok(Self {
            event_type: needed("type")?,
            source: needed("source")?,
            id: needed("id")?,
            subject: members.text("subject"),
            time: members
                .text("time")
                .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
                .map(|time| time.to_utc()),
            data: members.get("data"),
            members,
        })
    }

    /// What its order is kept by: where it happened, and about what. Events without a subject have
    /// no order.
    #[must_use]
    pub fn order(&self) -> Option<(&str, &str)> {
        Some((&self.source, self.subject.as_deref()?))
    }

    /// The body without its sequence. `accepted_at` and `traceparent` stand in where the publisher
    /// gave none.
    #[must_use]
    pub fn body(
        &self,
        number: Numbering<'_>,
        accepted_at: DateTime<Utc>,
        traceparent: Option<&str>,
    ) -> String {
        let given = |name: &str| self.members.get(name).map(|raw| raw.get().to_owned());
        // What Rowcall tells of itself has no other origin.
        let origin = |name: &str| given(name).filter(|_| !is_operational(&self.event_type));
        let time = accepted_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let partition = self
            .order()
            .map(|(source, subject)| quoted(&format!("{source}/{subject}")));
        let attributes = [
            ("id", Some(format!("\"{}\"", number.id))),
            ("source", Some(quoted(&event_source(number.source)))),
            ("type", given("type")),
            ("subject", given("subject")),
            ("time", given("time").or_else(|| Some(quoted(&time)))),
            (
                "datacontenttype",
                given("datacontenttype").or_else(|| self.data.map(|_| quoted("application/json"))),
            ),
            ("dataschema", given("dataschema")),
            ("partitionkey", given("partitionkey").or(partition)),
            (
                "traceparent",
                given("traceparent").or_else(|| traceparent.map(quoted)),
            ),
            ("originid", origin("id")),
            ("originsource", origin("source")),
        ];
        let data = self.data.map_or("", RawValue::get);
        let mut out = String::with_capacity(data.len() + 1024);
        out.push_str(r#"{"specversion":"1.0""#);
        for (name, value) in attributes {
            if let Some(value) = value {
                let _ = write!(out, r#","{name}":{value}"#);
            }
        }
        for (name, value) in self.members.iter() {
            let is_placed = PLACED.contains(&name) || RESERVED_EXTENSIONS.contains(&name);
            if !is_placed && value.get() != "null" {
                let _ = write!(out, ",{}:{value}", quoted(name));
            }
        }
        if self.data.is_some() {
            let _ = write!(out, r#","data":{data}"#);
        }
        out.push('}');
        out
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::publish::event::with_sequence;

    const ID: Uuid = Uuid::from_u128(0x019c_132c_0000_7000_8000_0000_0000_0001);

    fn number() -> Numbering<'static> {
        Numbering {
            source: "default",
            id: ID,
            position: 1,
        }
    }

    fn body(text: &str) -> String {
        let at = "2026-01-31T08:00:00.25Z".parse().unwrap();
        AcceptedEvent::parse(text)
            .unwrap()
            .body(number(), at, Some("00-1"))
    }

    #[test]
    fn the_wire_has_rowcalls_id_and_the_publishers_beside_it() {
        let text = r#"{ "specversion": "1.0", "type": "sales.campaign.opened", "id": "a\u002f1",
            "source": "/shop", "subject": "42", "priority": 3, "urgent":true, "gone": null,
            "data": {"n" : 1.10,  "n2": "\u00e4"} }"#;
        assert_eq!(
            body(text),
            format!(r#"{{"specversion":"1.0","id":"{ID}","source":"/rowcall/default","#)
                + r#""type":"sales.campaign.opened","subject":"42","#
                + r#""time":"2026-01-31T08:00:00.250000Z","datacontenttype":"application/json","#
                + r#""partitionkey":"/shop/42","traceparent":"00-1","originid":"a\u002f1","#
                + r#""originsource":"/shop","priority":3,"urgent":true,"#
                + r#""data":{"n" : 1.10,  "n2": "\u00e4"}}"#
        );
    }

    #[test]
    fn what_the_publisher_gave_goes_before() {
        let given = json!({"specversion": "1.0", "type": "x", "id": "1", "source": "s",
            "time": "2026-01-01T09:00:00+01:00", "datacontenttype": "application/vnd.x+json",
            "dataschema": "https://example.com/s", "partitionkey": "p", "traceparent": "00-2",
            "data": null});
        let body: Value = serde_json::from_str(&body(&given.to_string())).unwrap();
        for name in [
            "time",
            "datacontenttype",
            "dataschema",
            "partitionkey",
            "traceparent",
            "data",
        ] {
            assert_eq!(body[name], given[name], "{name}");
        }
        let text = given.to_string();
        let event = AcceptedEvent::parse(&text).unwrap();
        assert_eq!(event.time, Some("2026-01-01T08:00:00Z".parse().unwrap()));
        assert_eq!(event.order(), None);
    }

    #[test]
    fn without_data_there_is_neither_data_nor_its_type() {
        let text = body(r#"{"type":"x","id":"1","source":"s"}"#);
        assert!(!text.contains("data"), "{text}");
    }

    #[test]
    fn what_is_no_event_is_told() {
        for (text, says) in [
            ("[]", "expected a JSON object"),
            (r#"{"type":"x","id":"1"}"#, "it has no `source`"),
            (r#"{"type":1,"id":"1","source":"s"}"#, "it has no `type`"),
            (r#"{"id":"1","\u0069d":"2"}"#, "`id` is given twice"),
        ] {
            let fault = AcceptedEvent::parse(text).unwrap_err();
            assert!(fault.contains(says), "{fault}");
        }
        let many: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("\"a{n}\":1")).collect();
        let fault = AcceptedEvent::parse(&format!("{{{}}}", many.join(","))).unwrap_err();
        assert!(fault.contains("more than 64 attributes"), "{fault}");
    }

    /// Any JSON, written with white space and escapes that a second writing would not keep.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1.10".to_owned()),
            Just("-0".to_owned()),
            Just("1e400".to_owned()),
            Just(r#""\u00e4\/\u0000""#.to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| quoted(&text)),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[ {}]", items.join(" ,"))),
                proptest::collection::vec((any::<String>(), inner), 0..4).prop_map(|members| {
                    let members = members
                        .iter()
                        .map(|(name, value)| format!("{} :\t{value}", quoted(name)));
                    format!("{{{} }}", members.collect::<Vec<_>>().join(",\n"))
                }),
            ]
        })
    }

    #[derive(Deserialize)]
    struct Read<'a> {
        id: String,
        originid: String,
        subject: String,
        sequence: String,
        #[serde(borrow)]
        extra: &'a RawValue,
        #[serde(borrow)]
        data: &'a RawValue,
    }

    proptest! {
        #[test]
        fn data_survives_byte_for_byte(
            data in json_text(),
            id in any::<String>(),
            subject in any::<String>(),
            extra in any::<i32>(),
        ) {
            let text = format!(
                r#"{{"data": {data} ,"id":{},"source":"s","type":"x","subject":{},"extra":{extra}}}"#,
                quoted(&id),
                quoted(&subject)
            );
            let body = with_sequence(&body(&text), 7);
            let read: Read<'_> = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(read.data.get(), data);
            prop_assert_eq!(read.extra.get(), extra.to_string());
            prop_assert_eq!(read.originid, id);
            prop_assert_eq!(read.subject, subject);
            prop_assert_eq!(read.id, ID.to_string());
            prop_assert_eq!(read.sequence, "00000000000000000007");
        }

        #[test]
        fn no_json_is_a_panic(text in json_text()) {
            if let Ok(event) = AcceptedEvent::parse(&text) {
                let _ = event.body(number(), DateTime::<Utc>::UNIX_EPOCH, None);
            }
        }

        /// Objects with the names that matter, and any values.
        #[test]
        fn no_object_is_a_panic(
            members in proptest::collection::btree_map(
                proptest::sample::select(&PLACED[..]),
                json_text(),
                0..8,
            ),
        ) {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            if let Ok(event) = AcceptedEvent::parse(&format!("{{{}}}", members.join(","))) {
                let body = event.body(number(), DateTime::<Utc>::UNIX_EPOCH, Some("\""));
                prop_assert!(serde_json::from_str::<&RawValue>(&body).is_ok(), "{body}");
            }
        }
    }
}
