//! The values of an evaluation, decoded from a row image when an expression looks at them.

use std::{borrow::Cow, cell::Cell, cmp::Ordering};

use serde_json::value::RawValue;

use super::{JSON_DEPTH_MAX, LOOP_STEPS_MAX, failure::Failure, instant, json, number::Number};
use crate::subscription::labels::Labels;

/// How the JSON text of a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// The integers and `numeric`.
    Number,
    /// `real`, widened to a double.
    Real,
    Double,
    /// Text, and the text of every type that is not listed here.
    Text,
    /// `char(n)`: the padding is no part of the value.
    Padded,
    /// `timestamptz`, and `timestamp` and `date` as UTC.
    Time,
    Interval,
    Json,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Double(f64),
    Text(Cow<'a, str>),
    /// Microseconds since 1970.
    Time(i64),
    /// Microseconds.
    Duration(i64),
    /// The JSON text of an array, and what its items are.
    Array(&'a str, Kind),
    /// The JSON text of an object.
    Object(&'a str),
    /// `changed`.
    Names(&'a [&'a str]),
    /// `subscription.labels`.
    Labels(&'a Labels),
    /// A list written in the expression.
    Items(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// Reads the JSON text of a value of this kind.
    pub(super) fn decode(raw: &'a RawValue, kind: Kind) -> Result<Self, Failure> {
        let raw = raw.get();
        if raw == "null" {
            return Ok(Self::Null);
        }
        let unreadable = |expected| Failure::Unreadable { expected };
        Ok(match kind {
            Kind::Bool => Self::Bool(match raw {
                "true" => true,
                "false" => false,
                _ => return Err(unreadable("true or false")),
            }),
            Kind::Number => {
                // NaN and the infinities are no JSON numbers; Postgres quotes them.
                let number = Number::parse(raw.trim_matches('"'));
                Self::Number(number.ok_or(unreadable("a number of bounded size"))?)
            }
            Kind::Real => {
                let parsed = raw.trim_matches('"').parse::<f32>();
                Self::Double(parsed.map_err(|_| unreadable("a number"))?.into())
            }
            Kind::Double => {
                let parsed = raw.trim_matches('"').parse();
                Self::Double(parsed.map_err(|_| unreadable("a number"))?)
            }
            Kind::Text => Self::Text(any_text(raw)?),
            Kind::Padded => Self::Text(match any_text(raw)? {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches(' ')),
                Cow::Owned(text) => Cow::Owned(text.trim_end_matches(' ').to_owned()),
            }),
            Kind::Time => {
                let time = json::text(raw).and_then(|text| instant::parse_time(&text));
                Self::Time(time.ok_or(unreadable("a time"))?)
            }
            Kind::Interval => {
                let length = json::text(raw).and_then(|text| instant::parse_interval(&text));
                Self::Duration(length.ok_or(unreadable("an interval without months"))?)
            }
            Kind::Json => match raw.as_bytes().first() {
                Some(b'{') => Self::Object(raw),
                Some(b'[') => Self::Array(raw, Kind::Json),
                Some(b'"') => Self::Text(any_text(raw)?),
                Some(b't' | b'f') => return Self::decode_bool(raw),
                _ => {
                    let number = Number::parse(raw);
                    Self::Number(number.ok_or(unreadable("a number of bounded size"))?)
                }
            },
        })
    }

    fn decode_bool(raw: &str) -> Result<Self, Failure> {
        Ok(Self::Bool(raw == "true"))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The items of a list, or the keys of an object; `None` for what has none.
    pub(super) fn items(&self) -> Result<Option<Vec<Value<'a>>>, Failure> {
        let texts = |names: &mut dyn Iterator<Item = &'a str>| {
            names.map(|name| Value::Text(Cow::Borrowed(name))).collect()
        };
        Ok(Some(match self {
            Self::Array(raw, kind) => json::items(raw)?
                .into_iter()
                .map(|item| Value::decode(item, *kind))
                .collect::<Result<_, _>>()?,
            Self::Object(raw) => json::entries(raw)?
                .into_iter()
                .map(|(key, _)| Value::Text(key))
                .collect(),
            Self::Names(names) => texts(&mut names.iter().copied()),
            Self::Labels(labels) => texts(&mut labels.iter().map(|(name, _)| name)),
            Self::Items(items) => items.clone(),
            _ => return Ok(None),
        }))
    }

    /// The value as JSON text, for people.
    pub(super) fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => match number {
                Number::Small { .. } | Number::Big(_) => number.to_string(),
                _ => quoted(&number.to_string()),
            },
            Self::Double(value) if value.is_finite() => value.to_string(),
            Self::Double(value) => quoted(&value.to_string()),
            Self::Text(text) => quoted(text),
            Self::Time(time) => quoted(&instant::time_text(*time)),
            Self::Duration(length) => quoted(&instant::duration_text(*length)),
            Self::Array(raw, _) | Self::Object(raw) => (*raw).to_owned(),
            Self::Names(names) => serde_json::Value::from(names.to_vec()).to_string(),
            Self::Labels(labels) => {
                let entries = labels
                    .iter()
                    .map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)));
                serde_json::Value::Object(entries.collect()).to_string()
            }
            Self::Items(items) => {
                let items: Vec<_> = items.iter().map(Value::to_json).collect();
                format!("[{}]", items.join(","))
            }
        }
    }
}

