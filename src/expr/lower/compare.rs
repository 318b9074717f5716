//! Comparisons, and constants in lists.

use chrono::{Datelike as _, SecondsFormat};

use super::{
    cond::Cond,
    number,
    operand::{Class, Operand, TimeForm},
    text,
};
use crate::expr::{
    instant::{self, FOREVER, NEVER},
    program::{Comparison, Constant, Set},
};

/// A comparison of two values, one of which is no literal.
pub(super) fn compare(how: Comparison, a: &Operand, b: &Operand) -> Option<Cond> {
    let needed: Vec<String> = [a.needed(), b.needed()].concat();
    let is_null = |side: &Operand| matches!(side, Operand::Constant(Constant::Null));
    let found = if is_null(a) || is_null(b) {
        match how {
            Comparison::Equal => Cond::and(vec![a.null_test(), b.null_test()]),
            Comparison::NotEqual => Cond::and(vec![a.null_test(), b.null_test()]).not(),
            _ => Cond::FAILS,
        }
    } else {
        let (a_text, b_text) = pair(a, b)?;
        let compared = |sign: &str| format!("({a_text} operator(pg_catalog.{sign}) {b_text})");
        match how {
            Comparison::Equal => equal(a, b, compared("=")),
            Comparison::NotEqual => equal(a, b, compared("=")).not(),
            Comparison::Less => Cond::of(compared("<")),
            Comparison::LessOrEqual => Cond::of(compared("<=")),
            Comparison::Greater => Cond::of(compared(">")),
            Comparison::GreaterOrEqual => Cond::of(compared(">=")),
        }
    };
    Some(found.given(&needed))
}

/// Equality takes null as a value.
fn equal(a: &Operand, b: &Operand, compared: String) -> Cond {
    let both_null = Cond::and(vec![a.null_test(), b.null_test()]);
    if !a.is_nullable() && !b.is_nullable() {
        return Cond::of(compared);
    }
    match both_null {
        Cond::Known(Some(false)) => Cond::null_is_false(compared),
        both_null => Cond::of(format!("coalesce({compared}, {})", both_null.sql())),
    }
}

/// Whether it is one of these. Null fails.
pub(super) fn in_set(item: &Operand, set: &Set) -> Option<Cond> {
    let (place, items, of) = match set {
        Set::Texts(texts) => {
            let items: Option<Vec<String>> =
                texts.iter().map(|text| text::constant(text)).collect();
            (text::by_bytes(item)?, items?, "text")
        }
        Set::Numbers(numbers) => number::list(item, numbers)?,
    };
    // Of null, an empty list would say false.
    if items.is_empty() {
        return None;
    }
    let found = format!(
        "({place} operator(pg_catalog.=) any (array[{}]::pg_catalog.{of}[]))",
        items.join(", ")
    );
    Some(Cond::of(found).given(item.needed()))
}

/// Both sides in types that an operator of pg_catalog compares without raising.
fn pair(a: &Operand, b: &Operand) -> Option<(String, String)> {
    match (kind(a)?, kind(b)?) {
        (Kind::Text, Kind::Text) => Some((text::by_bytes(a)?, text::by_bytes(b)?)),
        (Kind::Number, Kind::Number) => number::pair(a, b),
        (Kind::Number | Kind::Double, Kind::Number | Kind::Double) => {
            Some((number::double(a)?, number::double(b)?))
        }
        (Kind::Bool, Kind::Bool) => Some((truth(a)?, truth(b)?)),
        (Kind::Time, Kind::Time) => times(a, b),
        (Kind::Duration, Kind::Duration) => Some((duration(a)?, duration(b)?)),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Number,
    Double,
    Text,
    Time,
    Duration,
}

fn kind(operand: &Operand) -> Option<Kind> {
    Some(match operand {
        Operand::Constant(constant) => match constant {
            Constant::Null => return None,
            Constant::Bool(_) => Kind::Bool,
            Constant::Number(_) => Kind::Number,
            Constant::Double(_) => Kind::Double,
            Constant::Text(_) => Kind::Text,
            Constant::Time(_) => Kind::Time,
            Constant::Duration(_) => Kind::Duration,
        },
        Operand::Sql(sql) => match sql.class {
            Class::Bool => Kind::Bool,
            Class::Number(_) => Kind::Number,
            Class::Double => Kind::Double,
            Class::Text => Kind::Text,
            Class::Time(_) => Kind::Time,
            Class::Duration => Kind::Duration,
        },
    })
}

fn truth(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Constant(Constant::Bool(value)) => Some(value.to_string()),
        Operand::Sql(sql) => Some(sql.text.clone()),
        Operand::Constant(_) => None,
    }
}

/// Two times. Those without a time zone are UTC, and are never compared with one by the session's.
fn times(a: &Operand, b: &Operand) -> Option<(String, String)> {
    let form = |operand: &Operand| match operand {
        Operand::Sql(sql) => match sql.class {
            Class::Time(form) => Some(form),
            _ => None,
        },
        Operand::Constant(_) => None,
    };
    let (a_form, b_form) = (form(a), form(b));
    let is_zoned = |form| form == Some(TimeForm::Timestamptz);
    // Literals take the other side's type.
    let all_zoned =
        (is_zoned(a_form) || a_form.is_none()) && (is_zoned(b_form) || b_form.is_none());
    let side = |operand: &Operand, form: Option<TimeForm>| match operand {
        Operand::Constant(Constant::Time(time)) => time_literal(*time, all_zoned),
        Operand::Sql(sql) if is_zoned(form) && !all_zoned => Some(format!(
            "pg_catalog.timezone('00:00:00'::pg_catalog.interval, {})",
            sql.text
        )),
        Operand::Sql(sql) => Some(sql.text.clone()),
        Operand::Constant(_) => None,
    };
    Some((side(a, a_form)?, side(b, b_form)?))
}

/// A time of the years 1 to 9999, or an infinite one.
fn time_literal(time: i64, is_zoned: bool) -> Option<String> {
    let (sql_type, zone) = if is_zoned {
        ("timestamptz", "+00")
    } else {
        ("timestamp", "")
    };
    let text = match time {
        FOREVER => "infinity".to_owned(),
        NEVER => "-infinity".to_owned(),
        _ => {
            let time = instant::to_chrono(time)?;
            if !(1..=9999).contains(&time.year()) {
                return None;
            }
            let text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
            format!("{}{zone}", text.trim_end_matches('Z').replace('T', " "))
        }
    };
    Some(format!("'{text}'::pg_catalog.{sql_type}"))
}

fn duration(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Constant(Constant::Duration(micros)) => {
            Some(format!("'{micros} microseconds'::pg_catalog.interval"))
        }
        Operand::Sql(sql) => Some(sql.text.clone()),
        Operand::Constant(_) => None,
    }
}
