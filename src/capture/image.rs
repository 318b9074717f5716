//! A row image as the trigger wrote it: JSON text that is looked into but never rewritten.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::catalog::object_key::key_text_push;

/// The columns of a row in the table's order, each with its value's JSON text. Duplicate names,
/// which a row can't have, would be kept.
#[derive(Debug)]
pub struct Image<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Image<'a> {
    /// Reads an image. Fails on what `row_to_json` never writes.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The columns' names.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// The value of a column, or `None` if the row has no such column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, value)| *value)
    }

    /// The value of a column that is expected at a place, which is looked at first.
    #[must_use]
    pub fn get_near(&self, place: usize, column: &str) -> Option<&'a RawValue> {
        match self.0.get(place) {
            Some((name, value)) if name == column => Some(value),
            _ => self.get(column),
        }
    }

    /// The object key's values as text, or `None` if a key column is missing or null.
    #[must_use]
    pub fn key_text(&self, key: &[String]) -> Option<String> {
        let mut text = String::new();
        for (index, column) in key.iter().enumerate() {
            if !key_text_push(&mut text, index == 0, self.get(column)?) {
                return None;
            }
        }
        Some(text)
    }

    /// The names of the columns whose values differ from `before`'s, in the table's order; columns
    /// that were dropped in between come last.
    #[must_use]
    pub fn changed_since<'b>(&'b self, before: &'b Self) -> Vec<&'b str> {
        // Usually both have the same columns at the same places.
        let is_same = |index: usize, name: &str, value: &RawValue| match before.0.get(index) {
            Some((other, old)) if other == name => old.get() == value.get(),
            _ => before.get(name).is_some_and(|old| old.get() == value.get()),
        };
        let changed = self
            .0
            .iter()
            .enumerate()
            .filter(|(index, (name, value))| !is_same(*index, name, value))
            .map(|(_, (name, _))| name.as_ref());
        let dropped = before.0.iter().map(|(name, _)| name.as_ref());
        changed
            .chain(dropped.filter(|name| self.get(name).is_none()))
            .collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Image<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Columns;

        impl<'de> Visitor<'de> for Columns {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut columns = Vec::with_capacity(16);
                while let Some((Name(name), value)) = map.next_entry()? {
                    columns.push((name, value));
                }
                Ok(columns)
            }
        }

        input.deserialize_map(Columns).map(Image)
    }
}

/// A name that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_from_the_image_in_the_keys_order() {
        let image = Image::parse(r#"{"b":"x/y","a":1,"c":null}"#).unwrap();
        let key = |columns: &[&str]| {
            image.key_text(&columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(key(&["a", "b"]).as_deref(), Some("1/x%2Fy"));
        assert_eq!(key(&["c"]), None);
        assert_eq!(key(&["renamed"]), None);
    }

    #[test]
    fn changed_columns_are_found_across_added_and_dropped_ones() {
        let before = Image::parse(r#"{"id":1,"a":"x","gone":2,"same":[1, 2]}"#).unwrap();
        let after = Image::parse(r#"{"id":1,"new":null,"a":"y","same":[1, 2]}"#).unwrap();
        assert_eq!(after.changed_since(&before), ["new", "a", "gone"]);
        assert!(before.changed_since(&before).is_empty());
    }

    #[test]
    fn what_a_json_column_may_hold_is_carried_as_it_is() {
        let text = r#"{"id":1,"j":{"a":"\u0000","b":"\ud800","c":1e200000,"c":2}, "quo\"te":true}"#;
        let image = Image::parse(text).unwrap();
        let value = image.get("j").unwrap().get();
        assert_eq!(value, r#"{"a":"\u0000","b":"\ud800","c":1e200000,"c":2}"#);
        assert_eq!(image.get("quo\"te").unwrap().get(), "true");
    }
}
