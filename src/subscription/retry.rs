//! How long a delivery is tried, and how long a subscription whose deliveries all fail is kept up.
//! Pure.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{check::SpecProblem, model::optional_duration};

/// The default retry schedule: Standard Webhooks' (version 1.0.0, "Deliverability and
/// reliability"). Entry n is the wait before attempt n.
pub const SCHEDULE_DEFAULT: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];
/// The most entries of a retry schedule.
pub const SCHEDULE_ENTRIES_MAX: usize = 32;
/// The longest wait of a retry schedule.
pub const SCHEDULE_WAIT_MAX: Duration = Duration::from_secs(7 * DAY_S);
/// How much a wait is lengthened at most, so that what failed together does not return together.
pub const JITTER_SHARE_MAX: f64 = 0.1;
/// How long after its first attempt a delivery is given up, unless the subscription says another
/// time or its schedule takes longer. Longer than the default schedule, which takes three and a
/// half days with its jitter, so that a receiver has some room to ask for more patience.
pub const GIVE_UP_AFTER_DEFAULT: Duration = Duration::from_secs(5 * DAY_S);
/// How much longer than by its schedule a delivery may be tried, if nothing is said: requests take
/// time, Rowcall may have been down, and a receiver may ask for a day.
pub const GIVE_UP_AFTER_SLACK: Duration = Duration::from_secs(DAY_S);
/// The longest that a subscription may ask for: what all waits of the longest schedule come to.
pub const GIVE_UP_AFTER_MAX: Duration = Duration::from_secs(246 * DAY_S);
/// The longest failure that a subscription may ask to be put up with.
pub const DISABLE_AFTER_MAX: Duration = Duration::from_secs(366 * DAY_S);

const DAY_S: u64 = 24 * 3600;

/// How long a delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Entry n is the wait before attempt n; when the last has failed, the delivery is dead.
    #[serde(
        default = "schedule_default",
        serialize_with = "schedule_write",
        deserialize_with = "schedule_read"
    )]
    pub schedule: Arc<[Duration]>,
    /// No attempt begins later than this after the first one, whatever the schedule and the
    /// receiver say. See [`RetrySpec::given_up_after`] for what holds if it is left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub give_up_after: Option<Duration>,
    /// How long every attempt to the subscription must have failed until it is disabled. See
    /// [`RetrySpec::disabled_after`] for what holds if it is left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub disable_after: Option<Duration>,
}

