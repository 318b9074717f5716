//! One receiver's part of the ledger, if it is sent events.

use std::{collections::HashMap, time::Instant};

use uuid::Uuid;

use super::super::{
    receipt::{Name, Print, Receipt},
    subscribers::RELEASED,
};

#[derive(Default)]
pub(super) struct Page {
    /// Gone when it is settled.
    pub(super) owed: HashMap<Name, Debt>,
    pub(super) events: HashMap<Uuid, Seen>,
    /// What each object was after the last accepted event.
    pub(super) objects: HashMap<String, Print>,
}

#[derive(Default)]
pub(super) struct Debt {
    /// Negative if the receipt was quicker than the news of the commit.
    pub(super) count: i64,
    pub(super) committed_at: Option<Instant>,
}

/// An event that was requested at least once.
pub(super) struct Seen {
    pub(super) body: Print,
    pub(super) requests: u32,
    /// The first request has ended, well or not.
    pub(super) is_tried: bool,
    pub(super) is_accepted: bool,
    pub(super) is_answer_lost: bool,
}

impl Page {
    /// Returns by how much more, or less, is owed.
    pub(super) fn settle(&mut self, name: &Name, count: i64, committed_at: Option<Instant>) -> i64 {
        let debt = self.owed.entry(name.clone()).or_default();
        let before = debt.count.max(0);
        debt.count += count;
        debt.committed_at = debt.committed_at.or(committed_at);
        let after = debt.count;
        if after == 0 {
            self.owed.remove(name);
        }
        after.max(0) - before
    }

    /// Whether the first attempt at the event has ended.
    pub(super) fn has_tried(&self, event: Uuid) -> bool {
        self.events.get(&event).is_some_and(|seen| seen.is_tried)
    }

    /// Whether the event is the next one of its object.
    pub(super) fn is_next(&mut self, receipt: &Receipt) -> bool {
        if receipt.event_type == RELEASED {
            // A second event of the change that has just been told, if this receiver is told both.
            let known = self.objects.get(&receipt.object);
            return known.is_none_or(|after| *after == receipt.after);
        }
        let known = self.objects.insert(receipt.object.clone(), receipt.after);
        // Rows that were there before the demo are first met in the middle of their lives.
        known.is_none_or(|after| after == receipt.before)
    }
}
