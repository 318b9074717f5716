//! From where a subscription begins: how it is written, and what can be judged of it without the
//! database.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{check::SpecProblem, model::SubscriptionSpec};
use crate::catalog::model::{Catalog, Verb, name_matches};

/// From where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what commits after it was registered.
    #[default]
    Now,
    /// With the rows that are there.
    Existing,
    /// With the events that happened from this time on, as far as they are kept.
    At(DateTime<Utc>),
}

impl Start {
    /// Whether it is what a subscription has that says nothing of it.
    #[must_use]
    pub fn is_now(&self) -> bool {
        *self == Self::Now
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Existing => f.write_str("existing"),
            Self::At(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        match text.as_str() {
            "now" => Ok(Self::Now),
            "existing" => Ok(Self::Existing),
            // Postgres keeps microseconds.
            _ => DateTime::parse_from_rfc3339(&text)
                .map(|at| Self::At(micros(at.to_utc())))
                .map_err(|_| {
                    D::Error::custom(format!(
                        "`{text}` is no start: write `now`, `existing`, or a time with its zone \
                         such as `2026-11-01T00:00:00Z`"
                    ))
                }),
        }
    }
}

fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// The object types whose rows a subscription is told of that begins with what is there: those of
/// which it names the event type `existed`.
#[must_use]
pub fn object_types_existing(spec: &SubscriptionSpec, catalog: &Catalog) -> Vec<String> {
    let is_named = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| name_matches(pattern, name))
    };
    let names = catalog.object_types.keys();
    names
        .filter(|name| {
            is_named(&spec.object_types, name)
                || is_named(&spec.event_types, &Verb::Existed.event_type(name))
        })
        .cloned()
        .collect()
}

/// Refuses a start that could tell nothing, or that is of another database.
pub(super) fn check_start(
    spec: &SubscriptionSpec,
    catalog: &Catalog,
    problems: &mut Vec<SpecProblem>,
) {
    let elsewhere = match spec.start {
        Start::Now => return,
        Start::Existing => {
            let existing = object_types_existing(spec, catalog);
            if existing.is_empty() {
                problems.push(SpecProblem::new("/start", tells_nothing(spec, catalog)));
            }
            existing
        }
        Start::At(_) => object_types_meant(spec, catalog),
    };
    let elsewhere = elsewhere.into_iter().find(|name| {
        let object_type = catalog.object_types.get(name);
        object_type.is_some_and(|object_type| !object_type.source.is_default())
    });
    if let Some(name) = elsewhere {
        let text = format!(
            "`{name}` is in another database than Rowcall's own, and of those a subscription can \
             only start `now`"
        );
        problems.push(SpecProblem::new("/start", text));
    }
}

/// The object types of which at least one event is matched.
fn object_types_meant(spec: &SubscriptionSpec, catalog: &Catalog) -> Vec<String> {
    let meant = |name: &&String| {
        let is_any = |patterns: &[String], known: &str| {
            patterns.iter().any(|pattern| name_matches(pattern, known))
        };
        is_any(&spec.object_types, name)
            || catalog
                .event_types_of(name)
                .any(|event_type| is_any(&spec.event_types, &event_type))
    };
    catalog.object_types.keys().filter(meant).cloned().collect()
}

fn tells_nothing(spec: &SubscriptionSpec, catalog: &Catalog) -> String {
    let object_type = object_types_meant(spec, catalog).into_iter().next();
    let example = match object_type {
        Some(name) => format!(
            "add `{}` to `event_types`, or name `{name}` in `object_types`",
            Verb::Existed.event_type(&name)
        ),
        None => "name one in `object_types`".to_owned(),
    };
    format!(
        "rows that exist are told as events of the type `<object type>.existed`, and no such type \
         is named: {example}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Start, String> {
        serde_json::from_value(serde_json::json!(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_start_is_a_word_or_a_time_and_is_written_as_it_is_read() {
        for text in ["now", "existing", "2026-11-01T00:00:00Z"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        let offset = read("2026-11-01T01:00:00.5000004+01:00").unwrap();
        assert_eq!(offset.to_string(), "2026-11-01T00:00:00.500Z");
        for text in ["", "Existing", "2026-11-01", "2026-11-01T00:00:00"] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("is no start: write `now`"), "{refused}");
        }
    }
}
