//! What is wrong with an expression, and where.

use std::fmt;

/// One thing that is wrong at one place of an expression. It names columns and literals that the
/// author wrote, never a value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do, with the nearest known name where there is one; may be empty.
    pub help: String,
}

impl Problem {
    /// A problem at byte `offset` of `source`; an offset inside a character or behind the end is
    /// moved to the nearest one before it.
    pub(super) fn at(
        source: &str,
        offset: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for Problem {
    /// `line 1, column 5: message (help)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            help,
        } = self;
        write!(f, "line {line}, column {column}: {message}")?;
        if !help.is_empty() {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_from_one() {
        let place = |source: &str, offset| {
            let problem = Problem::at(source, offset, "m", "");
            (problem.line, problem.column)
        };
        assert_eq!(place("abc", 0), (1, 1));
        assert_eq!(place("'ü' == x", 8), (1, 8));
        assert_eq!(place("a &&\n  b", 7), (2, 3));
        assert_eq!(place("ü", 1), (1, 1));
        assert_eq!(place("ab", 99), (1, 3));
    }

    #[test]
    fn it_reads_as_one_line() {
        let problem = Problem::at("a", 0, "what", "do this");
        assert_eq!(problem.to_string(), "line 1, column 1: what (do this)");
    }
}