/// A JSON string's text; of anything else, which a text column's type did not promise, the JSON.
fn any_text(raw: &str) -> Result<Cow<'_, str>, Failure> {
    if raw.starts_with('"') {
        return json::text(raw).ok_or(Failure::Unreadable {
            expected: "Unicode text",
        });
    }
    Ok(Cow::Borrowed(raw))
}

/// The order of two values of one kind; `None` if they are of different kinds, or have no order.
/// Texts are ordered by code points; doubles as in Postgres: NaN equals itself and is the greatest.
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.as_ref().cmp(b.as_ref()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => order_doubles(*a, *b),
        (Value::Number(a), Value::Double(b)) => order_doubles(a.to_f64(), *b),
        (Value::Double(a), Value::Number(b)) => order_doubles(*a, b.to_f64()),
        (Value::Time(a), Value::Time(b)) | (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        _ => return None,
    })
}

fn order_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The steps that an evaluation may still take in loops and lists.
#[derive(Debug)]
pub(super) struct Budget(Cell<u32>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(LOOP_STEPS_MAX))
    }

    /// Takes a step.
    pub(super) fn step(&self) -> Result<(), Failure> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or(Failure::TooManySteps)?);
        Ok(())
    }
}

/// Whether two values are the same; null is a value, and values of different kinds are not the
/// same. Lists and objects are compared item by item, [`JSON_DEPTH_MAX`] levels deep.
pub(super) fn same(a: &Value<'_>, b: &Value<'_>, budget: &Budget) -> Result<bool, Failure> {
    same_at(a, b, 0, budget)
}

