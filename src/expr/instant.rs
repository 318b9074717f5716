//! Points in time and lengths of time, in microseconds as Postgres has them.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The point in time that Postgres spells `infinity`: later than every other.
pub(super) const FOREVER: i64 = i64::MAX;
/// `-infinity`.
pub(super) const NEVER: i64 = i64::MIN;

/// Microseconds since 1970 of a time of the program's clock.
pub(super) fn of(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// The same as a time of chrono's; `None` for the infinities, and years that chrono does not have.
pub(super) fn to_chrono(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

/// Reads a time as Postgres and RFC 3339 spell it, in microseconds since 1970: a date, perhaps a
/// time of day, perhaps an offset. Without an offset it is UTC; without a time, midnight.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(FOREVER),
        "-infinity" => return Some(NEVER),
        _ => {}
    }
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (date, rest) = match text.find(['T', ' ', 't']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4, 6)?;
    let month = digits(parts.next()?, 2, 2)?;
    let day = digits(parts.next()?, 2, 2)?;
    let year = if before_christ { 1 - year } else { year };
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        u32::try_from(month).ok()?,
        u32::try_from(day).ok()?,
    )?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    let time = rest.map_or(Some(0), time_of_day)?;
    days.checked_mul(DAY)?.checked_add(time)
}

/// `HH:MM[:SS[.ffffff]]` and an offset, as microseconds to add to midnight UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text.get(..at)?, text.get(at..)?),
        None => (text, ""),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.splitn(3, ':');
    let hours = digits(parts.next()?, 2, 2)?;
    let minutes = digits(parts.next()?, 2, 2)?;
    let seconds = parts.next().map_or(Some(0), |s| digits(s, 2, 2))?;
    if hours > 24 || minutes > 59 || seconds > 60 {
        return None;
    }
    let micros = if fraction.is_empty() {
        0
    } else {
        micros(fraction)?
    };
    let local = hours * HOUR + minutes * MINUTE + seconds * SECOND + micros;
    if local > DAY {
        return None;
    }
    let east = match offset.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => 0,
        Some((sign, offset)) => {
            let mut parts = offset.splitn(3, ':');
            let hours = digits(parts.next()?, 2, 2)?;
            let minutes = parts.next().map_or(Some(0), |m| digits(m, 2, 2))?;
            let seconds = parts.next().map_or(Some(0), |s| digits(s, 2, 2))?;
            if hours > 18 || minutes > 59 || seconds > 59 {
                return None;
            }
            let east = hours * HOUR + minutes * MINUTE + seconds * SECOND;
            match sign {
                "+" => east,
                "-" => -east,
                _ => return None,
            }
        }
    };
    Some(local - east)
}

/// The digits behind a decimal point as microseconds; finer ones are `None` unless zero.
fn micros(fraction: &str) -> Option<i64> {
    let (kept, finer) = fraction.split_at_checked(6).unwrap_or((fraction, ""));
    if !finer.bytes().all(|b| b == b'0') {
        return None;
    }
    let value = digits(kept, 1, 6)?;
    Some(value * 10_i64.pow(u32::try_from(6 - kept.len()).ok()?))
}

fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// Reads a duration as expressions spell it, in microseconds: `1h30m`, `-1.5s`, `2d`, `250ms`. A
/// day is 24 hours. `None` for anything else, and for what is finer than a microsecond.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        // In nanoseconds first, so that `500ns` is seen to be too fine and `2000ns` is not.
        let nanos: i128 = match unit {
            "d" => 86_400_000_000_000,
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 15 || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let value = format!("{whole}{fraction}");
        let value = i128::from(digits(&value, 1, 18)?).checked_mul(nanos)?;
        if value % (scale * 1_000) != 0 {
            return None;
        }
        total = total.checked_add(i64::try_from(value / (scale * 1_000)).ok()?)?;
        rest = behind;
    }
    if text.is_empty() || text == "-" {
        return None;
    }
    Some(if negative { -total } else { total })
}

/// Reads an `interval` as the trigger writes it (ISO 8601: `P1DT2H3.5S`), in microseconds; a day is
/// 24 hours. An interval of years or months has no exact length: `None`.
pub(super) fn parse_interval(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(FOREVER),
        "-infinity" => return Some(NEVER),
        _ => {}
    }
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text.strip_prefix('P')?, None),
    };
    let of_date = |unit| match unit {
        // A zero of them is exact.
        'Y' | 'M' => Some(0),
        'W' => Some(7 * DAY),
        'D' => Some(DAY),
        _ => None,
    };
    let of_time = |unit| match unit {
        'H' => Some(HOUR),
        'M' => Some(MINUTE),
        'S' => Some(SECOND),
        _ => None,
    };
    let days = designated(date, of_date)?;
    let time = time.map_or(Some(0), |time| designated(time, of_time))?;
    days.checked_add(time)
}

