//! Values by name, each as the JSON text that it was written as: a number keeps all its digits.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// What a step looked at.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Values(BTreeMap<String, Box<RawValue>>);

impl Values {
    /// Adds a value. What can't be written as JSON is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = to_raw_value(&value) {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds values whose JSON is given. A text that was shortened is no JSON any more, and becomes
    /// a string.
    #[must_use]
    pub fn with_texts(self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        values.into_iter().fold(self, |mut all, (name, text)| {
            let value = RawValue::from_string(text.clone()).or_else(|_| to_raw_value(&text));
            if let Ok(value) = value {
                all.0.insert(name, value);
            }
            all
        })
    }

    /// Adds the members of a JSON object.
    #[must_use]
    pub fn with_object(mut self, json: &str) -> Self {
        let members = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(json);
        self.0.extend(members.unwrap_or_default());
        self
    }

    /// Names and JSON texts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text() {
        let values = Values::default()
            .with("version", 3)
            .with_object(r#"{"row.amount": 10.00, "now":"2026-01-31T08:00:00Z"}"#)
            .with_texts([
                ("row.note".to_owned(), "\"cut of…".to_owned()),
                ("row.id".to_owned(), "12345678901234567890123".to_owned()),
            ]);
        assert_eq!(
            serde_json::to_string(&values).unwrap(),
            r#"{"now":"2026-01-31T08:00:00Z","row.amount":10.00,"#.to_owned()
                + r#""row.id":12345678901234567890123,"row.note":"\"cut of…","version":3}"#
        );
        assert_eq!(Values::default().with_object("[]").iter().count(), 0);
    }
}
