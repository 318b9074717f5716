//! What must not happen, counted, with examples.

use std::fmt;

use super::ledger::RECEIVERS;

/// Examples of what went wrong that are kept.
const EXAMPLES_MAX: usize = 10;

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    OutOfOrder,
    Unexpected,
    UnexplainedRepeat,
    Altered,
    Unverified,
}

impl Fault {
    pub(super) const ALL: [Self; 5] = [
        Self::OutOfOrder,
        Self::Unexpected,
        Self::UnexplainedRepeat,
        Self::Altered,
        Self::Unverified,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "out of order",
            Self::Unexpected => "unexpected",
            Self::UnexplainedRepeat => "unexplained repeats",
            Self::Altered => "altered",
            Self::Unverified => "not verified",
        })
    }
}

/// What went wrong so far.
#[derive(Clone, Default)]
pub(super) struct Findings {
    counts: [u64; Fault::ALL.len()],
    examples: Vec<String>,
}

impl Findings {
    /// Counts a fault of a receiver.
    pub(super) fn add(&mut self, fault: Fault, receiver: usize, example: &str) {
        self.counts[fault as usize] += 1;
        self.example(receiver, &format!("{fault}: {example}"));
    }

    /// Keeps an example, if there are not enough.
    pub(super) fn example(&mut self, receiver: usize, example: &str) {
        if self.examples.len() < EXAMPLES_MAX {
            let (name, _) = RECEIVERS[receiver];
            self.examples.push(format!("{name}: {example}"));
        }
    }

    /// The judgement, when so many were lost.
    pub(super) fn verdict(self, lost: i64) -> Verdict {
        Verdict {
            lost,
            faults: Fault::ALL.into_iter().zip(self.counts).collect(),
            examples: self.examples,
        }
    }
}

/// The judgement at the end.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lost: i64,
    pub(super) faults: Vec<(Fault, u64)>,
    /// At most [`EXAMPLES_MAX`] of what went wrong.
    pub(super) examples: Vec<String>,
}
