//! Reading data that must mean the same to everybody: no name twice in one object. Pure.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// A JSON value in which no object has a name twice. Receivers differ in which of two they take,
/// so one that was judged could be another than one that is used.
///
/// Reading fails below 128 levels (`serde_json`'s limit).
#[derive(Debug, PartialEq)]
pub(super) struct Unambiguous(pub(super) Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Unambiguous(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::Array(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut object = Map::new();
                while let Some(name) = members.next_key::<String>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format!(
                            "`{name}` is given twice in one object"
                        )));
                    }
                    let Unambiguous(value) = members.next_value()?;
                    object.insert(name, value);
                }
                Ok(Value::Object(object))
            }
        }

        input.deserialize_any(Any).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_str(text)
            .map(|Unambiguous(value)| value)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_however_it_is_written() {
        let text = r#"[{"a":{"b":1,"\u0062":2}}]"#;
        assert!(
            read(text)
                .unwrap_err()
                .starts_with("`b` is given twice in one object")
        );
        assert!(read(r#"[{"a":1},{"a":{"a":1}}]"#).is_ok());
        assert!(
            read(&"[".repeat(200))
                .unwrap_err()
                .starts_with("recursion limit")
        );
        assert!(read(r#""\ud800""#).is_err() && read("1e400").is_err());
    }

    proptest! {
        #[test]
        fn all_else_is_as_serde_json_reads_it(
            names in proptest::collection::btree_set(any::<String>(), 0..5),
            number in any::<f64>(),
            text in any::<String>(),
        ) {
            let mut value = serde_json::json!([number, text, u64::MAX, i64::MIN, true, null]);
            for name in names {
                let inner = serde_json::json!({"x": value});
                value = Value::Object(Map::from_iter([(name, inner)]));
            }
            prop_assert_eq!(read(&value.to_string()), Ok(value));
        }
    }
}
