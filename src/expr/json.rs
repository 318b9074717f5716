//! Looking into JSON text without building a tree of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{LIST_ITEMS_MAX, failure::Failure};

const UNREADABLE: Failure = Failure::Unreadable { expected: "JSON" };

/// A key or text that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; `None` if it is not one, or no Unicode (a lone surrogate).
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<Text<'_>>(raw)
        .ok()
        .map(|text| text.0)
}

/// The value of a key of an object: the last one, as in Postgres. `None` if it has none, or is no
/// object.
pub(super) fn field<'a>(object: &'a str, key: &str) -> Result<Option<&'a RawValue>, Failure> {
    struct Find<'k>(&'k str);
    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Text(name)) = map.next_key()? {
                if name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    if !object.starts_with('{') {
        return Ok(None);
    }
    let mut input = serde_json::Deserializer::from_str(object);
    input.deserialize_map(Find(key)).map_err(|_| UNREADABLE)
}

/// The items of an array, [`LIST_ITEMS_MAX`] at most.
pub(super) fn items(array: &str) -> Result<Vec<&RawValue>, Failure> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            let mut is_short = true;
            while let Some(item) = seq.next_element()? {
                if items.len() < LIST_ITEMS_MAX {
                    items.push(item);
                } else {
                    is_short = false;
                }
            }
            Ok(is_short.then_some(items))
        }
    }
    let mut input = serde_json::Deserializer::from_str(array);
    let items = input.deserialize_seq(Items).map_err(|_| UNREADABLE)?;
    items.ok_or(Failure::TooManyItems)
}

/// The entries of an object, [`LIST_ITEMS_MAX`] at most, sorted by key; of a repeated key the last.
pub(super) fn entries(object: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, Failure> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Option<Vec<(Cow<'de, str>, &'de RawValue)>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            let mut is_short = true;
            while let Some((Text(key), value)) = map.next_entry()? {
                if entries.len() < LIST_ITEMS_MAX {
                    entries.push((key, value));
                } else {
                    is_short = false;
                }
            }
            Ok(is_short.then_some(entries))
        }
    }
    let mut input = serde_json::Deserializer::from_str(object);
    let entries = input.deserialize_map(Entries).map_err(|_| UNREADABLE)?;
    let mut entries = entries.ok_or(Failure::TooManyItems)?;
    // The sort keeps the order of equal keys; from behind, the first of them is the last written.
    entries.reverse();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(later, _), (kept, _)| later == kept);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_the_last_one_counts() {
        let found = |object, key| field(object, key).map(|raw| raw.map(RawValue::get));
        let object = r#"{"a": 1, "b\"": {"a": 2}, "a": [3]}"#;
        assert_eq!(found(object, "a"), Ok(Some("[3]")));
        assert_eq!(found(object, "b\""), Ok(Some(r#"{"a": 2}"#)));
        assert_eq!(found(object, "c"), Ok(None));
        assert_eq!(found("[1]", "a"), Ok(None));
        assert_eq!(found(r#"{"\ud800": 1}"#, "a"), Err(UNREADABLE));
    }

    #[test]
    fn entries_are_sorted_and_single() {
        let entries = entries(r#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
        let texts: Vec<_> = entries.iter().map(|(k, v)| (k.as_ref(), v.get())).collect();
        assert_eq!(texts, [("a", "2"), ("b", "3")]);
    }

    #[test]
    fn long_lists_are_refused() {
        let list = |length: usize| format!("[{}]", vec!["1"; length].join(","));
        assert_eq!(items(&list(LIST_ITEMS_MAX)).unwrap().len(), LIST_ITEMS_MAX);
        let refused = items(&list(LIST_ITEMS_MAX + 1)).map(|items| items.len());
        assert_eq!(refused, Err(Failure::TooManyItems));
    }

    #[test]
    fn text_is_borrowed_where_it_can_be() {
        assert!(matches!(text(r#""ab""#), Some(Cow::Borrowed("ab"))));
        assert!(matches!(text(r#""a\nb""#), Some(Cow::Owned(t)) if t == "a\nb"));
        assert_eq!(text(r#""\ud800""#), None);
        assert_eq!(text("12"), None);
        assert_eq!(text("\""), None);
    }
}
