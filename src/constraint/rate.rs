//! Rates such as `100/h`: how many deliveries in each of fixed windows. Pure.
//!
//! Windows have the rate's length and begin at multiples of it since 1970-01-01T00:00:00Z, so
//! that all instances count in the same ones.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The most deliveries that a rate may allow in a window.
pub const RATE_COUNT_MAX: i64 = 1_000_000_000;

/// The longest window of a rate.
pub const RATE_PERIOD_MAX: Duration = Duration::from_secs(31 * DAY_S as u64);

/// How long counts are kept after their window's begin: twice the longest window, for changes that
/// are published late.
pub const RATE_KEPT: Duration = Duration::from_secs(62 * DAY_S as u64);

const DAY_S: i64 = 24 * 3600;

/// A rate that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: i64,
    period_s: i64,
}

impl Rate {
    /// Reads `N/unit` or `N/Munit`, such as `100/h` or `5/15m`; units are s, m, h and d.
    ///
    /// # Errors
    ///
    /// What is expected instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |text: String| {
            format!("{text}: write a number and a time, such as `100/h`, `5/15m` or `1/s`")
        };
        let (count, period) = text
            .split_once('/')
            .ok_or_else(|| fault(format!("`{text}` is no rate")))?;
        let count = number_read(count)
            .filter(|count| (1..=RATE_COUNT_MAX).contains(count))
            .ok_or_else(|| {
                fault(format!(
                    "`{count}` is no number of deliveries from 1 to {RATE_COUNT_MAX}"
                ))
            })?;
        let unit = period.chars().next_back();
        let unit_s = match unit {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => DAY_S,
            _ => {
                return Err(fault(format!(
                    "`{period}` does not end in one of the units s, m, h and d"
                )));
            }
        };
        let times = match &period[..period.len() - 1] {
            "" => Some(1),
            digits => number_read(digits).filter(|times| *times > 0),
        };
        let times = times.ok_or_else(|| fault(format!("`{period}` is no time")))?;
        let period_s = times.saturating_mul(unit_s);
        if u64::try_from(period_s).is_ok_and(|seconds| seconds > RATE_PERIOD_MAX.as_secs()) {
            return Err(format!(
                "a rate counts over {} days at most",
                RATE_PERIOD_MAX.as_secs() / DAY_S.unsigned_abs()
            ));
        }
        Ok(Self { count, period_s })
    }

    /// How many deliveries a window allows.
    #[must_use]
    pub fn limit(self) -> i64 {
        self.count
    }

    /// The window's length in seconds.
    #[must_use]
    pub fn period_s(self) -> i64 {
        self.period_s
    }

    /// The begin of the window that `at` is in.
    #[must_use]
    pub fn window_start(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let seconds = at.timestamp();
        let start = seconds - seconds.rem_euclid(self.period_s);
        // Before chrono's first second there is no window of its own.
        DateTime::from_timestamp(start, 0).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// The begin of the window after the one that `at` is in.
    #[must_use]
    pub fn next_window(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let start = self.window_start(at).timestamp();
        DateTime::from_timestamp(start + self.period_s, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl std::fmt::Display for Rate {
    /// As it is read, with the largest unit that fits: `100/h`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit_s, unit) = [(DAY_S, 'd'), (3600, 'h'), (60, 'm')]
            .into_iter()
            .find(|(seconds, _)| self.period_s % seconds == 0)
            .unwrap_or((1, 's'));
        match self.period_s / unit_s {
            1 => write!(f, "{}/{unit}", self.count),
            times => write!(f, "{}/{times}{unit}", self.count),
        }
    }
}

fn number_read(digits: &str) -> Option<i64> {
    // `parse` alone would take a sign.
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, limit, period_s, shown) in [
            ("100/h", 100, 3600, "100/h"),
            ("5/15m", 5, 900, "5/15m"),
            ("1/s", 1, 1, "1/s"),
            ("7/60m", 7, 3600, "7/h"),
            (
                "1000000000/31d",
                1_000_000_000,
                31 * DAY_S,
                "1000000000/31d",
            ),
            ("08/90s", 8, 90, "8/90s"),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.limit(), rate.period_s), (limit, period_s), "{text}");
            assert_eq!(rate.to_string(), shown);
            assert_eq!(Rate::parse(shown), Ok(rate));
        }
    }

    #[test]
    fn what_is_no_rate_is_told() {
        for (text, says) in [
            ("", "`` is no rate"),
            ("100", "`100` is no rate"),
            ("0/h", "`0` is no number of deliveries from 1 to"),
            ("+1/h", "`+1` is no number"),
            ("1000000001/h", "from 1 to 1000000000"),
            ("99999999999999999999/h", "is no number"),
            ("1/w", "s, m, h and d"),
            ("1/", "`` does not end in one of the units"),
            ("1/0m", "`0m` is no time"),
            ("1/-5m", "`-5m` is no time"),
            ("1/1.5h", "`1.5h` is no time"),
            ("1/µ", "does not end in"),
            ("1/9999999999999999d", "31 days at most"),
            ("1/2678401s", "31 days at most"),
        ] {
            let fault = Rate::parse(text).unwrap_err();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }

    #[test]
    fn windows_begin_at_multiples_since_1970() {
        let rate = Rate::parse("5/15m").unwrap();
        let at = "2026-01-31T08:14:59.999Z".parse().unwrap();
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(rate.window_start(at), time("2026-01-31T08:00:00Z"));
        assert_eq!(rate.next_window(at), time("2026-01-31T08:15:00Z"));
        let before = time("1969-12-31T23:59:59.5Z");
        assert_eq!(rate.window_start(before), time("1969-12-31T23:45:00Z"));
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let _ = (rate.window_start(end), rate.next_window(end));
        }
    }

    proptest! {
        /// Windows leave no gap and do not overlap.
        #[test]
        fn each_moment_is_in_one_window(
            period_s in 1..31 * DAY_S,
            at_us in -1_000_000_000_000_000_i64..4_000_000_000_000_000,
        ) {
            let rate = Rate { count: 1, period_s };
            let at = DateTime::from_timestamp_micros(at_us).unwrap();
            let (start, next) = (rate.window_start(at), rate.next_window(at));
            prop_assert!(start <= at && at < next);
            prop_assert_eq!(next - start, TimeDelta::seconds(period_s));
            prop_assert_eq!(rate.window_start(next), next);
            prop_assert_eq!(rate.window_start(next - TimeDelta::microseconds(1)), start);
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,20}") {
            let _ = Rate::parse(&text);
        }
    }
}
