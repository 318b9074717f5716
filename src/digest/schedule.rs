//! When the window of a digest closes: by the clock, by the number of its events, or by how long
//! its first event has waited. Pure.

use std::{str::FromStr as _, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::{
    cron::ZonedCron,
    late::{Late, fires},
};
use crate::{nearest::did_you_mean, subscription::model::DigestSchedule};

/// The most events of one digest that `max_items` may ask for; without it there is no bound.
pub const MAX_ITEMS_MAX: u32 = 1_000_000;
/// The shortest `max_wait`.
pub const MAX_WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest `max_wait`.
pub const MAX_WAIT_MAX: Duration = Duration::from_secs(366 * 86_400);
/// How long the events of a subscription wait whose schedule can't be used any more.
const FALLBACK_WAIT: TimeDelta = TimeDelta::hours(1);

/// A digest's schedule, made ready for use.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Boxed: most subscriptions have none, and it is some hundred bytes.
    cron: Option<Box<ZonedCron>>,
    max_items: Option<u32>,
    max_wait: Option<TimeDelta>,
    send_empty: bool,
    late: Late,
}

/// When an open digest is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Not before this time.
    pub at: DateTime<Utc>,
    /// Because of what.
    pub by: CloseBy,
}

/// Why a digest is closed at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseBy {
    /// Its cron expression fires.
    Schedule,
    /// Its first event has waited for `max_wait`.
    MaxWait,
}

impl CloseBy {
    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::MaxWait => "max_wait",
        }
    }
}

impl Schedule {
    /// Checks a schedule and makes it ready for use.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: a JSON pointer into the schedule, such as `/cron`, and
    /// what to do about it.
    pub fn compile(schedule: &DigestSchedule) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = Vec::new();
        let zone = zone(schedule).unwrap_or_else(|problem| {
            problems.push(("/time_zone", problem));
            Tz::UTC
        });
        let cron = schedule
            .cron
            .as_ref()
            .and_then(|text| match ZonedCron::parse(text, zone) {
                Ok(cron) => Some(Box::new(cron)),
                Err(problem) => {
                    problems.push(("/cron", problem));
                    None
                }
            });
        if schedule.cron.is_none() && schedule.max_items.is_none() && schedule.max_wait.is_none() {
            let text = "such a digest would never be sent: give at least one of `cron`, \
                 `max_items` and `max_wait`";
            problems.push(("", text.to_owned()));
        }
        if let Some(items) = schedule.max_items
            && !(1..=MAX_ITEMS_MAX).contains(&items)
        {
            let text = format!("{items} events; write a number from 1 to {MAX_ITEMS_MAX}");
            problems.push(("/max_items", text));
        }
        if let Some(wait) = schedule.max_wait
            && !(MAX_WAIT_MIN..=MAX_WAIT_MAX).contains(&wait)
        {
            let text = format!(
                "{}; write a time from {} to {}",
                humantime::format_duration(wait),
                humantime::format_duration(MAX_WAIT_MIN),
                humantime::format_duration(MAX_WAIT_MAX),
            );
            problems.push(("/max_wait", text));
        }
        if schedule.send_empty && schedule.cron.is_none() {
            let text = "only a time of day can end a window in which nothing happens: give `cron`, \
                 too, or leave `send_empty` out";
            problems.push(("/send_empty", text.to_owned()));
        }
        if !schedule.late.is_merge() && schedule.cron.is_none() {
            let text = "windows of their own are those between two times of day: give `cron`, too, \
                 or leave `late` out";
            problems.push(("/late", text.to_owned()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            cron,
            max_items: schedule.max_items,
            // Within the bound that was just checked.
            max_wait: schedule
                .max_wait
                .and_then(|wait| TimeDelta::from_std(wait).ok()),
            send_empty: schedule.send_empty,
            late: schedule.late,
        })
    }

    /// Hourly, for a subscription whose stored schedule this program can't use: its digests are
    /// sent at other times than it asked for, and nothing is lost.
    #[must_use]
    pub fn fallback() -> Self {
        Self {
            cron: None,
            max_items: None,
            max_wait: Some(FALLBACK_WAIT),
            send_empty: false,
            late: Late::Merge,
        }
    }

    /// The ends of the windows that passed from `begun` up to `now`, none of which was closed; the
    /// last one is the latest. None, if they are merged into the one that is open.
    #[must_use]
    pub fn missed(&self, begun: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        match (self.late, &self.cron) {
            (Late::Each, Some(cron)) => fires(cron, begun, now),
            _ => Vec::new(),
        }
    }

    /// When the cron expression fires next; `None` if there is none.
    #[must_use]
    pub fn next_fire(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.as_ref()?.next_after(after)
    }

    /// When a digest is closed that is open at `now` and got its first event at `first_at`. `None`
    /// if only the number of its events closes it.
    #[must_use]
    pub fn close(&self, now: DateTime<Utc>, first_at: Option<DateTime<Utc>>) -> Option<Close> {
        let fire = self.next_fire(now).map(|at| Close {
            at,
            by: CloseBy::Schedule,
        });
        let waited = self.waited(first_at);
        match (fire, waited) {
            (Some(fire), Some(waited)) if waited.at < fire.at => Some(waited),
            (fire, waited) => fire.or(waited),
        }
    }

    /// When a first event of `first_at` has waited long enough.
    fn waited(&self, first_at: Option<DateTime<Utc>>) -> Option<Close> {
        Some(Close {
            at: first_at?.checked_add_signed(self.max_wait?)?,
            by: CloseBy::MaxWait,
        })
    }

    /// Whether a window ends when its time comes, however late somebody closes it.
    #[must_use]
    pub fn ends_on_time(&self) -> bool {
        self.late == Late::Each
    }

    /// The most events of one digest.
    #[must_use]
    pub fn max_items(&self) -> Option<u32> {
        self.max_items
    }

    /// The longest time from a digest's first event to its close.
    #[must_use]
    pub fn max_wait(&self) -> Option<TimeDelta> {
        self.max_wait
    }

    /// Whether a window in which nothing happened is told, too.
    #[must_use]
    pub fn sends_empty(&self) -> bool {
        self.send_empty
    }
}

fn zone(schedule: &DigestSchedule) -> Result<Tz, String> {
    let Some(name) = &schedule.time_zone else {
        return Ok(Tz::UTC);
    };
    if schedule.cron.is_none() {
        let text = "only `cron` is meant in a time zone: give it, too, or leave `time_zone` out";
        return Err(text.to_owned());
    }
    Tz::from_str(name).map_err(|_| {
        let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
        // Who writes `Berlin` means `Europe/Berlin`.
        let is_city = |zone: &&str| {
            let city = zone.rsplit('/').next();
            city.is_some_and(|city| city.eq_ignore_ascii_case(name))
        };
        let hint = match names().find(is_city) {
            Some(zone) => format!("; did you mean `{zone}`?"),
            None => did_you_mean(name, names()),
        };
        format!("`{name}` is no time zone of the IANA list, such as `Europe/Berlin`{hint}")
    })
}

#[cfg(test)]
mod tests;
