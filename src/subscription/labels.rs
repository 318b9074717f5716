//! The labels of a subscription: what it says of itself to people and to constraints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// Names with their values, by name. There are few, and of many subscriptions: a map would take ten
/// times the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        place.ok().map(|place| &*self.0[place].1)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let labels = labels.into_iter();
        Self(
            labels
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    /// Of a name that is written twice the last value counts.
    fn from(labels: [(&str, &str); N]) -> Self {
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        BTreeMap::from(labels).into()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_and_written_by_name() {
        let read = |text: &str| serde_json::from_str::<Labels>(text).unwrap();
        let labels = read(r#"{"team": "a", "desk": "us", "desk": "eu", "": "x"}"#);
        assert_eq!(
            labels,
            Labels::from([("desk", "eu"), ("team", "a"), ("", "x")])
        );
        assert_eq!(labels.get("desk"), Some("eu"));
        assert_eq!(labels.get("team"), Some("a"));
        assert_eq!(labels.get("des"), None);
        assert_eq!(labels.len(), 3);
        let written = serde_json::to_string(&labels).unwrap();
        assert_eq!(written, r#"{"":"x","desk":"eu","team":"a"}"#);
        assert!(read("{}").is_empty());
        assert!(serde_json::from_str::<Labels>(r#"{"desk": 7}"#).is_err());
    }
}