impl RetrySpec {
    /// The wait before the first attempt.
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        self.schedule.first().copied().unwrap_or_default()
    }

    /// How long the attempts of one delivery may take by the schedule alone, from the first to the
    /// last, jitter included.
    #[must_use]
    pub fn length(&self) -> Duration {
        let waits = self.schedule.iter().skip(1);
        let sum = waits.fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
        let whole = sum
            .min(SCHEDULE_WAIT_MAX * SCHEDULE_ENTRIES_MAX as u32)
            .mul_f64(1.0 + JITTER_SHARE_MAX);
        match self.give_up_after {
            Some(cap) => whole.min(cap),
            None => whole,
        }
    }

    /// How long after the first attempt of a delivery the last one may begin.
    #[must_use]
    pub fn given_up_after(&self) -> Duration {
        let or_else = || GIVE_UP_AFTER_DEFAULT.max(self.length() + GIVE_UP_AFTER_SLACK);
        self.give_up_after.unwrap_or_else(or_else)
    }

    /// How long every attempt must have failed until the subscription is disabled; `default` is
    /// the operator's. Never before a delivery could be tried to its end.
    #[must_use]
    pub fn disabled_after(&self, default: Duration) -> Duration {
        self.disable_after.unwrap_or(default).max(self.length())
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        self.check_schedule(&mut problems);
        self.check_times(&mut problems);
        problems
    }

    fn check_schedule(&self, problems: &mut Vec<SpecProblem>) {
        let schedule = &self.schedule;
        if schedule.is_empty() || schedule.len() > SCHEDULE_ENTRIES_MAX {
            problems.push(SpecProblem::new(
                "/retry/schedule",
                format!(
                    "{} entries; write 1 to {SCHEDULE_ENTRIES_MAX}: entry n is the wait before \
                     attempt n, and `[\"0s\"]` is one attempt",
                    schedule.len()
                ),
            ));
        }
        for (index, wait) in schedule
            .iter()
            .enumerate()
            .filter(|(_, wait)| **wait > SCHEDULE_WAIT_MAX)
        {
            problems.push(SpecProblem::new(
                format!("/retry/schedule/{index}"),
                format!(
                    "{} is too long; the limit of one wait is {}",
                    shown(*wait),
                    shown(SCHEDULE_WAIT_MAX)
                ),
            ));
        }
    }

    fn check_times(&self, problems: &mut Vec<SpecProblem>) {
        if let Some(time) = self.give_up_after {
            let text = if time.is_zero() {
                Some("this is no time; for a single attempt write schedule = [\"0s\"]".to_owned())
            } else {
                too_long(time, GIVE_UP_AFTER_MAX)
            };
            let problem = text.map(|text| SpecProblem::new("/retry/give_up_after", text));
            problems.extend(problem);
        }
        if let Some(time) = self.disable_after {
            let least = self.length();
            let text = if time.is_zero() {
                Some("this is no time; write one such as `5days`".to_owned())
            } else if time < least {
                Some(format!(
                    "{} is shorter than a delivery is tried: by its schedule for {}; write at \
                     least that, or shorten the schedule",
                    shown(time),
                    shown(least)
                ))
            } else {
                too_long(time, DISABLE_AFTER_MAX)
            };
            let problem = text.map(|text| SpecProblem::new("/retry/disable_after", text));
            problems.extend(problem);
        }
    }
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            schedule: schedule_default(),
            give_up_after: None,
            disable_after: None,
        }
    }
}

fn too_long(time: Duration, max: Duration) -> Option<String> {
    let text = || format!("{} is too long; the limit is {}", shown(time), shown(max));
    (time > max).then(text)
}

/// A time in words; of a long one the seconds are enough.
#[must_use]
pub fn shown(time: Duration) -> String {
    let time = if time.as_secs() > 0 {
        Duration::from_secs(time.as_secs())
    } else {
        time
    };
    humantime::format_duration(time).to_string()
}

/// Most subscriptions have it, so they share it.
fn schedule_default() -> Arc<[Duration]> {
    static SHARED: LazyLock<Arc<[Duration]>> = LazyLock::new(|| SCHEDULE_DEFAULT.into());
    Arc::clone(&SHARED)
}

fn schedule_write<S: Serializer>(schedule: &[Duration], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(
        schedule
            .iter()
            .map(|wait| humantime::format_duration(*wait).to_string()),
    )
}

