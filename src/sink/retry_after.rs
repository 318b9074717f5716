//! Reading `Retry-After`: the receiver's wish about when to come back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;

/// The longest wish that is passed on; longer ones are cut to it. A day is also the longest wait
/// of the default retry schedule. Whoever schedules the retry may cut further.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The wait that the header asks for, counted from `now`, at most [`RETRY_AFTER_MAX`].
///
/// Seconds or an HTTP date in any of its three forms (RFC 9110, sections 10.2.3 and 5.6.7). A
/// negative number, a date that has passed and anything else is no wish at all: the schedule
/// stands.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait, not a mistake.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        (DateTime::<Utc>::from(date) - now).to_std().ok()?
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let now = DateTime::parse_from_rfc3339("2026-11-21T12:00:00Z")
            .unwrap()
            .to_utc();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, now)
    }

    #[test]
    fn seconds_and_dates_are_understood_and_bounded() {
        for (text, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("86400", 86_400),
            ("86401", 86_400),
            ("99999999999999999999999999", 86_400),
            ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
            ("Saturday, 21-Nov-26 12:01:00 GMT", 60),
            ("Sat Nov 21 12:02:00 2026", 120),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ] {
            assert_eq!(asked(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_obeyed_is_ignored() {
        for text in [
            "",
            "-1",
            "+5",
            "1.5",
            "0x10",
            "soon",
            "12 monkeys",
            "1e3",
            "Sat, 21 Nov 2026 11:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Sat, 32 Nov 2026 12:00:00 GMT",
            "2026-11-21T13:00:00Z",
        ] {
            assert_eq!(asked(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), DateTime::UNIX_EPOCH), None);
    }
}
