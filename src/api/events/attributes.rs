//! Whether a submitted CloudEvent is one (CloudEvents 1.0.2, JSON format 1.0.2). Pure.

use chrono::DateTime;
use serde_json::{Value, value::RawValue};
use sha2::{Digest as _, Sha256};

use crate::{
    nearest::did_you_mean,
    publish::submitted::{Members, RESERVED_EXTENSIONS},
};

/// The longest attribute, in bytes. Source and id together are a key of an index, which holds no
/// more than 2,704.
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// The longest name of an extension, in characters; the specification advises 20.
pub(super) const EXTENSION_NAME_CHARS_MAX: usize = 64;

/// The attributes that the specification has, `data` among them.
const SPECIFIED: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
];

/// What is looked at of an event whose attributes are right.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) traceparent: Option<String>,
}

/// Checks everything but `type` against the catalogue and `data` against its schema. `note` is told
/// of each fault: the attribute, and what to do. `None`, if there was any.
pub(super) fn check(
    members: &Members<'_>,
    note: &mut impl FnMut(&str, String),
) -> Option<Attributes> {
    let mut faults = 0;
    let mut note = |name: &str, text: String| {
        faults += 1;
        note(name, text);
    };
    let id = needed(members, "id", &mut note);
    let source = needed(members, "source", &mut note);
    needed(members, "type", &mut note);
    if let Some(version) = needed(members, "specversion", &mut note)
        && version != "1.0"
    {
        note("specversion", "the version is \"1.0\"".to_owned());
    }
    if source
        .as_deref()
        .is_some_and(|text| !is_uri_reference(text))
    {
        let text = "a URI or a relative one is expected, such as `/shop/berlin`";
        note("source", text.to_owned());
    }
    optional(members, "subject", &mut note);
    if let Some(time) = optional(members, "time", &mut note)
        && DateTime::parse_from_rfc3339(&time).is_err()
    {
        let text = "a time such as 2026-01-31T08:00:00Z is expected (RFC 3339)";
        note("time", text.to_owned());
    }
    if let Some(schema) = optional(members, "dataschema", &mut note)
        && !(is_uri_reference(&schema) && url::Url::parse(&schema).is_ok())
    {
        let text = "a URI is expected, such as `https://example.com/schema.json`";
        note("dataschema", text.to_owned());
    }
    if let Some(media_type) = optional(members, "datacontenttype", &mut note)
        && !is_json(&media_type)
    {
        let text = "events carry JSON: leave it out, or write `application/json` or a type that \
                    ends in `+json`";
        note("datacontenttype", text.to_owned());
    }
    let mut traceparent = None;
    for (name, value) in members.iter() {
        if !SPECIFIED.contains(&name) {
            check_extension(name, value, &mut note);
        }
        if name == "traceparent" {
            traceparent = members.text(name);
        }
    }
    (faults == 0).then_some(())?;
    Some(Attributes {
        id: id?,
        source: source?,
        traceparent,
    })
}

/// A string that must be there.
fn needed(
    members: &Members<'_>,
    name: &str,
    note: &mut impl FnMut(&str, String),
) -> Option<String> {
    if members.get(name).is_none() {
        let hint = did_you_mean(
            name,
            members
                .iter()
                .map(|(name, _)| name)
                .filter(|name| !SPECIFIED.contains(name)),
        );
        note(name, format!("it is missing{hint}"));
        return None;
    }
    optional(members, name, note)
}

/// A string that may be there, and then is not empty.
fn optional(
    members: &Members<'_>,
    name: &str,
    note: &mut impl FnMut(&str, String),
) -> Option<String> {
    let value = members.get(name)?;
    let fault = match serde_json::from_str::<Value>(value.get()) {
        Ok(Value::String(text)) => match text_fault(&text) {
            None if text.is_empty() => "it must not be empty".to_owned(),
            None => return Some(text),
            Some(fault) => fault,
        },
        _ => "a string is expected".to_owned(),
    };
    note(name, fault);
    None
}

