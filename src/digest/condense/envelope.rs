//! The CloudEvent that a part of a digest is (design section 8). Pure.
//!
//! All but the items is the same for every part but for two numbers, the part's own and how many
//! there are. The second is known last, so parts are stored as items first and wrapped at the end.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{catalog::model::DEFAULT_SOURCE, subscription::model::Condense};

/// The most digits of a part's number.
const PART_DIGITS_MAX: usize = 10;

/// What a digest's parts have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    pub(super) id: Uuid,
    pub(super) subscription: &'a str,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// All events of the digest, those that vanished included.
    pub(super) count: i64,
    pub(super) condense: Condense,
    /// Which group they are, if the digest is divided into groups.
    pub(super) group: Option<Group<'a>>,
    /// Parts of the groups before it.
    pub(super) parts_before: u32,
}

/// A group of a digest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group<'a> {
    /// Its name as JSON: a string or null.
    Named(&'a str),
    /// All groups that are too many to have parts of their own.
    Rest,
}

/// The text round the items of a part: `begin N middle N to_parts PARTS to_items ITEMS end`. The
/// first number is that in the digest, the second that in the group.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) begin: String,
    pub(super) middle: String,
    pub(super) to_parts: &'static str,
    pub(super) to_items: String,
    pub(super) end: &'static str,
    /// A part's number in its id is so much larger than in its group.
    pub(super) parts_before: u32,
}

impl Envelope {
    pub(super) fn of(heading: &Heading<'_>) -> Self {
        // A string always serialises.
        let name = serde_json::to_string(heading.subscription).unwrap_or_default();
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let (from, to) = (time(heading.from), time(heading.to));
        let items = match heading.condense {
            Condense::Keys => "events",
            Condense::NetEffect => "objects",
            Condense::None => "items",
        };
        let group = match heading.group {
            None => String::new(),
            Some(Group::Named(name)) => format!(r#","group":{name}"#),
            Some(Group::Rest) => r#","group":null,"rest":true"#.to_owned(),
        };
        Self {
            begin: format!(r#"{{"specversion":"1.0","id":"{}."#, heading.id),
            middle: format!(
                concat!(
                    r#"","source":"/rowcall/{source}","type":"rowcall.digest","subject":{name},"#,
                    r#""time":"{to}","datacontenttype":"application/json","data":"#,
                    r#"{{"subscription":{name},"window":{{"from":"{from}","to":"{to}"}},"part":"#,
                ),
                source = DEFAULT_SOURCE,
                name = name,
                from = from,
                to = to,
            ),
            to_parts: r#","parts":"#,
            to_items: format!(r#","count":{}{group},"{items}":["#, heading.count),
            end: "]}}",
            parts_before: heading.parts_before,
        }
    }

    /// The whole body of part number `part` of the `parts` of its group.
    pub(super) fn body(&self, part: u32, parts: u32, items: &str) -> String {
        let Self {
            begin,
            middle,
            to_parts,
            to_items,
            end,
            parts_before,
        } = self;
        let number = parts_before + part;
        format!("{begin}{number}{middle}{part}{to_parts}{parts}{to_items}{items}{end}")
    }

    /// The most bytes that a body has besides its items.
    pub(super) fn bytes_max(&self) -> usize {
        let texts = [
            &*self.begin,
            &self.middle,
            self.to_parts,
            &self.to_items,
            self.end,
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + 3 * PART_DIGITS_MAX
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_body_is_the_cloud_event_that_the_design_shows() {
        let at = |text| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let heading = Heading {
            id: Uuid::nil(),
            subscription: "morning-\"digest\"",
            from: at("2026-03-01T07:00:00Z"),
            to: at("2026-03-02T07:00:00.5Z"),
            count: 3,
            condense: Condense::None,
            group: None,
            parts_before: 0,
        };
        let envelope = Envelope::of(&heading);
        let body = envelope.body(2, 12, r#"{"a":1},{"b":2}"#);
        let expected = json!({
            "specversion": "1.0",
            "id": "00000000-0000-0000-0000-000000000000.2",
            "source": "/rowcall/default",
            "type": "rowcall.digest",
            "subject": "morning-\"digest\"",
            "time": "2026-03-02T07:00:00.500000Z",
            "datacontenttype": "application/json",
            "data": {
                "subscription": "morning-\"digest\"",
                "window": {
                    "from": "2026-03-01T07:00:00.000000Z",
                    "to": "2026-03-02T07:00:00.500000Z",
                },
                "part": 2,
                "parts": 12,
                "count": 3,
                "items": [{"a": 1}, {"b": 2}],
            },
        });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        assert!(body.len() <= envelope.bytes_max() + r#"{"a":1},{"b":2}"#.len());
    }
    #[test]
    fn a_group_names_itself_and_goes_on_in_the_ids() {
        let heading = |group| Heading {
            id: Uuid::nil(),
            subscription: "news",
            from: DateTime::UNIX_EPOCH,
            to: DateTime::UNIX_EPOCH,
            count: 3,
            condense: Condense::Keys,
            group: Some(group),
            parts_before: 7,
        };
        let read = |group| -> Value {
            let body = Envelope::of(&heading(group)).body(2, 2, "");
            serde_json::from_str(&body).unwrap()
        };
        let named = read(Group::Named(r#""E\"U""#));
        assert_eq!(named["id"], "00000000-0000-0000-0000-000000000000.9");
        let data = &named["data"];
        assert_eq!((&data["part"], &data["parts"]), (&json!(2), &json!(2)));
        assert_eq!(
            (&data["group"], &data["rest"]),
            (&json!("E\"U"), &Value::Null)
        );
        let rest = &read(Group::Rest)["data"];
        assert_eq!(
            (&rest["group"], &rest["rest"]),
            (&Value::Null, &json!(true))
        );
        assert!(rest.as_object().unwrap().contains_key("group"));
    }
}
