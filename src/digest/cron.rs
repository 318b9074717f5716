//! When a cron expression fires in a time zone. Pure.
//!
//! croner says which wall-clock times an expression means; when a wall clock shows them is decided
//! here, because zones skip times and show others twice:
//!
//! - An expression with fixed times (neither second, minute nor hour begins with `*`) fires when
//!   the wall clock first shows a time or passes it. A time that is skipped fires once, at the
//!   first instant after the gap, however long the gap is; several that are skipped together fire
//!   once together. A time that is shown twice fires at the first.
//! - An expression with a `*` in one of them means an interval, such as every 15 minutes. It fires
//!   at each instant whose wall clock it matches: never in a gap, and in both halves of an overlap.
//!
//! These are the rules of Vixie cron, without its bound of three hours.

use chrono::{DateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// No zone has two changes of its clock that are closer to each other.
const PROBE_S: i64 = 6 * 3_600;
/// No change of a clock was larger: whole days were skipped and repeated at the date line.
const CHANGE_S_MAX: i64 = 26 * 3_600;
/// An expression that does not fire in that many seconds from 2024 on, a century, is refused.
const FIRST_FIRE_S_MAX: i64 = 100 * 366 * 86_400;
/// 2024-01-01: where the search for the first fire begins.
const SEARCH_FROM_S: i64 = 1_704_067_200;
/// The longest expression, in characters.
pub const CRON_CHARS_MAX: usize = 200;

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct ZonedCron {
    cron: Cron,
    zone: Tz,
    is_interval: bool,
}

impl ZonedCron {
    /// Reads an expression of five fields, or six, of which the first then means seconds.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for whoever wrote it.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, String> {
        const FORM: &str = "write five fields (minute, hour, day of month, month, day of week) \
             such as `0 8 * * mon-fri`, or six with the seconds first";
        if text.chars().count() > CRON_CHARS_MAX {
            return Err(format!("more than {CRON_CHARS_MAX} characters; {FORM}"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if !(5..=6).contains(&fields.len()) {
            return Err(format!("`{text}` has {} fields; {FORM}", fields.len()));
        }
        let has_hole = |field: &&str| field.split(',').any(str::is_empty);
        if let Some(field) = fields.iter().copied().find(has_hole) {
            return Err(format!("a value is missing in `{field}`; {FORM}"));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| format!("`{text}` is no cron expression: {error}; {FORM}"))?;
        let time_fields = fields.len() - 3;
        let zoned = Self {
            cron,
            zone,
            is_interval: fields[..time_fields]
                .iter()
                .any(|field| field.starts_with('*')),
        };
        match zoned.civil_next(SEARCH_FROM_S) {
            Some(first) if first <= SEARCH_FROM_S + FIRST_FIRE_S_MAX => Ok(zoned),
            _ => Err(format!(
                "`{text}` never fires: no year has such a day; check day of month and month"
            )),
        }
    }

    /// The first fire after `after`; `None` only beyond the calendar's end.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Clocks change, and expressions fire, at whole seconds.
        let after = after.timestamp();
        let next = if self.is_interval {
            self.interval_after(after)
        } else {
            self.fixed_after(after)
        };
        DateTime::from_timestamp(next?, 0)
    }

    fn fixed_after(&self, after: i64) -> Option<i64> {
        let wanted = self.civil_next(self.shown_up_to(after) + 1)?;
        let mut at = after;
        loop {
            // Behind a gap the clock may have passed the wanted time already.
            let fire = (wanted - self.offset(at)).max(at);
            match self.change(at, fire) {
                None => return Some(fire),
                Some(change) => at = change,
            }
        }
    }

    fn interval_after(&self, after: i64) -> Option<i64> {
        let (mut at, mut from) = (after, after + 1);
        loop {
            let offset = self.offset(at);
            let fire = self.civil_next(from + offset)? - offset;
            match self.change(at, fire) {
                None => return Some(fire),
                Some(change) => (at, from) = (change, change),
            }
        }
    }

    /// The first wall-clock time from `civil` on that the expression means. Wall-clock times are
    /// counted as if they were UTC, which skips and repeats nothing.
    fn civil_next(&self, civil: i64) -> Option<i64> {
        let from = DateTime::<Utc>::from_timestamp(civil, 0)?;
        let next = self.cron.find_next_occurrence(&from, true).ok()?;
        Some(next.timestamp())
    }

    /// The latest wall-clock time that was shown up to `at`: later than that of `at` itself in the
    /// second half of an overlap.
    fn shown_up_to(&self, at: i64) -> i64 {
        let mut segment = at - CHANGE_S_MAX;
        let mut shown = i64::MIN;
        while let Some(change) = self.change(segment, at) {
            shown = shown.max(change - 1 + self.offset(segment));
            segment = change;
        }
        shown.max(at + self.offset(segment))
    }

    /// The first second after `from`, up to `to`, from which on the zone has another offset.
    fn change(&self, mut from: i64, to: i64) -> Option<i64> {
        let offset = self.offset(from);
        while from < to {
            let mut probe = (from + PROBE_S).min(to);
            if self.offset(probe) != offset {
                while probe - from > 1 {
                    let middle = from + (probe - from) / 2;
                    if self.offset(middle) == offset {
                        from = middle;
                    } else {
                        probe = middle;
                    }
                }
                return Some(probe);
            }
            from = probe;
        }
        None
    }

    /// How far the wall clock is ahead of UTC at `second`.
    fn offset(&self, second: i64) -> i64 {
        DateTime::<Utc>::from_timestamp(second, 0).map_or(0, |at| {
            let offset = self.zone.offset_from_utc_datetime(&at.naive_utc());
            i64::from(offset.fix().local_minus_utc())
        })
    }
}

#[cfg(test)]
mod tests;