/// Strings are of printable characters (section "Type System").
fn text_fault(text: &str) -> Option<String> {
    if text.len() > ATTRIBUTE_BYTES_MAX {
        let bytes = text.len();
        return Some(format!("{bytes} bytes; the limit is {ATTRIBUTE_BYTES_MAX}"));
    }
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    text.chars()
        .any(|c| c.is_control() || is_noncharacter(c))
        .then(|| "it holds a character that CloudEvents does not allow in a string".to_owned())
}

fn check_extension(name: &str, value: &RawValue, note: &mut impl FnMut(&str, String)) {
    if name == "data_base64" {
        let text = "the data of an event type with a JSON Schema is JSON: send `data`";
        return note(name, text.to_owned());
    }
    if RESERVED_EXTENSIONS.contains(&name) {
        return note(name, "Rowcall sets it; leave it out".to_owned());
    }
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name || name.len() > EXTENSION_NAME_CHARS_MAX {
        let hint = did_you_mean(name, SPECIFIED);
        let text = format!(
            "the name of an extension is 1 to {EXTENSION_NAME_CHARS_MAX} lower-case letters and \
             digits{hint}"
        );
        return note(name, text);
    }
    let fault = match serde_json::from_str::<Value>(value.get()) {
        Ok(Value::Null | Value::Bool(_)) => None,
        Ok(Value::Number(number)) => {
            let is_integer = number
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok());
            (!is_integer).then(|| "a number is an integer of 32 bits".to_owned())
        }
        Ok(Value::String(text)) => text_fault(&text),
        _ => Some("an extension is a string, an integer or a boolean".to_owned()),
    };
    if let Some(fault) = fault {
        note(name, fault);
    }
}

/// Whether the text has only characters that a URI may have (RFC 3986, section 2).
fn is_uri_reference(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte);
        let is_escape = byte == b'%'
            && bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())
            && bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        if !is_plain && !is_escape {
            return false;
        }
    }
    !text.is_empty()
}

/// Whether a media type is JSON.
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    !kind.is_empty() && (subtype == "json" || subtype.ends_with("+json") && subtype.len() > 5)
}

/// Names an event's content: two with the same name are the same, apart from white space and from
/// the order of their attributes.
pub(super) fn content_digest(members: &Members<'_>) -> [u8; 32] {
    let mut sorted: Vec<(&str, &RawValue)> = members
        .iter()
        .filter(|(name, _)| members.get(name).is_some())
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    for (name, value) in sorted {
        // JSON holds no zero bytes, so none can be taken for an end.
        hash.update(name);
        hash.update([0]);
        hash.update(without_white_space(value.get()));
        hash.update([0]);
    }
    hash.finalize().into()
}

