//! The order between the modes: a delayed receiver gets an event after each synchronous one was
//! tried.
//!
//! What comes earlier is noted, and judged at the end: it is in order only if the synchronous
//! delivery could not start, because an earlier event of its object was not settled when it was
//! published (design section 4, "tried"). Only the repository knows that.

use std::collections::HashSet;

use uuid::Uuid;

/// What is noted at most; the rest counts as wrong without being judged.
const NOTED_MAX: usize = 100_000;

/// An event, and the place of a synchronous receiver that was not tried before a delayed one.
pub(in super::super) type Early = (Uuid, usize);

#[derive(Default)]
pub(super) struct EarlyOnes {
    noted: Vec<Early>,
    not_noted: u64,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EarlyJudged {
    /// Their synchronous delivery could not start.
    pub(super) excused: u64,
    pub(super) not_noted: u64,
}

impl EarlyOnes {
    pub(super) fn note(&mut self, early: Early) {
        if self.noted.len() < NOTED_MAX {
            self.noted.push(early);
        } else {
            self.not_noted += 1;
        }
    }

    pub(super) fn noted(&self) -> &[Early] {
        &self.noted
    }

    /// Hands those that are not excused to `wrong`.
    pub(super) fn judge(
        &self,
        blocked: &HashSet<Early>,
        mut wrong: impl FnMut(Early),
    ) -> EarlyJudged {
        let mut judged = EarlyJudged {
            excused: 0,
            not_noted: self.not_noted,
        };
        for early in &self.noted {
            if blocked.contains(early) {
                judged.excused += 1;
            } else {
                wrong(*early);
            }
        }
        judged
    }
}
