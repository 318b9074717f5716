//! What the doctor says, and how it is shown.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Changes are not captured, or what should be told is not, now.
    Error,
    /// That may happen, or somebody may do what only Rowcall should.
    Warning,
    /// Good to know; nothing has to be done.
    Note,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that was found. It names tables, columns and roles, and never holds a value of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of finding: kebab-case, and the same in every version.
    pub code: &'static str,
    /// What it is about, such as `public.orders`.
    pub subject: String,
    /// What is so, and what follows from it.
    pub message: String,
    /// The statement or command that mends it; empty if there is none.
    pub remedy: String,
}

impl Finding {
    /// An error.
    pub(super) fn error(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, subject, message)
    }

    /// A warning.
    pub(super) fn warning(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, subject, message)
    }

    /// A note.
    pub(super) fn note(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, code, subject, message)
    }

    fn new(
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            subject: subject.into(),
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// What mends it.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// One line for /readyz.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            subject,
            message,
            remedy,
            ..
        } = self;
        let line = match remedy.is_empty() {
            true => format!("{subject}: {message}"),
            false => format!("{subject}: {message}; remedy: {remedy}"),
        };
        shown(&line)
    }
}

/// All findings of one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are notes.
    pub notes: usize,
    /// By subject; the subject with the worst finding first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Puts findings in order.
    #[must_use]
    pub fn new(mut findings: Vec<Finding>) -> Self {
        let mut worst: BTreeMap<String, Severity> = BTreeMap::new();
        for Finding {
            subject, severity, ..
        } in &findings
        {
            let known = worst.entry(subject.clone()).or_insert(*severity);
            *known = (*known).min(*severity);
        }
        findings.sort_by(|a, b| {
            let key = |one: &Finding| (worst.get(&one.subject).copied(), one.subject.clone());
            (key(a), a.severity, a.code).cmp(&(key(b), b.severity, b.code))
        });
        let count = |severity| {
            let of_it = findings.iter().filter(|one| one.severity == severity);
            of_it.count()
        };
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
            findings,
        }
    }

    /// Whether there is nothing to be done.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// How many there are of each severity.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        format!(
            "{}, {}, {}",
            count(self.errors, "error"),
            count(self.warnings, "warning"),
            count(self.notes, "note")
        )
    }
}

impl fmt::Display for Report {
    /// The findings under their subjects, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut subject = None;
        for finding in &self.findings {
            if subject != Some(&finding.subject) {
                let gap = if subject.is_some() { "\n" } else { "" };
                writeln!(f, "{gap}{}", shown(&finding.subject))?;
                subject = Some(&finding.subject);
            }
            let Finding { severity, code, .. } = finding;
            let severity = severity.as_str();
            writeln!(f, "  {severity} [{code}] {}", shown(&finding.message))?;
            if !finding.remedy.is_empty() {
                writeln!(f, "    remedy: {}", shown(&finding.remedy))?;
            }
        }
        if !self.findings.is_empty() {
            writeln!(f)?;
        }
        writeln!(f, "{}", self.summary())
    }
}

/// Names are other people's: none may steer a terminal or begin a line of its own.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// `12 bytes`, `12 kB`, `3.4 GB`: as people say it.
pub(super) fn bytes(count: i64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    if value < 1024.0 {
        return format!("{count} bytes");
    }
    let mut unit = "kB";
    for next in units {
        value /= 1024.0;
        unit = next;
        if value < 1024.0 {
            break;
        }
    }
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `90 s`, `12 min`, `5 h`, `3 days`.
pub(super) fn length(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_under_their_subjects_the_worst_first() {
        let report = Report::new(vec![
            Finding::note("n", "b", "later"),
            Finding::warning("w", "a", "maybe"),
            Finding::error("e", "b", "broken\x1b[2J").remedy("mend\nit"),
        ]);
        assert_eq!(
            report.to_string(),
            "b\n  error [e] broken\\u{1b}[2J\n    remedy: mend\\nit\n  note [n] later\n\n\
             a\n  warning [w] maybe\n\n1 error, 1 warning, 1 note\n"
        );
        assert!(!report.is_healthy());
        assert!(Report::new(vec![Finding::note("n", "b", "m")]).is_healthy());
        assert_eq!(
            Report::new(Vec::new()).to_string(),
            "0 errors, 0 warnings, 0 notes\n"
        );
    }

    #[test]
    fn sizes_and_lengths_are_said_as_people_say_them() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(12 * 1024), "12 kB");
        assert_eq!(bytes(3_650_722_202), "3.4 GB");
        assert_eq!(bytes(i64::MAX), "8388608 TB");
        assert_eq!(
            [90, 720, 18_000, 300_000].map(length),
            ["90 s", "12 min", "5 h", "3 days"]
        );
    }
}
