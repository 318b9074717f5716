//! An account for a terminal.

use std::fmt;

use super::{Pairs, report::Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = &self.changes;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, count: i64, text: &str| {
            writeln!(f, "{name:>12}  {count:>12}  {text}")
        };
        line(f, "captured", changes.captured, "changes")?;
        line(f, "published", changes.published, "of them")?;
        line(f, "unread", changes.unread, "of them")?;
        told_missing(f, changes.missing())?;
        line(f, "events", self.events, "")?;
        writeln!(f)?;
        let pairs = self.pairs();
        line(
            f,
            "matched",
            pairs.matched,
            "pairs of event and subscription",
        )?;
        for (name, count) in pairs.outcomes() {
            line(f, name, count, "of them")?;
        }
        writeln!(f)?;
        write!(f, "{:>12}", "matched")?;
        for (name, _) in Pairs::default().outcomes() {
            write!(f, " {name:>10}")?;
        }
        writeln!(f, "  subscription")?;
        for entry in &self.subscriptions {
            write!(f, "{:>12}", entry.pairs.matched)?;
            for (_, count) in entry.pairs.outcomes() {
                write!(f, " {count:>10}")?;
            }
            let state = match entry.state.as_str() {
                "active" => String::new(),
                state => format!(" ({state})"),
            };
            writeln!(f, "  {}{state}", entry.name)?;
            told_missing(f, entry.pairs.missing())?;
        }
        for suspect in &self.suspects {
            write!(f, "\n{}:", suspect.kind.words())?;
            let ids = [
                ("event", suspect.event),
                ("digest", suspect.digest),
                ("subscription", suspect.subscription),
            ];
            for (name, id) in ids {
                if let Some(id) = id {
                    write!(f, " {name} {id}")?;
                }
            }
            if let Some(seq) = suspect.change {
                write!(f, " change {seq}")?;
            }
        }
        if !self.suspects.is_empty() {
            writeln!(f)?;
        }
        Ok(())
    }
}

fn told_missing(f: &mut fmt::Formatter<'_>, missing: i64) -> fmt::Result {
    match missing {
        0 => Ok(()),
        1.. => writeln!(f, "{missing:>12}  MISSING"),
        _ => writeln!(f, "{:>12}  TOO MANY", missing.unsigned_abs()),
    }
}
