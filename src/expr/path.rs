//! Steps of a path: keys of JSON and of labels, items of lists.

use std::borrow::Cow;

use super::{
    failure::Failure,
    json,
    value::{Kind, Value},
};

/// How a step is called in failures.
const INDEX: &str = "[...]";

/// What is not there, and every part of what is no object or list, is null, as in Postgres.
pub(super) fn field<'a>(base: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, Failure> {
    let operator = INDEX;
    if key.is_null() {
        return Err(Failure::Null { operator });
    }
    let item = match (base, key) {
        (Value::Object(object), Value::Text(key)) => {
            let raw = json::field(object, key)?;
            return raw.map_or(Ok(Value::Null), |raw| Value::decode(raw, Kind::Json));
        }
        (Value::Labels(labels), Value::Text(key)) => labels
            .get(key)
            .map(|label| Value::Text(Cow::Borrowed(label))),
        (Value::Array(..) | Value::Names(_) | Value::Items(_), Value::Number(at)) => {
            let at: usize = at
                .to_scale(0)
                .and_then(|text| text.parse().ok())
                .ok_or(Failure::Mismatch { operator })?;
            base.items()?.unwrap_or_default().into_iter().nth(at)
        }
        // A key of a list and an item of an object are nowhere.
        (_, Value::Text(_) | Value::Number(_)) => None,
        _ => return Err(Failure::Mismatch { operator }),
    };
    Ok(item.unwrap_or(Value::Null))
}

/// Whether JSON or labels have the key; what has no keys has none.
pub(super) fn has(base: &Value<'_>, key: &Value<'_>) -> Result<bool, Failure> {
    match (base, key) {
        (Value::Object(object), Value::Text(key)) => Ok(json::field(object, key)?.is_some()),
        (Value::Labels(labels), Value::Text(key)) => Ok(labels.get(key).is_some()),
        _ => Ok(false),
    }
}