fn schedule_read<'de, D: Deserializer<'de>>(input: D) -> Result<Arc<[Duration]>, D::Error> {
    let texts = Vec::<String>::deserialize(input)?;
    let waits: Result<Vec<Duration>, D::Error> = texts
        .iter()
        .map(|text| {
            humantime::parse_duration(text).map_err(|error| {
                D::Error::custom(format!(
                    "`{text}` is not a duration such as `30s` or `5m`: {error}"
                ))
            })
        })
        .collect();
    let waits = waits?;
    Ok(if waits == SCHEDULE_DEFAULT {
        schedule_default()
    } else {
        waits.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> RetrySpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default_and_is_not_written() {
        let spec = read("{}");
        assert_eq!(spec, RetrySpec::default());
        let written = serde_json::to_string(&spec).unwrap();
        assert!(!written.contains("after"), "{written}");
        let spec = read(r#"{"give_up_after": "1h", "disable_after": "6days"}"#);
        assert_eq!(*spec.schedule, SCHEDULE_DEFAULT);
        let written = serde_json::to_string(&RetrySpec::default()).unwrap();
        assert!(Arc::ptr_eq(&read(&written).schedule, &spec.schedule));
        let again = serde_json::to_string(&spec).unwrap();
        assert_eq!(read(&again), spec);
        assert!(
            again.contains(r#""give_up_after":"1h","disable_after":"6days""#),
            "{again}"
        );
    }

    #[test]
    fn the_times_that_hold() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let days = |days: u64| hours(days * 24);
        for (json, given_up_after, disabled_after) in [
            ("{}", days(5), days(5)),
            (r#"{"schedule": ["0s"]}"#, days(5), days(5)),
            // A longer schedule is not cut, and nobody is disabled while it goes on.
            (
                r#"{"schedule": ["0s", "5days", "5days"]}"#,
                days(12),
                days(11),
            ),
            // The first wait is before the first attempt.
            (r#"{"schedule": ["7days", "1h"]}"#, days(5), days(5)),
            (r#"{"give_up_after": "1h"}"#, hours(1), days(5)),
            (
                r#"{"schedule": ["0s", "5days", "5days"], "give_up_after": "2days"}"#,
                days(2),
                days(5),
            ),
            (
                r#"{"schedule": ["0s", "10h"], "disable_after": "11h"}"#,
                days(5),
                hours(11),
            ),
        ] {
            let spec = read(json);
            assert_eq!(spec.problems(), [], "{json}");
            assert_eq!(spec.given_up_after(), given_up_after, "{json}");
            assert_eq!(spec.disabled_after(days(5)), disabled_after, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place_and_a_remedy() {
        for (json, pointer, says) in [
            (r#"{"schedule": []}"#, "/retry/schedule", "write 1 to 32"),
            (
                r#"{"schedule": ["0s", "8days"]}"#,
                "/retry/schedule/1",
                "the limit of one wait is 7days",
            ),
            (
                r#"{"give_up_after": "0s"}"#,
                "/retry/give_up_after",
                "schedule = [\"0s\"]",
            ),
            (
                r#"{"give_up_after": "300days"}"#,
                "/retry/give_up_after",
                "the limit is",
            ),
            (
                r#"{"disable_after": "1day"}"#,
                "/retry/disable_after",
                "tried: by its schedule for 3days",
            ),
            (
                r#"{"disable_after": "0s"}"#,
                "/retry/disable_after",
                "such as `5days`",
            ),
            (
                r#"{"disable_after": "10000days"}"#,
                "/retry/disable_after",
                "the limit is",
            ),
        ] {
            let problems = read(json).problems();
            assert_eq!(problems.len(), 1, "{json}: {problems:?}");
            assert_eq!(problems[0].pointer, pointer, "{json}");
            assert!(problems[0].message.contains(says), "{json}: {problems:?}");
        }
        let refused = |json: &str| {
            serde_json::from_str::<RetrySpec>(json)
                .unwrap_err()
                .to_string()
        };
        let text = refused(r#"{"give_up_after": "soon"}"#);
        assert!(text.contains("`soon` is not a duration such as"), "{text}");
        let text = refused(r#"{"give_up": "1h"}"#);
        assert!(text.contains("unknown field `give_up`"), "{text}");
    }

    /// The longest schedule is one that may be asked for by name.
    #[test]
    fn the_limits_fit_each_other() {
        let longest = RetrySpec {
            schedule: [SCHEDULE_WAIT_MAX; SCHEDULE_ENTRIES_MAX].into(),
            ..RetrySpec::default()
        };
        assert!(longest.length() <= GIVE_UP_AFTER_MAX);
        assert!(longest.length() <= DISABLE_AFTER_MAX);
        assert!(RetrySpec::default().length() < GIVE_UP_AFTER_DEFAULT);
    }
}
