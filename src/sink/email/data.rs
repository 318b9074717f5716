//! JSON as templates see it: bounded, in its own order, and with its numbers unchanged.
//!
//! A row is written by somebody else and may be megabytes long; a mail shows a piece of it. What is
//! cut ends in `…`. Integers are numbers; a number with a fraction or an exponent stays the text it
//! was, for a float would show 1.10 as 1.1 and lose digits of a numeric.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use minijinja::Value;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The longest text that a template sees of one value of a single event, in characters.
pub const VALUE_CHARS_MAX: usize = 1_000;
/// The same in a digest, which shows many.
pub const DIGEST_VALUE_CHARS_MAX: usize = 200;
/// The most that a template sees of one message, in bytes of names and values. Six times that, the
/// most that escaping makes of it, fits in a mail.
pub const CONTENT_BYTES_MAX: usize = 128 * 1024;
/// The most entries of one list or object.
pub const ENTRIES_MAX: usize = 200;
/// How deep lists and objects are followed; below that their JSON text is shown.
const DEPTH_MAX: usize = 16;

/// The members of a JSON object, in their order.
#[derive(Default)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; anything else has no members.
    pub(super) fn of(json: &'a RawValue) -> Self {
        serde_json::from_str(json.get()).unwrap_or_default()
    }

    /// The last member of this name, as JSON readers usually take it.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter().rev();
        members
            .find(|(found, _)| found == name)
            .map(|(_, json)| *json)
    }

    /// The member of this name, if it is a text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The member of this name, if it is a whole number and no smaller than 0.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The member of this name, if it is a list.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }

        input.deserialize_map(Object)
    }
}

/// A member's name, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Makes values for templates out of JSON, until its bytes are used up.
pub(super) struct Budget {
    bytes_left: usize,
    chars_max: usize,
}

impl Budget {
    /// For values of up to `chars_max` characters.
    pub(super) fn new(chars_max: usize) -> Self {
        Self {
            bytes_left: CONTENT_BYTES_MAX,
            chars_max,
        }
    }

    /// The value of `json`; `None` of JSON for what is missing.
    pub(super) fn value(&mut self, json: Option<&RawValue>) -> Value {
        json.map_or(Value::from(()), |json| self.read(json.get(), 0))
    }

    /// A text, cut.
    pub(super) fn text(&mut self, text: &str) -> Value {
        let chars_max = self.chars_max.min(self.bytes_left);
        let cut = cut(text, chars_max);
        self.bytes_left = self.bytes_left.saturating_sub(cut.len());
        Value::from(cut.into_owned())
    }

    fn read(&mut self, json: &str, depth: usize) -> Value {
        match json.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => self.text(json),
            Some(b'{') => self.object(json, depth),
            Some(b'[') => self.list(json, depth),
            Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(json) {
                Ok(text) => self.text(&text),
                // A lone surrogate is valid JSON and no text.
                Err(_) => self.text(json),
            },
            Some(b't') => Value::from(true),
            Some(b'f') => Value::from(false),
            Some(b'n') | None => Value::from(()),
            Some(_) => match json.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => self.text(json),
            },
        }
    }

    fn object(&mut self, json: &str, depth: usize) -> Value {
        let members: Members<'_> = serde_json::from_str(json).unwrap_or_default();
        let mut read = Vec::new();
        for (name, value) in members.0.iter().take(ENTRIES_MAX) {
            if self.bytes_left == 0 {
                break;
            }
            let name = self.text(name);
            read.push((name, self.read(value.get(), depth + 1)));
        }
        map(read)
    }

    fn list(&mut self, json: &str, depth: usize) -> Value {
        let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        let mut read = Vec::new();
        for item in items.iter().take(ENTRIES_MAX) {
            if self.bytes_left == 0 {
                break;
            }
            // A list of numbers costs as well.
            self.bytes_left = self.bytes_left.saturating_sub(1);
            read.push(self.read(item.get(), depth + 1));
        }
        Value::from(read)
    }
}

/// An object of a template, of its members' names and values.
pub(super) fn map<K: Into<Value>>(members: impl IntoIterator<Item = (K, Value)>) -> Value {
    let members = members.into_iter();
    let members: BTreeMap<Value, Value> =
        members.map(|(name, value)| (name.into(), value)).collect();
    Value::from_object(members)
}

/// The first `chars_max` characters; `…` stands for the rest.
pub(super) fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    // A character has a byte at least.
    if text.len() <= chars_max {
        return Cow::Borrowed(text);
    }
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Value {
        let json = RawValue::from_string(json.to_owned()).unwrap();
        Budget::new(VALUE_CHARS_MAX).value(Some(&json))
    }

    #[test]
    fn numbers_are_shown_as_they_were_written() {
        for (json, shown) in [
            ("42", "42"),
            ("-7", "-7"),
            ("1.10", "1.10"),
            (
                "123456789012345678901234567890.5",
                "123456789012345678901234567890.5",
            ),
            ("1e400", "1e400"),
            ("\"1.10\"", "1.10"),
            ("true", "true"),
        ] {
            assert_eq!(read(json).to_string().to_lowercase(), shown);
        }
        assert!(read("42").is_number());
        assert!(read("null").is_none());
    }

    #[test]
    fn everything_is_bounded() {
        let long = format!("\"{}\"", "ä".repeat(5_000));
        assert_eq!(read(&long).to_string().chars().count(), VALUE_CHARS_MAX + 1);

        let wide = format!("[{}1]", "1,".repeat(5_000));
        assert_eq!(read(&wide).len(), Some(ENTRIES_MAX));

        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let deep = read(&deep).to_string();
        assert!(
            deep.len() < 2 * VALUE_CHARS_MAX && deep.contains('…'),
            "{deep}"
        );

        let row = format!("{{\"a\":\"{}\"}}", "x".repeat(900));
        let list = format!("[{}{row}]", format!("{row},").repeat(190));
        let lists = format!("[{}{list}]", format!("{list},").repeat(20));
        let length = read(&lists).to_string().len();
        assert!(length < 2 * CONTENT_BYTES_MAX, "{length}");
    }

    #[test]
    fn a_lone_surrogate_stays_the_json_that_it_was() {
        assert_eq!(read(r#""\ud800""#).to_string(), r#""\ud800""#);
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("", 0), "");
    }
}
