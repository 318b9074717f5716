//! Hours of a week in a time zone: whether a moment is among them, and when they come next. Pure.
//!
//! A window is what clocks on the wall show there. Where a clock is set forward, hours that it
//! skips do not come that day; where it is set back, hours that it shows twice are in the window
//! twice.

use std::fmt::Write as _;

use chrono::{
    DateTime, Datelike as _, FixedOffset, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _,
    Timelike as _, Utc,
};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::model::WindowSpec;
use crate::nearest::did_you_mean;

/// As they are written, in the order of chrono's numbers.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const DAY_MINUTES: u32 = 24 * 60;

/// How far one look ahead goes. No zone has ever changed its offset and changed it back within it.
const STEP: TimeDelta = TimeDelta::hours(12);

/// How far is looked ahead: a window of one day a week, of which a change of the clocks, or a day
/// that a country left out, may swallow one.
const LOOK_AHEAD_STEPS_MAX: usize = 2 * 22;

/// A window that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Days on which it begins, by chrono's numbers.
    days: [bool; 7],
    /// Minutes of the day, included.
    from: u32,
    /// Minutes of the day, not included; not above `from`: of the next day.
    to: u32,
    zone: Tz,
}

impl Window {
    /// Reads what is written.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its place in the specification, such as `/from`.
    pub fn compile(spec: &WindowSpec) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = Vec::new();
        let mut note = |pointer, read: Result<u32, String>| {
            read.map_err(|text| problems.push((pointer, text))).ok()
        };
        let from = note("/from", time_read(&spec.from, false));
        let to = note("/to", time_read(&spec.to, true));
        let mut days = [true; 7];
        if let Some(text) = &spec.days {
            match days_read(text) {
                Ok(read) => days = read,
                Err(text) => problems.push(("/days", text)),
            }
        }
        let mut zone = Tz::UTC;
        if let Some(name) = &spec.time_zone {
            match name.parse() {
                Ok(read) => zone = read,
                Err(_) => problems.push(("/time_zone", zone_unknown(name))),
            }
        }
        if let (Some(from), Some(to)) = (from, to)
            && from == to
        {
            let text = "the window is empty: it ends when it begins; a whole day is from = \
                        \"00:00\", to = \"24:00\"";
            problems.push(("/to", text.to_owned()));
        }
        match (from, to) {
            (Some(from), Some(to)) if problems.is_empty() => Ok(Self {
                days,
                from,
                to,
                zone,
            }),
            _ => Err(problems),
        }
    }

    /// Whether `at` is in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        let local = at.naive_utc().checked_add_offset(self.offset(at));
        local.is_some_and(|local| self.contains_local(local))
    }

    /// The first instant in the window that is not before `at`: `at` itself, if that is. At the
    /// worst, where no window comes within three weeks, the end of them: who asks will ask again.
    #[must_use]
    pub fn next_open(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let mut start = at;
        for _ in 0..LOOK_AHEAD_STEPS_MAX {
            let Some(mut end) = start.checked_add_signed(STEP) else {
                return at;
            };
            // Up to the next change of the clocks, wall and world time run side by side.
            let offset = self.offset(start);
            if self.offset(end) != offset {
                end = self.change(start, end);
            }
            let opens = start
                .naive_utc()
                .checked_add_offset(offset)
                .and_then(|local| self.next_open_local(local))
                .and_then(|local| local.checked_sub_offset(offset))
                .map(|opens| opens.and_utc());
            if let Some(opens) = opens.filter(|opens| *opens < end) {
                return opens;
            }
            start = end;
        }
        start
    }

    fn offset(&self, at: DateTime<Utc>) -> FixedOffset {
        self.zone.offset_from_utc_datetime(&at.naive_utc()).fix()
    }

    /// The first second after `before` with the offset of `after`.
    fn change(&self, before: DateTime<Utc>, after: DateTime<Utc>) -> DateTime<Utc> {
        let offset = self.offset(before);
        // Clocks are set at whole seconds.
        let (mut low, mut high) = (before.timestamp(), after.timestamp());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match DateTime::from_timestamp(middle, 0) {
                Some(at) if self.offset(at) == offset => low = middle,
                _ => high = middle,
            }
        }
        DateTime::from_timestamp(high, 0).unwrap_or(after)
    }

    fn begins_on(&self, local: NaiveDateTime) -> bool {
        self.days[local.weekday().num_days_from_monday() as usize]
    }

    fn contains_local(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        if self.from < self.to {
            return (self.from..self.to).contains(&minute) && self.begins_on(local);
        }
        let began_before = local
            .checked_sub_signed(TimeDelta::days(1))
            .is_some_and(|yesterday| self.begins_on(yesterday));
        minute >= self.from && self.begins_on(local) || minute < self.to && began_before
    }

    /// The first time not before `local` at which the window is open, if clocks are never set.
    fn next_open_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.contains_local(local) {
            return Some(local);
        }
        (0..=7).find_map(|days| {
            let date = local.date().checked_add_signed(TimeDelta::days(days))?;
            let opens = date.and_hms_opt(self.from / 60, self.from % 60, 0)?;
            (opens >= local && self.begins_on(opens)).then_some(opens)
        })
    }
}

impl std::fmt::Display for Window {
    /// As people write it: `mon,tue,fri 08:00-18:00 Europe/Berlin`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut days = String::new();
        for (day, name) in DAYS.iter().enumerate().filter(|(day, _)| self.days[*day]) {
            let comma = if days.is_empty() { "" } else { "," };
            // A range is easier to read than three names or more.
            let is_inner = |day: usize| day < 7 && self.days[day];
            if day > 0 && is_inner(day - 1) && is_inner(day + 1) {
                if !days.ends_with('-') {
                    days.push('-');
                }
            } else if days.ends_with('-') {
                days.push_str(name);
            } else {
                let _ = write!(days, "{comma}{name}");
            }
        }
        let hours = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let (from, to) = (hours(self.from), hours(self.to));
        write!(f, "{days} {from}-{to} {}", self.zone)
    }
}

fn time_read(text: &str, is_end: bool) -> Result<u32, String> {
    let part = |part: &str| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| part.parse::<u32>().ok()).flatten()
    };
    let read = text
        .split_once(':')
        .and_then(|(hours, minutes)| Some((part(hours)?, part(minutes)?)));
    match read {
        Some((24, 0)) if is_end => Ok(DAY_MINUTES),
        Some((hours @ 0..=23, minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        _ => {
            let last = if is_end { "24:00" } else { "23:59" };
            Err(format!(
                "`{text}` is no time of day: write two digits each for hours and minutes, 00:00 \
                 to {last}"
            ))
        }
    }
}

fn days_read(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day_read(first.trim())?, day_read(last.trim())?);
        // `fri-mon` runs over the week's end.
        let length = (last + 7 - first) % 7;
        for day in first..=first + length {
            days[day % 7] = true;
        }
    }
    Ok(days)
}

fn day_read(text: &str) -> Result<usize, String> {
    let day = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    day.ok_or_else(|| {
        let hint = did_you_mean(text, DAYS);
        format!(
            "`{text}` is no day: write {} or ranges of them, such as `mon-fri`{hint}",
            DAYS.join(", ")
        )
    })
}

fn zone_unknown(name: &str) -> String {
    let hint = did_you_mean(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
    format!("there is no time zone `{name}`: write an IANA name such as `Europe/Berlin`{hint}")
}

#[cfg(test)]
mod tests;
