//! The conservation account: what came in, and what became of all of it (design section 10, 12).
//!
//! Guaranteed, because all its numbers are of one snapshot: captured = published + unread, and
//! matched = delivered + condensed + suppressed + withdrawn + cancelled + held + pending + dead.
//! The events of a digest are where the digest is. Whoever finds another sum has found a fault of
//! Rowcall.

mod store;

pub use store::account_read;

/// The account of one source and of all subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Rows of the change table.
    pub captured: i64,
    /// Changes that publishing has taken, or was told to skip by `rowcall source rebase`.
    pub published: i64,
    /// Changes that it has not.
    pub unread: i64,
    /// What the published changes became.
    pub events: i64,
    /// Pairs of an event and a subscription.
    pub matched: i64,
    /// Acknowledged by the receiver.
    pub delivered: i64,
    /// In a digest that needs not tell of them: what was done was undone, or is not wanted.
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
}
