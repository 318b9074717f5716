//! An explanation for a terminal.

use std::fmt;

use super::{About, Explanation};

impl About {
    /// As it is answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventTypes => "event_types",
            Self::ObjectKeys => "object_keys",
            Self::Filter => "filter",
            Self::Constraint => "constraint",
            Self::Delivery => "delivery",
            Self::Digest => "digest",
            Self::Attempts => "attempts",
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.event.subject.as_deref().unwrap_or("-");
        writeln!(
            f,
            "{} {} to {} ({}, {}): {}",
            self.event.r#type,
            Plain(subject),
            self.subscription.name,
            self.subscription.mode,
            self.subscription.state,
            self.verdict.as_str()
        )?;
        writeln!(f, "{}\n", Plain(&self.summary))?;
        for step in &self.steps {
            let (about, outcome) = (step.step.as_str(), &step.outcome);
            writeln!(f, "  {about:<11}  {outcome:<10}  {}", Plain(&step.detail))?;
            for (name, value) in step.values.iter() {
                writeln!(f, "{:27}{} = {}", "", Plain(name), Plain(value))?;
            }
        }
        Ok(())
    }
}

/// Text in which nothing steers the terminal: a subject and an answer of a receiver may hold
/// anything.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}
