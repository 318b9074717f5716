//! The account as it is shown: whole, by subscription, and with what is wrong named.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Changes, Pairs,
    store::{changes_read, events_count, pairs_read, snapshot_begin},
    suspects::{Suspect, suspects},
};
use crate::{
    catalog::model::DEFAULT_SOURCE,
    db::{Connection, DbError},
};

/// The pairs of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The key that registered it.
    #[serde(skip)]
    pub owner: Option<String>,
    /// `active`, `paused`, `disabled` or `deleted`.
    pub state: String,
    /// What became of them.
    pub pairs: Pairs,
}

/// The account at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was drawn up.
    pub at: DateTime<Utc>,
    /// The changes.
    pub changes: Changes,
    /// What the published ones became.
    pub events: i64,
    /// Every subscription, deleted ones included; by id.
    pub subscriptions: Vec<Entry>,
    /// What is to be looked at; empty if all adds up.
    pub suspects: Vec<Suspect>,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    at: DateTime<Utc>,
    adds_up: bool,
    changes: Changes,
    events: i64,
    pairs: Pairs,
    subscriptions: &'a [Entry],
    suspects: &'a [Suspect],
}

impl Report {
    /// As JSON has it; the API has the subscriptions in pages.
    #[must_use]
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            at: self.at,
            adds_up: self.adds_up(),
            changes: self.changes,
            events: self.events,
            pairs: self.pairs(),
            subscriptions: &self.subscriptions,
            suspects: &self.suspects,
        }
    }

    /// The pairs of all subscriptions together.
    #[must_use]
    pub fn pairs(&self) -> Pairs {
        of_all(&self.subscriptions)
    }

    /// Whether the changes and every subscription add up. The sum of all can't tell: what one lacks
    /// another may have too much.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.imbalance() == 0
    }

    /// How many changes and pairs are missing or too many.
    #[must_use]
    pub fn imbalance(&self) -> u64 {
        let pairs = self.subscriptions.iter().map(|entry| entry.pairs.missing());
        let missing = pairs.chain([self.changes.missing()]);
        missing.map(i64::unsigned_abs).sum()
    }
}

pub(super) fn of_all(entries: &[Entry]) -> Pairs {
    let mut all = Pairs::default();
    for entry in entries {
        all.add(&entry.pairs);
    }
    all
}

/// Draws up the account of the repository, and names what is missing if anything is. To be called
/// at the start of a transaction, which it makes read-only and of one snapshot. It reads whole
/// tables; a statement may take `timeout_s`.
///
/// # Errors
///
/// Those of the database.
pub fn draw_up(
    connection: &mut Connection,
    timeout_s: u32,
    now: DateTime<Utc>,
) -> Result<Report, DbError> {
    snapshot_begin(connection, timeout_s)?;
    let changes = changes_read(connection, DEFAULT_SOURCE)?;
    let mut report = Report {
        at: now,
        changes,
        events: events_count(connection)?,
        subscriptions: pairs_read(connection)?,
        suspects: Vec::new(),
    };
    if !report.adds_up() {
        report.suspects = suspects(connection, &report, now)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(matched: i64, delivered: i64) -> Entry {
        Entry {
            id: Uuid::nil(),
            name: "erp".to_owned(),
            owner: None,
            state: "active".to_owned(),
            pairs: Pairs {
                matched,
                delivered,
                ..Pairs::default()
            },
        }
    }

    #[test]
    fn what_one_subscription_lacks_is_not_made_up_by_what_another_has_too_much() {
        let mut report = Report {
            at: DateTime::UNIX_EPOCH,
            changes: Changes::default(),
            events: 0,
            subscriptions: vec![entry(2, 1), entry(1, 2)],
            suspects: Vec::new(),
        };
        assert_eq!(report.pairs().missing(), 0);
        assert!(!report.adds_up());
        assert_eq!(report.imbalance(), 2);
        report.subscriptions = vec![entry(2, 2)];
        assert!(report.adds_up());
        report.changes.published = 3;
        assert_eq!(report.imbalance(), 3);
    }
}
