//! A subscription's own rate, and the one that its receiver allowed when it was asked. Pure.

use super::{check::SpecProblem, model::SubscriptionSpec};
use crate::constraint::rate::{RATE_COUNT_MAX, Rate};

/// What is wrong with the rate, if there is one.
pub(super) fn check_rate(spec: &SubscriptionSpec) -> Option<SpecProblem> {
    let problem = Rate::parse(spec.rate.as_deref()?).err()?;
    Some(SpecProblem::new("/rate", problem))
}

/// The rate that counts: the lower of the subscriber's `own` and the requests a minute that its
/// receiver `allowed`. An own one that is lower over more than a minute is spread over minutes, for
/// otherwise what it allows at once could be more than a minute's.
#[must_use]
pub fn rate_within(own: Option<Rate>, allowed_per_minute: Option<i64>) -> Option<Rate> {
    let allowed = allowed_per_minute.map(|count| count.clamp(1, RATE_COUNT_MAX));
    let Some(allowed) = allowed else {
        return own;
    };
    let text = match own {
        Some(own) if is_lower(own, allowed) && own.period_s() <= 60 => return Some(own),
        Some(own) if is_lower(own, allowed) => {
            let (count, period_s) = (own.limit(), own.period_s());
            match count * 60 / period_s {
                0 => format!("1/{}s", (period_s + count - 1) / count),
                per_minute => format!("{per_minute}/m"),
            }
        }
        _ => format!("{allowed}/m"),
    };
    Rate::parse(&text).ok()
}

fn is_lower(own: Rate, allowed_per_minute: i64) -> bool {
    let (own, allowed) = (own.limit() * 60, allowed_per_minute * own.period_s());
    own <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_rate_counts() {
        for (own, allowed, expected) in [
            (None, None, None),
            (Some("50/s"), None, Some("50/s")),
            (None, Some(120), Some("120/m")),
            (Some("50/s"), Some(120), Some("120/m")),
            (Some("1/s"), Some(120), Some("1/s")),
            (Some("2/s"), Some(120), Some("2/s")),
            (Some("120/m"), Some(120), Some("120/m")),
            (Some("121/m"), Some(120), Some("120/m")),
            // On an average lower; at once it would be 500.
            (Some("5000/h"), Some(100), Some("83/m")),
            (Some("50/h"), Some(100), Some("1/72s")),
            (Some("7000/h"), Some(100), Some("100/m")),
            (Some("1/31d"), Some(1), Some("1/31d")),
            (Some("1000000000/s"), Some(i64::MAX), Some("1000000000/m")),
            (Some("1000000000/31d"), Some(i64::MAX), Some("22401/m")),
        ] {
            let own = own.map(|text| Rate::parse(text).unwrap());
            let counts = rate_within(own, allowed).map(|rate| rate.to_string());
            assert_eq!(counts.as_deref(), expected, "{own:?} within {allowed:?}");
        }
    }
}