/// The sum of numbers with unit letters behind them. A unit of length zero must have the number 0.
fn designated(text: &str, unit: impl Fn(char) -> Option<i64>) -> Option<i64> {
    let (mut total, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, behind) = rest.split_at(end);
        let mut behind = behind.chars();
        let length = unit(behind.next()?)?;
        rest = behind.as_str();
        let (sign, number) = match number.strip_prefix('-') {
            Some(number) => (-1, number),
            None => (1, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole = digits(whole, 1, 18)?;
        if length == 0 && whole != 0 {
            return None;
        }
        let mut value = whole.checked_mul(length)?;
        if !fraction.is_empty() {
            // Only seconds have fractions as Postgres writes them.
            if length != SECOND {
                return None;
            }
            value = value.checked_add(micros(fraction)?)?;
        }
        total = total.checked_add(sign * value)?;
    }
    Some(total)
}

/// A duration as an expression would spell it.
pub(super) fn duration_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let length = Duration::from_micros(micros.unsigned_abs());
    format!("{sign}{}", humantime::format_duration(length)).replace(' ', "")
}

/// A time as RFC 3339 in UTC.
pub(super) fn time_text(micros: i64) -> String {
    match micros {
        FOREVER => "infinity".to_owned(),
        NEVER => "-infinity".to_owned(),
        _ => to_chrono(micros).map_or_else(String::new, |time| {
            time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        }),
    }
}

/// The later or earlier time; `None` outside of what Postgres and this program can hold.
pub(super) fn shift(time: i64, by: i64) -> Option<i64> {
    if matches!(time, FOREVER | NEVER) {
        return Some(time);
    }
    let moved = time.checked_add(by)?;
    // The extremes mean infinity.
    (!matches!(moved, FOREVER | NEVER)).then_some(moved)
}

/// How long it is from `start` to `end`; `None` if one of them is infinite.
pub(super) fn between(start: i64, end: i64) -> Option<i64> {
    if [start, end]
        .iter()
        .any(|time| matches!(*time, FOREVER | NEVER))
    {
        return None;
    }
    end.checked_sub(start)
}

/// Whole hours, minutes, seconds or milliseconds of a duration, towards zero.
pub(super) fn whole_units(micros: i64, unit: TimeDelta) -> i64 {
    let unit = unit.num_microseconds().unwrap_or(1).max(1);
    micros / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgres_writes_them() {
        let second = |text| parse_time(text).map(|micros| micros / SECOND);
        assert_eq!(second("1970-01-01"), Some(0));
        assert_eq!(second("1970-01-01T00:00:01"), Some(1));
        assert_eq!(second("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(second("1969-12-31T18:30:00-05:30"), Some(0));
        assert_eq!(second("1970-01-01 00:00:00Z"), Some(0));
        assert_eq!(second("1970-01-01T24:00:00Z"), Some(86_400));
        assert_eq!(parse_time("1970-01-01T00:00:00.25+00"), Some(250_000));
        assert_eq!(parse_time("1970-01-01T00:00:00.123456789Z"), None);
        // Of 400 years each, of 146,097 days: the calendar repeats.
        assert_eq!(
            second("12026-01-01T00:00:00+00:00"),
            Some(1_767_225_600 + 25 * 146_097 * 86_400)
        );
        assert_eq!(
            second("0001-01-01T00:00:00+00:00 BC"),
            Some(946_684_800 - 5 * 146_097 * 86_400)
        );
        assert_eq!(parse_time("infinity"), Some(FOREVER));
        let bad = [
            "",
            "x",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01T",
            "2026-01-01T25:00:00Z",
        ];
        for text in bad
            .iter()
            .chain(&["1-1-1", "2026-01-01T10:00:00+99", "2026-01-01T1:2:3"])
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_exact_or_refused() {
        assert_eq!(parse_duration("1h30m"), Some(90 * MINUTE));
        assert_eq!(parse_duration("-1.5s"), Some(-1_500_000));
        assert_eq!(parse_duration("2d"), Some(2 * DAY));
        assert_eq!(parse_duration("250ms2us"), Some(250_002));
        assert_eq!(parse_duration("2000ns"), Some(2));
        assert_eq!(parse_duration("0"), Some(0));
        for text in [
            "",
            "-",
            "1",
            "h",
            "1x",
            "500ns",
            "1h-2m",
            "99999999999999999d",
            ".s",
            "1..2s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(duration_text(90 * MINUTE), "1h30m");
    }

    #[test]
    fn intervals_with_months_have_no_length() {
        assert_eq!(parse_interval("PT0S"), Some(0));
        assert_eq!(
            parse_interval("P1DT2H3M4.5S"),
            Some(DAY + 2 * HOUR + 3 * MINUTE + 4_500_000)
        );
        assert_eq!(parse_interval("P-1DT-0.5S"), Some(-DAY - 500_000));
        assert_eq!(parse_interval("P1M"), None);
        assert_eq!(parse_interval("P1Y2D"), None);
        for text in ["", "P1", "1 day", "PT1X", "P1.5D"] {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }

    #[test]
    fn infinity_stays_infinite() {
        assert_eq!(shift(FOREVER, -5), Some(FOREVER));
        assert_eq!(shift(FOREVER - 1, 1), None);
        assert_eq!(shift(FOREVER - 1, 2), None);
        assert_eq!(between(0, NEVER), None);
        assert_eq!(between(5, 3), Some(-2));
    }
}