/// JSON without what may stand between its parts.
fn without_white_space(json: &str) -> Vec<u8> {
    let (mut is_inside, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let is_kept = is_inside || !byte.is_ascii_whitespace();
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_inside,
            b'"' => is_inside = !is_inside,
            _ => {}
        }
        is_kept
    };
    json.bytes().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn faults(event: &str) -> Vec<(String, String)> {
        let members: Members<'_> = serde_json::from_str(event).unwrap();
        let mut faults = Vec::new();
        let read = check(&members, &mut |name, text| {
            faults.push((name.to_owned(), text));
        });
        assert_eq!(read.is_some(), faults.is_empty(), "{event}");
        faults
    }

    #[test]
    fn each_rule_has_its_attribute() {
        let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
        let long_name = "a".repeat(EXTENSION_NAME_CHARS_MAX + 1);
        for (name, value, says) in [
            ("id", json!(""), Some("must not be empty")),
            ("id", json!(7), Some("a string is expected")),
            ("id", json!(null), Some("missing")),
            ("id", json!(long), Some("1025 bytes; the limit is 1024")),
            ("id", json!("a\u{0}"), Some("does not allow")),
            ("id", json!("a\u{85}"), Some("does not allow")),
            ("id", json!("a\u{1ffff}"), Some("does not allow")),
            ("id", json!("\u{e4} \u{1f600}"), None),
            ("source", json!("/a b"), Some("a URI or a relative one")),
            ("source", json!("/a%2"), Some("a URI or a relative one")),
            ("source", json!("urn:a:b%2F?x#y"), None),
            ("specversion", json!("0.3"), Some("the version is")),
            ("subject", json!(""), Some("must not be empty")),
            ("subject", json!("any text / at all"), None),
            ("time", json!("2026-01-31"), Some("RFC 3339")),
            ("time", json!("2026-01-31T08:00:00.123456789+01:00"), None),
            ("dataschema", json!("/relative"), Some("a URI is expected")),
            ("dataschema", json!("https://example.com/s"), None),
            ("datacontenttype", json!("text/xml"), Some("carry JSON")),
            (
                "datacontenttype",
                json!("application/vnd.x+JSON; v=1"),
                None,
            ),
            ("data_base64", json!("AA=="), Some("send `data`")),
            ("sequence", json!("1"), Some("Rowcall sets it")),
            ("originid", json!("1"), Some("Rowcall sets it")),
            (
                "my_extension",
                json!("1"),
                Some("lower-case letters and digits"),
            ),
            ("Subject", json!("1"), Some("did you mean `subject`?")),
            (&long_name, json!("1"), Some("1 to 64")),
            (
                "extension",
                json!({}),
                Some("a string, an integer or a boolean"),
            ),
            (
                "extension",
                json!([]),
                Some("a string, an integer or a boolean"),
            ),
            ("extension", json!(2_147_483_648_i64), Some("32 bits")),
            ("extension", json!(1.5), Some("32 bits")),
            ("extension", json!(-2_147_483_648_i64), None),
            ("extension", json!(true), None),
            ("extension", json!(null), None),
            ("extension", json!(""), None),
            ("extension", json!(long), Some("1025 bytes")),
            ("traceparent", json!("00-1"), None),
        ] {
            let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "x"});
            event[name] = value.clone();
            let found = faults(&event.to_string());
            match says {
                None => assert_eq!(found, [], "{name}: {value}"),
                Some(says) => {
                    assert_eq!(found.len(), 1, "{name}: {value}: {found:?}");
                    let (at, text) = &found[0];
                    assert!(at == name && text.contains(says), "{name}: {found:?}");
                }
            }
        }
        assert_eq!(faults("{}").len(), 4);
        let misspelt = faults(r#"{"specversion":"1.0","ids":"1","source":"/s","type":"x"}"#);
        assert!(
            misspelt[0].1.contains("did you mean `ids`?"),
            "{misspelt:?}"
        );
    }

    fn digest(event: &str) -> [u8; 32] {
        content_digest(&serde_json::from_str(event).unwrap())
    }

    #[test]
    fn content_is_compared_without_white_space_and_order() {
        let one = digest(r#"{"id":"1","data":{"a":" \" x","b":[1,2]},"type":"x"}"#);
        let spaced = "{ \"type\" : \"x\",\n\"id\":\"1\", \"gone\": null,\
                      \"data\": {\"a\": \" \\\" x\" , \"b\":\t[1 ,2]}}";
        assert_eq!(one, digest(spaced));
        for other in [
            r#"{"id":"1","data":{"a":"\" x","b":[1,2]},"type":"x"}"#,
            r#"{"id":"1","data":{"a":" \" x","b":[1,2.0]},"type":"x"}"#,
            r#"{"id":"1","data":{"a":" \" x","b":[1,2]},"type":"y"}"#,
            r#"{"id":"1","data":{"a":" \" x","b":[1,2]}}"#,
            r#"{"id":"1","data":{"a":" \" x","b":[1,2]},"type":"x","u":""}"#,
        ] {
            assert_ne!(one, digest(other), "{other}");
        }
        assert_ne!(digest(r#"{"data":null}"#), digest("{}"));
    }

    proptest! {
        #[test]
        fn white_space_is_all_that_is_left_out(value in any::<String>(), other in any::<String>()) {
            let json = json!({"a": value, "b": [other, 1.5, null]});
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            prop_assert_eq!(without_white_space(&pretty), json.to_string().into_bytes());
        }

        #[test]
        fn no_attribute_is_a_panic(name in any::<String>(), value in any::<String>()) {
            let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "x"});
            event[name] = json!(value);
            let _ = faults(&event.to_string());
        }
    }
}
