//! What must not happen, counted, with examples.

use std::fmt;

use super::subscribers::SUBSCRIBERS;

/// Examples of what went wrong that are kept.
const EXAMPLES_MAX: usize = 10;

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    OutOfOrder,
    /// A delayed receiver got it before a synchronous one was tried.
    BeforeItsTurn,
    Unexpected,
    UnexplainedRepeat,
    Altered,
    Unverified,
    /// A count is not that of the writers, or a digest not the sum of its parts.
    Miscounted,
}

impl Fault {
    pub(super) const ALL: [Self; 7] = [
        Self::OutOfOrder,
        Self::BeforeItsTurn,
        Self::Unexpected,
        Self::UnexplainedRepeat,
        Self::Altered,
        Self::Unverified,
        Self::Miscounted,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "out of order",
            Self::BeforeItsTurn => "before its turn",
            Self::Unexpected => "unexpected",
            Self::UnexplainedRepeat => "unexplained repeats",
            Self::Altered => "altered",
            Self::Unverified => "not verified",
            Self::Miscounted => "miscounted",
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
    /// Counts a fault of what a receiver got.
    pub(super) fn add(&mut self, fault: Fault, receiver: usize, example: &str) {
        self.counts[fault as usize] += 1;
        self.example(receiver, &format!("{fault}: {example}"));
    }

    /// Counts faults without an example.
    pub(super) fn add_many(&mut self, fault: Fault, count: u64) {
        self.counts[fault as usize] += count;
    }

    /// Keeps an example, if there are not enough.
    pub(super) fn example(&mut self, receiver: usize, example: &str) {
        if self.examples.len() < EXAMPLES_MAX {
            let name = SUBSCRIBERS[receiver].name;
            self.examples.push(format!("{name}: {example}"));
        }
    }

    /// The judgement, when so many were lost.
    pub(super) fn verdict(self, lost: i64) -> Verdict {
        Verdict {
            lost,
            faults: Fault::ALL.into_iter().zip(self.counts).collect(),
            examples: self.examples,
            blocked: 0,
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
    /// How often a delayed receiver was told before a synchronous one because that one's delivery
    /// could not start.
    pub(super) blocked: u64,
}
