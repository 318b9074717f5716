//! The parts of times and durations: `getHours()` and its like, counted as CEL counts them.

use chrono::{Datelike, TimeDelta, Timelike};
use chrono_tz::Tz;

use super::{failure::Failure, instant, number::Number, program::Part, value::Value};

/// Years around 1970 in which calendars are asked; a local time beyond would not be representable.
const YEARS_MAX: i64 = 200_000;
const MICROS_OF_YEAR: i64 = 366 * 24 * 60 * 60 * 1_000_000;

/// The functions that take a part out of a time, by name.
pub(super) const PARTS: &[(&str, Part)] = &[
    ("getFullYear", Part::Year),
    ("getMonth", Part::Month),
    ("getDayOfMonth", Part::DayOfMonth),
    ("getDate", Part::Date),
    ("getDayOfWeek", Part::DayOfWeek),
    ("getDayOfYear", Part::DayOfYear),
    ("getHours", Part::Hours),
    ("getMinutes", Part::Minutes),
    ("getSeconds", Part::Seconds),
    ("getMilliseconds", Part::Milliseconds),
];

/// A part of a time in a time zone, or a duration as whole hours, minutes, seconds or milliseconds.
/// Months, days of the month, of the week and of the year count from 0 (January, the first,
/// Sunday); the date counts from 1.
pub(super) fn part<'a>(part: Part, value: &Value<'_>, zone: Tz) -> Result<Value<'a>, Failure> {
    let operator = PARTS
        .iter()
        .find(|(_, known)| *known == part)
        .map_or("", |(name, _)| *name);
    let number = match value {
        Value::Time(time) => of_time(part, *time, zone)?,
        Value::Duration(length) => {
            let unit = match part {
                Part::Hours => TimeDelta::hours(1),
                Part::Minutes => TimeDelta::minutes(1),
                Part::Seconds => TimeDelta::seconds(1),
                Part::Milliseconds => TimeDelta::milliseconds(1),
                _ => return Err(Failure::Mismatch { operator }),
            };
            instant::whole_units(*length, unit)
        }
        Value::Null => return Err(Failure::Null { operator }),
        _ => return Err(Failure::Mismatch { operator }),
    };
    Ok(Value::Number(Number::int(number)))
}

fn of_time(part: Part, time: i64, zone: Tz) -> Result<i64, Failure> {
    let out_of_range = Failure::OutOfRange { what: "a time" };
    if time.unsigned_abs() > (YEARS_MAX * MICROS_OF_YEAR).unsigned_abs() {
        return Err(out_of_range);
    }
    let time = instant::to_chrono(time).ok_or(out_of_range)?;
    let time = time.with_timezone(&zone);
    Ok(match part {
        Part::Year => i64::from(time.year()),
        Part::Month => i64::from(time.month0()),
        Part::DayOfMonth => i64::from(time.day0()),
        Part::Date => i64::from(time.day()),
        Part::DayOfWeek => i64::from(time.weekday().num_days_from_sunday()),
        Part::DayOfYear => i64::from(time.ordinal0()),
        Part::Hours => i64::from(time.hour()),
        Part::Minutes => i64::from(time.minute()),
        Part::Seconds => i64::from(time.second()),
        Part::Milliseconds => i64::from(time.timestamp_subsec_millis()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_a_time_zone() {
        // A Saturday.
        let time = Value::Time(instant::parse_time("2026-01-31T23:30:15.250Z").unwrap());
        let of = |wanted, zone: &str| {
            let zone: Tz = zone.parse().unwrap();
            part(wanted, &time, zone).unwrap().to_json()
        };
        for (wanted, utc, berlin) in [
            (Part::Year, "2026", "2026"),
            (Part::Month, "0", "1"),
            (Part::Date, "31", "1"),
            (Part::DayOfMonth, "30", "0"),
            (Part::DayOfWeek, "6", "0"),
            (Part::DayOfYear, "30", "31"),
            (Part::Hours, "23", "0"),
            (Part::Minutes, "30", "30"),
            (Part::Seconds, "15", "15"),
            (Part::Milliseconds, "250", "250"),
        ] {
            assert_eq!(of(wanted, "UTC"), utc, "{wanted:?}");
            assert_eq!(of(wanted, "Europe/Berlin"), berlin, "{wanted:?}");
        }
    }

    #[test]
    fn the_ends_of_time_have_no_parts() {
        let failed = |time| part(Part::Hours, &Value::Time(time), Tz::UTC).is_err();
        assert!(failed(instant::FOREVER) && failed(instant::NEVER) && failed(i64::MAX - 1));
        let length = Value::Duration(5_400_000_000);
        let whole = |wanted| part(wanted, &length, Tz::UTC).map(|value| value.to_json());
        assert_eq!(whole(Part::Hours).as_deref(), Ok("1"));
        assert_eq!(whole(Part::Minutes).as_deref(), Ok("90"));
        assert!(whole(Part::Year).is_err());
    }
}
