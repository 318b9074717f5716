//! The object key as text: its key values percent-encoded and joined by `/` (design section 2).

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

/// RFC 3986's unreserved characters stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Appends one key value, given as the JSON that Postgres made of it, to a key's text. Returns
/// false for null: an object without a key value is no object.
pub fn key_text_push(text: &mut String, is_first: bool, value: &RawValue) -> bool {
    let json = value.get();
    if json == "null" {
        return false;
    }
    if !is_first {
        text.push('/');
    }
    if json.starts_with('"') {
        // A lone surrogate in a key can't be text; its escape is still one value's only name.
        match serde_json::from_str::<String>(json) {
            Ok(value) => push_encoded(text, &value),
            Err(_) => push_encoded(text, json),
        }
    } else {
        push_encoded(text, json);
    }
    true
}

fn push_encoded(text: &mut String, value: &str) {
    let _ = write!(text, "{}", utf8_percent_encode(value, ENCODED));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &[&str]) -> Option<String> {
        let mut text = String::new();
        for (index, value) in values.iter().enumerate() {
            if !key_text_push(
                &mut text,
                index == 0,
                &RawValue::from_string((*value).to_owned()).unwrap(),
            ) {
                return None;
            }
        }
        Some(text)
    }

    #[test]
    fn values_are_percent_encoded_and_joined_by_slashes() {
        assert_eq!(text(&["42"]).as_deref(), Some("42"));
        assert_eq!(text(&["-1.50"]).as_deref(), Some("-1.50"));
        assert_eq!(text(&[r#""a/b c""#, "7"]).as_deref(), Some("a%2Fb%20c/7"));
        assert_eq!(text(&[r#""Zürich%""#]).as_deref(), Some("Z%C3%BCrich%25"));
        assert_eq!(text(&["true"]).as_deref(), Some("true"));
        assert_eq!(text(&[r#""""#, r#""x""#]).as_deref(), Some("/x"));
        assert_eq!(text(&["1", "null"]), None);
    }
}
