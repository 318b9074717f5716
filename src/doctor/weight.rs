//! What the change table weighs, how fast it grows, and whether old leaves go.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{
    Looked,
    finding::{Finding, bytes, length},
    store,
};
use crate::{config::Limits, db::Connection};

const SUBJECT: &str = "the change table";
/// For how long leaves must have been written before their growth says something.
const MEASURED_SECONDS_MIN: i64 = 600;
/// How long after its time a leaf may stay: upkeep drops one every 30 seconds.
const LATE_SECONDS: i64 = 3_600;

/// How long changes are kept, in hours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    retention_hours: i64,
    rotation_hours: i64,
}

impl Retention {
    pub(super) fn of(limits: &Limits) -> Self {
        let hours = |hours: u64| i64::try_from(hours).unwrap_or(i64::MAX / 3_600);
        Self {
            retention_hours: hours(limits.change_retention_hours),
            rotation_hours: hours(limits.rotation_hours),
        }
    }

    fn retention_seconds(self) -> i64 {
        self.retention_hours.saturating_mul(3_600)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Leaf {
    number: i32,
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    bytes: i64,
    /// As last estimated; 0 before the first time.
    rows: i64,
}

pub(super) fn check(
    connection: &mut Connection,
    retention: Retention,
    now: DateTime<Utc>,
) -> Looked {
    let leaves: Vec<Leaf> = store::rows(connection, include_str!("sql/leaves.sql"))?;
    let mut findings = Vec::new();
    findings.extend(size(&leaves, retention, now));
    findings.extend(late(&leaves, retention, now));
    Ok(findings)
}

fn size(leaves: &[Leaf], retention: Retention, now: DateTime<Utc>) -> Option<Finding> {
    let oldest = leaves.first()?;
    let total = leaves.iter().map(|leaf| leaf.bytes).sum();
    let rows: i64 = leaves.iter().map(|leaf| leaf.rows).sum();
    let mut text = format!(
        "{} in {} {}, the oldest begun {} ago",
        bytes(total),
        leaves.len(),
        if leaves.len() == 1 { "leaf" } else { "leaves" },
        length((now - oldest.opened_at).num_seconds().max(0))
    );
    if rows > 0 {
        text.push_str(&format!(", about {rows} changes"));
    }
    if let Some(per_hour) = growth(leaves, now) {
        let hours = retention
            .retention_hours
            .saturating_add(retention.rotation_hours);
        text.push_str(&format!(
            "; it grows by {} an hour, so with changes kept for {} h it comes to about {}",
            bytes(per_hour),
            retention.retention_hours,
            bytes(per_hour.saturating_mul(hours))
        ));
    }
    let remedy = "if that is too much: a smaller limits.change_retention_hours, or `exclude` for \
                  columns that nobody needs";
    Some(Finding::note("change-table", SUBJECT, text).remedy(remedy))
}

/// Bytes an hour over all leaves that are there; `None`: too short a time to tell.
fn growth(leaves: &[Leaf], now: DateTime<Utc>) -> Option<i64> {
    let seconds: i64 = leaves
        .iter()
        .map(|leaf| (leaf.closed_at.unwrap_or(now) - leaf.opened_at).num_seconds())
        .sum();
    let total: i64 = leaves.iter().map(|leaf| leaf.bytes).sum();
    (seconds >= MEASURED_SECONDS_MIN)
        .then(|| i64::try_from(i128::from(total) * 3_600 / i128::from(seconds)).ok())
        .flatten()
}

/// A leaf that should have been dropped.
fn late(leaves: &[Leaf], retention: Retention, now: DateTime<Utc>) -> Option<Finding> {
    let due = |leaf: &&Leaf| {
        leaf.closed_at.is_some_and(|closed| {
            let allowed = retention.retention_seconds().saturating_add(LATE_SECONDS);
            TimeDelta::try_seconds(allowed).is_some_and(|allowed| now - closed > allowed)
        })
    };
    let late: Vec<&Leaf> = leaves.iter().filter(due).collect();
    let first = late.first()?;
    let total = late.iter().map(|leaf| leaf.bytes).sum();
    let text = format!(
        "leaves ({}, {}) are kept for longer than limits.change_retention_hours, first \
         rowcall.change_{}: Rowcall does not run, changes in it are not published yet, or a session \
         is in it",
        late.len(),
        bytes(total),
        first.number
    );
    let remedy = "see that `rowcall serve` runs, and end what the other findings name as long \
                  transactions";
    Some(Finding::warning("leaf-kept", SUBJECT, text).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-03-02T09:00:00Z")
            .unwrap()
            .with_timezone(&Utc)
    }

    fn leaf(number: i32, opened_hours: i64, closed_hours: Option<i64>) -> Leaf {
        Leaf {
            number,
            opened_at: now() - TimeDelta::hours(opened_hours),
            closed_at: closed_hours.map(|hours| now() - TimeDelta::hours(hours)),
            bytes: 24 * 1024 * 1024,
            rows: 1_000,
        }
    }

    const RETENTION: Retention = Retention {
        retention_hours: 168,
        rotation_hours: 24,
    };

    #[test]
    fn size_and_growth_are_told() {
        let leaves = [leaf(1, 48, Some(24)), leaf(2, 24, None)];
        let finding = size(&leaves, RETENTION, now()).unwrap();
        assert_eq!(
            finding.message,
            "48 MB in 2 leaves, the oldest begun 2 days ago, about 2000 changes; it grows by 1.0 MB \
             an hour, so with changes kept for 168 h it comes to about 192 MB"
        );
        // A leaf of a moment says nothing of growth.
        let finding = size(&[leaf(1, 0, None)], RETENTION, now()).unwrap();
        assert!(!finding.message.contains("grows"), "{}", finding.message);
        assert!(size(&[], RETENTION, now()).is_none());
    }

    #[test]
    fn a_leaf_is_late_an_hour_after_its_time() {
        let kept = |hours| {
            late(
                &[leaf(3, 300, Some(hours)), leaf(4, 1, None)],
                RETENTION,
                now(),
            )
        };
        assert!(kept(169).is_none());
        let finding = kept(170).unwrap();
        assert!(
            finding.message.starts_with("leaves (1, 24 MB)"),
            "{}",
            finding.message
        );
    }
}
