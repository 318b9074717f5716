//! Windows that ended while nobody was there to close them.
//!
//! A window is a time of publishing, so an event is in the window in which it was published: what
//! was changed while nothing ran is in the window that is open when it is read. Two things are left
//! to decide about the windows that passed meanwhile. With `merge` they are one: the digest that is
//! found open ends when somebody closes it, and the next begins there. With `each` a window ends
//! when its time comes, however late somebody closes it; windows without events are windows of
//! their own, told if the subscriber asks for empty ones and passed over if not. So no window is
//! longer than from one time to the next.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::store::{Empty, digest_begin, empty_insert};
use super::{
    cron::ZonedCron,
    schedule::Schedule,
    store::{Closed, digest_opened_at},
};
use crate::{
    db::{Connection, QueryError},
    publish::detect::Ids,
};

/// Windows without events that are made at once for a subscription that is told of them. Of more
/// than that the last one has all the rest of the time.
pub const LATE_WINDOWS_MAX: usize = 100;

/// What becomes of windows that end while nobody is there to close them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// They are one window, which ends when somebody is there again.
    #[default]
    Merge,
    /// Each ends when its time comes.
    Each,
}

impl Late {
    /// Whether it is what a schedule has that says nothing of it.
    #[must_use]
    pub fn is_merge(&self) -> bool {
        *self == Self::Merge
    }
}

/// When `cron` fired after `begun` and up to `now`: the first [`LATE_WINDOWS_MAX`] times, the last
/// of which gives way to the latest one if there were more.
pub(super) fn fires(
    cron: &ZonedCron,
    begun: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let next = |after| cron.next_after(after).filter(|fire| *fire <= now);
    let first = std::iter::successors(next(begun), |fire| next(*fire));
    let mut fires: Vec<DateTime<Utc>> = first.take(LATE_WINDOWS_MAX).collect();
    if let Some(last) = fires.last_mut()
        && next(*last).is_some()
    {
        *last = latest(*last, now, next);
    }
    fires
}

/// The latest fire up to `now`, if there is one after `from`. Between the two there may be
/// millions, so they are not counted: times are halved until a second is left, and that is when it
/// fires.
fn latest(
    from: DateTime<Utc>,
    now: DateTime<Utc>,
    next: impl Fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
) -> DateTime<Utc> {
    // There is a fire after `before`, and none after `behind`.
    let (mut before, mut behind) = (from, now);
    while behind - before > TimeDelta::seconds(1) {
        let middle = before + (behind - before) / 2;
        match next(middle) {
            Some(_) => before = middle,
            None => behind = middle,
        }
    }
    next(before).unwrap_or(from)
}

/// Lets the windows of digests that this transaction has opened begin where the last ones ended: by
/// subscription, which of them was closed last and when. A subscription's first digest begins now.
pub(super) fn windows_begin<'a>(
    connection: &mut Connection,
    new: &[Uuid],
    schedule: impl Fn(&Uuid) -> Option<&'a Schedule>,
    ids: &Ids,
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, Closed>, QueryError> {
    let mut closed = digest_opened_at(connection, new)?;
    let skipped = windows_skip(connection, &mut closed, schedule, ids, now)?;
    if !skipped.is_empty() {
        let begins: Vec<(Uuid, DateTime<Utc>)> = skipped
            .into_iter()
            .filter_map(|id| Some((id, closed.get(&id)?.closed_at)))
            .collect();
        digest_begin(connection, new, &begins)?;
    }
    Ok(closed)
}

/// Passes over the windows behind those in `closed` that have ended since, where each of them is to
/// be one by itself, and tells them where empty ones are told. Afterwards `closed` has the last
/// window that has ended. The caller holds the open digests of these subscriptions, so that numbers
/// are certain. Returns whose windows were passed over.
pub(super) fn windows_skip<'a>(
    connection: &mut Connection,
    closed: &mut HashMap<Uuid, Closed>,
    schedule: impl Fn(&Uuid) -> Option<&'a Schedule>,
    ids: &Ids,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, QueryError> {
    let (mut empty, mut skipped) = (Vec::new(), Vec::new());
    for (subscription_id, closed) in closed {
        let Some(schedule) = schedule(subscription_id) else {
            continue;
        };
        let missed = schedule.missed(closed.closed_at, now);
        if !missed.is_empty() {
            skipped.push(*subscription_id);
        }
        for end in missed {
            if schedule.sends_empty() {
                closed.number += 1;
                empty.push(Empty {
                    id: ids.next(now),
                    subscription_id: *subscription_id,
                    number: closed.number,
                    from: closed.closed_at,
                    to: end,
                });
            }
            closed.closed_at = end;
        }
    }
    if !empty.is_empty() {
        empty_insert(connection, &empty)?;
    }
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn fired(cron: &str, from: &str, to: &str) -> Vec<String> {
        let cron = ZonedCron::parse(cron, Tz::Europe__Berlin).unwrap();
        let fires = fires(&cron, at(from), at(to));
        fires.iter().map(|fire| fire.to_rfc3339()).collect()
    }

    #[test]
    fn days_are_those_of_the_zone_on_both_sides_of_a_change_of_its_clock() {
        // 02:30 is skipped on 29 March, and is there twice on 25 October.
        assert_eq!(
            fired(
                "30 2 * * *",
                "2026-03-28T01:30:00Z",
                "2026-03-30T00:30:00.5Z"
            ),
            ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]
        );
        assert_eq!(
            fired("30 2 * * *", "2026-10-24T00:30:00Z", "2026-10-26T01:29:59Z"),
            ["2026-10-25T00:30:00+00:00"]
        );
        // Of the hour that is there twice, all four quarters are windows, twice.
        let quarters = fired(
            "*/15 2 * * *",
            "2026-10-24T23:59:00Z",
            "2026-10-25T02:00:00Z",
        );
        assert_eq!(quarters.len(), 8);
    }

    #[test]
    fn nothing_has_passed_before_the_next_time() {
        assert!(
            fired(
                "0 8 * * *",
                "2026-03-02T07:00:00Z",
                "2026-03-03T06:59:59.9Z"
            )
            .is_empty()
        );
        assert!(fired("0 8 * * *", "2026-03-02T07:00:00Z", "2026-03-02T07:00:00Z").is_empty());
        assert_eq!(
            fired("0 8 * * *", "2026-03-02T07:00:00Z", "2026-03-03T07:00:00Z").len(),
            1
        );
    }

    #[test]
    fn of_too_many_the_last_is_the_latest() {
        // GIVEN a window every second, and nobody there for a year
        let fires = fired(
            "* * * * * *",
            "2025-03-02T07:00:00Z",
            "2026-03-02T07:00:00.7Z",
        );
        // THEN there are as many as there may be, and nothing is left behind them
        assert_eq!(fires.len(), LATE_WINDOWS_MAX);
        assert_eq!(fires[98], "2025-03-02T07:01:39+00:00");
        assert_eq!(fires[99], "2026-03-02T07:00:00+00:00");
        // AND the same where it fires often for an hour and then not for a day
        let fires = fired(
            "* * 8 * * *",
            "2026-03-02T07:00:00Z",
            "2026-03-09T09:00:00Z",
        );
        assert_eq!(fires[99], "2026-03-09T07:59:59+00:00");
    }
}
