//! How the evaluation of an expression ends.

use std::{fmt, sync::Arc};

/// What an expression says of an event. A failed one counts as false, and is counted and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It can't be said.
    Failed(Failure),
}

impl Verdict {
    /// Whether it holds; what failed does not.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self, Self::True)
    }
}

/// Why an evaluation failed. Names columns and operators, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An operator other than `==` and `!=` met a null.
    Null {
        /// The operator or function.
        operator: &'static str,
    },
    /// The row has no such column any more.
    MissingColumn {
        /// Its name.
        column: Arc<str>,
    },
    /// The value's kind is one that the operator does not take: JSON can hold anything.
    Mismatch {
        /// The operator or function.
        operator: &'static str,
    },
    /// The value is not what its column's type promises, or can't be read.
    Unreadable {
        /// What was expected.
        expected: &'static str,
    },
    /// A division, or remainder, by zero.
    DivisionByZero,
    /// A result outside of what is calculated with; see the limits of the module.
    OutOfRange {
        /// Of what kind.
        what: &'static str,
    },
    /// A list longer than is looked through.
    TooManyItems,
    /// More steps in loops than one evaluation may take.
    TooManySteps,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null { operator } => write!(f, "`{operator}` met a null"),
            Self::MissingColumn { column } => write!(f, "the row has no column `{column}`"),
            Self::Mismatch { operator } => {
                write!(f, "`{operator}` does not take a value of this kind")
            }
            Self::Unreadable { expected } => write!(f, "a value can't be read as {expected}"),
            Self::DivisionByZero => f.write_str("division by zero"),
            Self::OutOfRange { what } => write!(f, "{what} is out of range"),
            Self::TooManyItems => write!(f, "a list has more than {} items", super::LIST_ITEMS_MAX),
            Self::TooManySteps => write!(
                f,
                "its loops took more than {} steps",
                super::LOOP_STEPS_MAX
            ),
        }
    }
}

impl std::error::Error for Failure {}
