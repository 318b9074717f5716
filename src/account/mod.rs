//! The conservation account: what came in, and what became of all of it (design section 10, 12).
//!
//! Guaranteed, because all its numbers are of one snapshot: captured = published + unread, and of
//! each subscription matched = delivered + condensed + suppressed + withdrawn + cancelled + held +
//! pending + dead. The events of a digest are where the digest is. Whoever finds another sum has
//! found a fault of Rowcall, or of whoever wrote into its tables.
//!
//! What stands on the left and on the right is written in different places: `published` with the
//! cursor, `matched` with the sequence numbers of the batch (both in statements that are there
//! anyway), `captured` and the outcomes are counted from rows when somebody asks. Only of leaves
//! that retention dropped ([`leaf`]) there is a number instead of rows.
//!
//! Players: `store` reads, [`report`] puts it together, [`suspects`] names what is missing,
//! [`Accounts`] keeps the last report, so that asking costs nothing, and raises the alarm.

pub mod leaf;
mod recent;
pub mod report;
mod store;
pub mod suspects;
mod text;

use serde::Serialize;

pub use self::{
    recent::Accounts,
    report::{Entry, Report, draw_up},
    store::account_read,
};

/// The changes of the default source, and the copied ones of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Rows of the change table, those of dropped leaves included.
    pub captured: i64,
    /// Those that publishing has taken, or was told to skip by `rowcall source rebase`.
    pub published: i64,
    /// Those that it has not.
    pub unread: i64,
}

impl Changes {
    /// How many are neither published nor unread; below zero: so many were published that were not
    /// captured.
    #[must_use]
    pub fn missing(&self) -> i64 {
        self.captured - self.published - self.unread
    }
}

/// What became of the pairs of an event and a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// How many publishing matched.
    pub matched: i64,
    /// Acknowledged by the receiver.
    pub delivered: i64,
    /// In a digest that needs not tell of them: what was done was undone, or is not wanted.
    pub condensed: i64,
    /// A publishing constraint forbade them.
    pub suppressed: i64,
    /// A publishing constraint held them for too long.
    pub withdrawn: i64,
    /// Their subscription was deleted first.
    pub cancelled: i64,
    /// A publishing constraint holds them.
    pub held: i64,
    /// Not yet, or just being sent, or in a digest that is not settled.
    pub pending: i64,
    /// Given up, and kept for replay.
    pub dead: i64,
}

impl Pairs {
    /// The names of the outcomes with their numbers, as they are shown.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, i64); 8] {
        [
            ("delivered", self.delivered),
            ("condensed", self.condensed),
            ("suppressed", self.suppressed),
            ("withdrawn", self.withdrawn),
            ("cancelled", self.cancelled),
            ("held", self.held),
            ("pending", self.pending),
            ("dead", self.dead),
        ]
    }

    /// How many were matched and are nowhere; below zero: so many are there that were not matched.
    #[must_use]
    pub fn missing(&self) -> i64 {
        let found: i64 = self.outcomes().iter().map(|(_, count)| count).sum();
        self.matched - found
    }

    fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.condensed += other.condensed;
        self.suppressed += other.suppressed;
        self.withdrawn += other.withdrawn;
        self.cancelled += other.cancelled;
        self.held += other.held;
        self.pending += other.pending;
        self.dead += other.dead;
    }
}

/// The account of one source and of all subscriptions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Rows of the change table, those of dropped leaves included.
    pub captured: i64,
    /// See [`Changes`].
    pub published: i64,
    /// See [`Changes`].
    pub unread: i64,
    /// What the published changes became.
    pub events: i64,
    /// See [`Pairs`], as all that follow.
    pub matched: i64,
    /// Acknowledged by the receiver.
    pub delivered: i64,
    /// In a digest that needs not tell of them.
    pub condensed: i64,
    /// A publishing constraint forbade them.
    pub suppressed: i64,
    /// A publishing constraint held them for too long.
    pub withdrawn: i64,
    /// A publishing constraint holds them.
    pub held: i64,
    /// Not yet, or just being sent, or in a digest that is not settled.
    pub pending: i64,
    /// Given up, and kept for replay.
    pub dead: i64,
    /// Their subscription was deleted first.
    pub cancelled: i64,
}

impl Account {
    fn of(changes: Changes, events: i64, pairs: &Pairs) -> Self {
        Self {
            captured: changes.captured,
            published: changes.published,
            unread: changes.unread,
            events,
            matched: pairs.matched,
            delivered: pairs.delivered,
            condensed: pairs.condensed,
            suppressed: pairs.suppressed,
            withdrawn: pairs.withdrawn,
            held: pairs.held,
            pending: pairs.pending,
            dead: pairs.dead,
            cancelled: pairs.cancelled,
        }
    }

    /// Whether nothing is missing and nothing is there twice.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.captured == self.published + self.unread
            && self.matched
                == self.delivered
                    + self.condensed
                    + self.suppressed
                    + self.withdrawn
                    + self.cancelled
                    + self.held
                    + self.pending
                    + self.dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_adds_up_only_if_every_change_and_every_pair_is_somewhere() {
        let account = Account {
            captured: 5,
            published: 4,
            unread: 1,
            events: 4,
            matched: 25,
            delivered: 4,
            condensed: 3,
            suppressed: 4,
            withdrawn: 5,
            held: 6,
            pending: 1,
            dead: 1,
            cancelled: 1,
        };
        assert!(account.adds_up());
        let change_missing = Account {
            unread: 0,
            ..account
        };
        assert!(!change_missing.adds_up());
        let pair_twice = Account {
            unread: 1,
            delivered: 5,
            ..change_missing
        };
        assert!(!pair_twice.adds_up());
    }

    #[test]
    fn what_is_missing_is_counted_with_its_sign() {
        let pairs = Pairs {
            matched: 9,
            delivered: 1,
            condensed: 1,
            suppressed: 1,
            withdrawn: 1,
            cancelled: 1,
            held: 1,
            pending: 1,
            dead: 1,
        };
        assert_eq!(pairs.missing(), 1);
        let mut twice = pairs;
        twice.add(&pairs);
        assert_eq!((twice.matched, twice.missing()), (18, 2));
        let changes = Changes {
            captured: 3,
            published: 5,
            unread: 1,
        };
        assert_eq!(changes.missing(), -3);
    }
}
