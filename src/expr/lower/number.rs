//! Exact numbers: spelled, converted, and calculated with where nothing can overflow.

use super::{
    operand::{Class, NumberForm, Operand, Sql},
    quote::literal,
};
use crate::expr::{
    NUMBER_DIGITS_MAX,
    number::Number,
    program::{Constant, Operation},
};

/// Digits before the point of a `bigint`.
const INT_DIGITS: u16 = 19;
/// A `numeric` of at most so many digits on either side of the point is a double without error.
const DOUBLE_DIGITS_MAX: u16 = 300;

/// `numeric` of the value, with its digits before and behind the point; no digits if they are not
/// bounded.
fn numeric(operand: &Operand) -> Option<(String, Option<(u16, u16)>)> {
    match operand {
        Operand::Constant(Constant::Number(number)) => {
            let (text, digits) = spelled(number)?;
            Some((text, Some(digits)))
        }
        Operand::Sql(sql) => match sql.class {
            Class::Number(NumberForm::Int) => Some((
                format!("{}::pg_catalog.numeric", sql.text),
                Some((INT_DIGITS, 0)),
            )),
            Class::Number(NumberForm::Numeric(digits)) => Some((sql.text.clone(), digits)),
            _ => None,
        },
        Operand::Constant(_) => None,
    }
}

fn spelled(number: &Number) -> Option<(String, (u16, u16))> {
    // No literal is infinite or NaN.
    let behind = u16::try_from(number.fraction_digits()?).ok()?;
    let text = number.to_scale(behind)?;
    let before = text.trim_start_matches('-').find('.').unwrap_or(text.len());
    let before = u16::try_from(before).ok()?;
    Some((
        format!("{}::pg_catalog.numeric", literal(&text)),
        (before, behind),
    ))
}

/// Two exact numbers as operands of a comparison.
pub(super) fn pair(a: &Operand, b: &Operand) -> Option<(String, String)> {
    if let (Some(a), Some(b)) = (int(a), int(b)) {
        return Some((a, b));
    }
    Some((numeric(a)?.0, numeric(b)?.0))
}

/// A number and those that it is looked for among, with the type of these.
pub(super) fn list(
    item: &Operand,
    among: &[Number],
) -> Option<(String, Vec<String>, &'static str)> {
    let among = || {
        among
            .iter()
            .cloned()
            .map(Constant::Number)
            .map(Operand::Constant)
    };
    let ints: Option<Vec<String>> = among().map(|number| int(&number)).collect();
    if let (Some(item), Some(ints)) = (int(item), ints) {
        return Some((item, ints, "int8"));
    }
    let exact: Option<Vec<String>> = among().map(|number| Some(numeric(&number)?.0)).collect();
    Some((numeric(item)?.0, exact?, "numeric"))
}

/// An integer as it is, of whichever type; the operators of pg_catalog compare all of them.
fn int(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Sql(sql) if sql.class == Class::Number(NumberForm::Int) => Some(sql.text.clone()),
        Operand::Constant(Constant::Number(number)) => {
            let whole: i64 = number.to_scale(0)?.parse().ok()?;
            Some(format!("'{whole}'::pg_catalog.int8"))
        }
        _ => None,
    }
}

/// The `float8` of a number; `None` if the conversion could raise.
pub(super) fn double(operand: &Operand) -> Option<String> {
    let spelled = |value: f64| {
        let text = if value.is_nan() {
            "NaN".to_owned()
        } else if value.is_infinite() {
            format!("{}Infinity", if value < 0.0 { "-" } else { "" })
        } else {
            format!("{value:e}")
        };
        format!("'{text}'::pg_catalog.float8")
    };
    match operand {
        Operand::Constant(Constant::Double(value)) => Some(spelled(*value)),
        Operand::Constant(Constant::Number(number)) => Some(spelled(number.to_f64())),
        Operand::Sql(sql) => match sql.class {
            Class::Double => Some(sql.text.clone()),
            Class::Number(NumberForm::Int) => Some(format!("{}::pg_catalog.float8", sql.text)),
            Class::Number(NumberForm::Numeric(Some((before, behind))))
                if before.max(behind) <= DOUBLE_DIGITS_MAX =>
            {
                Some(format!("{}::pg_catalog.float8", sql.text))
            }
            _ => None,
        },
        Operand::Constant(_) => None,
    }
}

/// A sum, difference or product of exact numbers whose digits stay within bounds, so that it is
/// exact and never too large.
pub(super) fn calculate(operation: Operation, a: &Operand, b: &Operand) -> Option<Operand> {
    let ((a_text, a_digits), (b_text, b_digits)) = (numeric(a)?, numeric(b)?);
    let ((a_before, a_behind), (b_before, b_behind)) = (a_digits?, b_digits?);
    let (sign, before, behind) = match operation {
        Operation::Add => ("+", a_before.max(b_before) + 1, a_behind.max(b_behind)),
        Operation::Subtract => ("-", a_before.max(b_before) + 1, a_behind.max(b_behind)),
        Operation::Multiply => ("*", a_before + b_before, a_behind + b_behind),
        _ => return None,
    };
    if usize::from(before) > NUMBER_DIGITS_MAX || usize::from(behind) > NUMBER_DIGITS_MAX {
        return None;
    }
    let text = format!("({a_text} operator(pg_catalog.{sign}) {b_text})");
    let class = Class::Number(NumberForm::Numeric(Some((before, behind))));
    let operands: Vec<Sql> = [a, b].into_iter().filter_map(finite).collect();
    let operands: Vec<&Sql> = operands.iter().collect();
    Some(Operand::Sql(Sql::of(text, class, &operands)))
}

/// Minus a number.
pub(super) fn negate(operand: &Operand) -> Option<Operand> {
    if let Operand::Sql(Sql {
        class: Class::Double,
        ..
    }) = operand
    {
        return None;
    }
    let zero = Operand::Constant(Constant::Number(Number::int(0)));
    calculate(Operation::Subtract, &zero, operand)
}

/// The operand with what must be true for it to be calculated with: NaN can't be.
fn finite(operand: &Operand) -> Option<Sql> {
    let Operand::Sql(sql) = operand else {
        return None;
    };
    let mut sql = sql.clone();
    if sql.is_nullable && matches!(sql.class, Class::Number(NumberForm::Numeric(_))) {
        // Null is not NaN, but this is not true of it either.
        sql.needed.push(format!(
            "{} operator(pg_catalog.<>) 'NaN'::pg_catalog.numeric",
            sql.text
        ));
        sql.is_nullable = false;
    }
    Some(sql)
}
