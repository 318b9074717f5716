//! The filters of templates. None makes more than [`VALUE_CHARS_MAX`] characters.

use chrono::DateTime;
use minijinja::{Environment, Value, tests, value::ValueKind};

use super::data::{VALUE_CHARS_MAX, cut};

/// Adds the filters and tests that src/sink/email/language.rs admits.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("default", default);
    environment.add_filter("first", |list: Value| end(&list, true));
    environment.add_filter("join", join);
    environment.add_filter("key", key);
    environment.add_filter("last", |list: Value| end(&list, false));
    environment.add_filter("length", length);
    environment.add_filter("lower", |text: Value| cased(text, str::to_lowercase));
    environment.add_filter("time", time);
    environment.add_filter("upper", |text: Value| cased(text, str::to_uppercase));
    environment.add_test("defined", tests::is_defined);
    environment.add_test("even", tests::is_even);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("undefined", tests::is_undefined);
}

/// The value, or `other` if it is missing, null or an empty text.
fn default(value: Value, other: Option<Value>) -> Value {
    let is_missing =
        value.is_undefined() || value.is_none() || value.as_str().is_some_and(str::is_empty);
    if is_missing {
        other.unwrap_or_else(|| Value::from(""))
    } else {
        value
    }
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn end(list: &Value, first: bool) -> Value {
    let items = is_list(list).then(|| list.try_iter().ok()).flatten();
    let item = items.and_then(|mut items| if first { items.next() } else { items.last() });
    item.unwrap_or_default()
}

/// Entries of a list or an object, characters of a text; 0 for anything else.
fn length(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.chars().count(),
        None => value.len().unwrap_or(0),
    }
}

/// The texts and numbers of a list with `separator` between them, cut.
fn join(list: &Value, separator: Option<&str>) -> Value {
    if !is_list(list) {
        return list.clone();
    }
    let mut text = String::new();
    for (index, item) in list.try_iter().into_iter().flatten().enumerate() {
        if text.len() > VALUE_CHARS_MAX {
            break;
        }
        if index > 0 {
            text.push_str(&cut(separator.unwrap_or(""), VALUE_CHARS_MAX));
        }
        match item.kind() {
            ValueKind::String => text.push_str(item.as_str().unwrap_or_default()),
            ValueKind::Number => text.push_str(&item.to_string()),
            _ => {}
        }
    }
    Value::from(cut(&text, VALUE_CHARS_MAX).into_owned())
}

/// An object key as one text: its values with `/` between them, or the text that it is.
fn key(value: &Value) -> Value {
    if value.kind() != ValueKind::Map {
        return value.clone();
    }
    let names = value.try_iter().into_iter().flatten();
    let values: Vec<Value> = names
        .filter_map(|name| value.get_item(&name).ok())
        .collect();
    join(&Value::from(values), Some("/"))
}

fn cased(value: Value, change: impl Fn(&str) -> String) -> Value {
    match value.as_str() {
        Some(text) => {
            let changed = change(&cut(text, VALUE_CHARS_MAX));
            Value::from(cut(&changed, VALUE_CHARS_MAX).into_owned())
        }
        None => value,
    }
}

/// `2026-11-21T08:00:05.123456Z` as `2026-11-21 08:00:05 UTC`; what is no time stays what it is.
fn time(value: Value) -> Value {
    let time = value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    match time {
        Some(time) => Value::from(time.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()),
        None => value,
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::sink::email::data::map;

    #[test]
    fn filters_do_what_their_names_say() {
        let list = Value::from(vec![Value::from("a"), Value::from(2), Value::from(())]);
        assert_eq!(join(&list, Some("-")).to_string(), "a-2-");
        assert_eq!(end(&list, true).to_string(), "a");
        assert!(end(&Value::UNDEFINED, false).is_undefined());
        assert_eq!(length(&list), 3);
        assert_eq!(length(&Value::from("äö")), 2);
        assert_eq!(length(&Value::UNDEFINED), 0);
        assert_eq!(
            default(Value::from(""), Some(Value::from("x"))).to_string(),
            "x"
        );
        assert_eq!(
            default(Value::from(0), Some(Value::from("x"))).to_string(),
            "0"
        );
        let time = time(Value::from("2026-11-21T08:00:05.123456Z"));
        assert_eq!(time.to_string(), "2026-11-21 08:00:05 UTC");
        let parts = map([("a", Value::from(1)), ("b", Value::from("x/y"))]);
        assert_eq!(key(&parts).to_string(), "1/x/y");
        assert_eq!(key(&Value::from("42")).to_string(), "42");
    }

    #[test]
    fn no_filter_makes_a_long_text() {
        let long = Value::from("ß".repeat(VALUE_CHARS_MAX));
        let list = Value::from(vec![long.clone(); 200]);
        for made in [
            join(&list, long.as_str()),
            cased(long, str::to_uppercase),
            key(&list),
        ] {
            if let Some(text) = made.as_str() {
                assert!(text.chars().count() <= VALUE_CHARS_MAX + 1);
            }
        }
    }
}