fn same_at(a: &Value<'_>, b: &Value<'_>, depth: usize, budget: &Budget) -> Result<bool, Failure> {
    if depth > JSON_DEPTH_MAX {
        return Err(Failure::OutOfRange {
            what: "the nesting of JSON",
        });
    }
    budget.step()?;
    match (a, b) {
        (Value::Null, Value::Null) => return Ok(true),
        (Value::Object(a), Value::Object(b)) => return same_objects(a, b, depth, budget),
        _ => {}
    }
    if let Some(order) = order(a, b) {
        return Ok(order == Ordering::Equal);
    }
    let is_list =
        |value: &Value<'_>| matches!(value, Value::Array(..) | Value::Names(_) | Value::Items(_));
    if !is_list(a) || !is_list(b) {
        return Ok(false);
    }
    let (Some(a), Some(b)) = (a.items()?, b.items()?) else {
        return Ok(false);
    };
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(&b) {
        if !same_at(a, b, depth + 1, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_objects(a: &str, b: &str, depth: usize, budget: &Budget) -> Result<bool, Failure> {
    let (a, b) = (json::entries(a)?, json::entries(b)?);
    if a.len() != b.len() {
        return Ok(false);
    }
    for ((key, a), (other, b)) in a.iter().zip(&b) {
        let (a, b) = (Value::decode(a, Kind::Json)?, Value::decode(b, Kind::Json)?);
        if key != other || !same_at(&a, &b, depth + 1, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::LIST_ITEMS_MAX;

    fn decoded(raw: &str, kind: Kind) -> Result<String, Failure> {
        let raw: &RawValue = serde_json::from_str(raw).unwrap();
        Value::decode(raw, kind).map(|value| value.to_json())
    }

    #[test]
    fn values_are_read_by_their_columns_kind() {
        let text = |raw, kind| decoded(raw, kind).unwrap();
        assert_eq!(text("250.00", Kind::Number), "250.00");
        assert_eq!(text("\"NaN\"", Kind::Number), "\"NaN\"");
        assert_eq!(text("\"-Infinity\"", Kind::Double), "\"-inf\"");
        assert_eq!(text("0.1", Kind::Real), "0.10000000149011612");
        assert_eq!(text("\"ab  \"", Kind::Padded), "\"ab\"");
        assert_eq!(text("12", Kind::Text), "\"12\"");
        assert_eq!(text("null", Kind::Interval), "null");
        let time = "\"2026-01-02T03:04:05.6+00:00\"";
        assert_eq!(text(time, Kind::Time), "\"2026-01-02T03:04:05.600Z\"");
        assert_eq!(text("[1, {}]", Kind::Json), "[1, {}]");
        assert_eq!(text("\"P1DT1H\"", Kind::Interval), "\"1day1h\"");
    }

    #[test]
    fn what_a_type_did_not_promise_fails() {
        for (raw, kind) in [
            ("1", Kind::Bool),
            ("\"x\"", Kind::Number),
            ("1e200000", Kind::Json),
            ("{}", Kind::Double),
            ("\"yesterday\"", Kind::Time),
            ("\"P1M\"", Kind::Interval),
            ("\"\\ud800\"", Kind::Text),
        ] {
            assert!(decoded(raw, kind).is_err(), "{raw} as {kind:?}");
        }
    }

    #[test]
    fn json_is_the_same_by_value() {
        let same_json = |a: &str, b: &str| {
            let decode = |raw| Value::decode(serde_json::from_str(raw).unwrap(), Kind::Json);
            same(&decode(a).unwrap(), &decode(b).unwrap(), &Budget::new())
        };
        assert_eq!(
            same_json(r#"{"a":1.0,"b":[1]}"#, r#"{"b": [1.00], "a": 1}"#),
            Ok(true)
        );
        assert_eq!(same_json(r#"{"a":1}"#, r#"{"b":1}"#), Ok(false));
        assert_eq!(same_json(r#"{"a":1,"a":2}"#, r#"{"a":2}"#), Ok(true));
        assert_eq!(same_json("[1,2]", "[1]"), Ok(false));
        assert_eq!(same_json("[null]", "[null]"), Ok(true));
        assert_eq!(same_json("\"1\"", "1"), Ok(false));
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(
            same_json(&deep(JSON_DEPTH_MAX), &deep(JSON_DEPTH_MAX)),
            Ok(true)
        );
        assert!(same_json(&deep(5000), &deep(5000)).is_err());
        let wide = format!("[{}1]", "1,".repeat(LIST_ITEMS_MAX - 1));
        assert_eq!(same_json(&wide, &wide), Ok(true));
        let wide = format!("[{wide},{wide},{wide}]");
        assert_eq!(same_json(&wide, &wide), Err(Failure::TooManySteps));
    }

    #[test]
    fn doubles_are_ordered_as_postgres_orders_them() {
        assert_eq!(order_doubles(f64::NAN, f64::NAN), Ordering::Equal);
        assert_eq!(order_doubles(f64::NAN, f64::INFINITY), Ordering::Greater);
        assert_eq!(order_doubles(1.0, f64::NAN), Ordering::Less);
        assert_eq!(order_doubles(-0.0, 0.0), Ordering::Equal);
    }
}
