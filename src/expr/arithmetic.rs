//! Calculating with values.

use std::borrow::Cow;

use super::{
    TEXT_BYTES_MAX, failure::Failure, instant, json, number::Number, program::Operation,
    value::Value,
};

const TOO_LONG: Failure = Failure::OutOfRange {
    what: "the length of a text",
};
const NO_TIME: Failure = Failure::OutOfRange { what: "a time" };
const NO_DURATION: Failure = Failure::OutOfRange { what: "a duration" };

/// The result of an operation. Exact numbers stay exact; with a double beside it a number becomes
/// one.
pub(super) fn calculate<'a>(
    operation: Operation,
    a: Value<'a>,
    b: Value<'a>,
) -> Result<Value<'a>, Failure> {
    use Operation::{Add, Subtract};
    let operator = operation.sign();
    Ok(match (operation, a, b) {
        (_, Value::Null, _) | (_, _, Value::Null) => return Err(Failure::Null { operator }),
        (_, Value::Number(a), Value::Number(b)) => Value::Number(exact(operation, &a, &b)?),
        (_, Value::Double(a), Value::Double(b)) => Value::Double(double(operation, a, b)?),
        (_, Value::Number(a), Value::Double(b)) => Value::Double(double(operation, a.to_f64(), b)?),
        (_, Value::Double(a), Value::Number(b)) => Value::Double(double(operation, a, b.to_f64())?),
        (Add, Value::Text(a), Value::Text(b)) => {
            if a.len() + b.len() > TEXT_BYTES_MAX {
                return Err(TOO_LONG);
            }
            Value::Text(Cow::Owned(a.into_owned() + &b))
        }
        (Add, Value::Time(time), Value::Duration(by))
        | (Add, Value::Duration(by), Value::Time(time)) => {
            Value::Time(instant::shift(time, by).ok_or(NO_TIME)?)
        }
        (Subtract, Value::Time(time), Value::Duration(by)) => {
            let back = by.checked_neg().ok_or(NO_DURATION)?;
            Value::Time(instant::shift(time, back).ok_or(NO_TIME)?)
        }
        (Subtract, Value::Time(end), Value::Time(start)) => {
            Value::Duration(instant::between(start, end).ok_or(NO_DURATION)?)
        }
        (Add, Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_add(b).ok_or(NO_DURATION)?)
        }
        (Subtract, Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_sub(b).ok_or(NO_DURATION)?)
        }
        _ => return Err(Failure::Mismatch { operator }),
    })
}

fn exact(operation: Operation, a: &Number, b: &Number) -> Result<Number, Failure> {
    match operation {
        Operation::Add => a.add(b),
        Operation::Subtract => a.subtract(b),
        Operation::Multiply => a.multiply(b),
        Operation::Divide => a.divide(b),
        Operation::DivideWhole => a.divide_whole(b),
        Operation::Remainder => a.remainder(b),
    }
}

/// As Postgres does it: what leaves the range of doubles is an error, not infinity.
fn double(operation: Operation, a: f64, b: f64) -> Result<f64, Failure> {
    let result = match operation {
        Operation::Add => a + b,
        Operation::Subtract => a - b,
        Operation::Multiply => a * b,
        _ if b == 0.0 => return Err(Failure::DivisionByZero),
        Operation::Divide | Operation::DivideWhole => a / b,
        Operation::Remainder => a % b,
    };
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(Failure::OutOfRange { what: "a number" });
    }
    Ok(result)
}

/// Minus a number or duration.
pub(super) fn negate<'a>(value: &Value<'a>) -> Result<Value<'a>, Failure> {
    Ok(match value {
        Value::Number(number) => Value::Number(number.negate()?),
        Value::Double(value) => Value::Double(-value),
        Value::Duration(length) => Value::Duration(length.checked_neg().ok_or(NO_DURATION)?),
        Value::Null => return Err(Failure::Null { operator: "-" }),
        _ => return Err(Failure::Mismatch { operator: "-" }),
    })
}

/// Characters of a text, items of a list, keys of an object.
pub(super) fn size<'a>(value: &Value<'a>) -> Result<Value<'a>, Failure> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::Array(raw, _) => json::items(raw)?.len(),
        Value::Object(raw) => json::entries(raw)?.len(),
        Value::Names(names) => names.len(),
        Value::Labels(labels) => labels.len(),
        Value::Items(items) => items.len(),
        Value::Null => return Err(Failure::Null { operator: "size" }),
        _ => return Err(Failure::Mismatch { operator: "size" }),
    };
    Ok(Value::Number(Number::int(
        i64::try_from(size).unwrap_or(i64::MAX),
    )))
}
