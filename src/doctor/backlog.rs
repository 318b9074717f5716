//! What waits: changes that nobody has published yet, and sessions that keep old rows from being
//! cleaned away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    Looked,
    finding::{Finding, length},
    store,
};
use crate::db::Connection;

/// Unread changes that are counted, at most.
const COUNTED_MAX: i64 = 10_000;
/// From this age on, in seconds, an unread change says that the reader is behind or not there.
const BEHIND_SECONDS: i64 = 60;
/// How many times the age that is told of is a warning.
const WARNED_TIMES: i64 = 6;

#[derive(Clone, Debug, Deserialize)]
struct Unread {
    changes: i64,
    oldest: Option<DateTime<Utc>>,
}

/// Something that holds back what VACUUM may clean, or the WAL.
#[derive(Clone, Debug, Deserialize)]
struct Holder {
    /// `session`, `prepared` or `slot`
    kind: String,
    id: String,
    /// Whose it is; of a slot, its plugin.
    role: String,
    seconds: i64,
}

/// How far the reader is behind.
pub(super) fn unread(connection: &mut Connection, now: DateTime<Utc>) -> Looked {
    let sql = include_str!("sql/unread.sql");
    let rows: Vec<Unread> = store::changes_within(connection, sql, COUNTED_MAX + 1)?;
    Ok(rows
        .iter()
        .filter_map(|unread| behind(unread, now))
        .collect())
}

fn behind(unread: &Unread, now: DateTime<Utc>) -> Option<Finding> {
    let age = (now - unread.oldest?).num_seconds();
    if age < BEHIND_SECONDS {
        return None;
    }
    let count = match unread.changes {
        changes if changes > COUNTED_MAX => format!("more than {COUNTED_MAX}"),
        changes => changes.to_string(),
    };
    let text = format!(
        "{count} changes are committed and not published; the oldest is of {} ago",
        length(age)
    );
    let remedy = "see that `rowcall serve` runs, and what its /readyz says of publish";
    Some(Finding::warning("reader-behind", "the reader", text).remedy(remedy))
}

/// Transactions and slots that hold things back.
pub(super) fn holders(connection: &mut Connection, long: Duration) -> Looked {
    let sql = include_str!("sql/holders.sql");
    let long = i64::try_from(long.as_secs()).unwrap_or(i64::MAX / WARNED_TIMES);
    let rows: Vec<Holder> = store::rows_within(connection, sql, long)?;
    Ok(rows.iter().map(|holder| holding(holder, long)).collect())
}

fn holding(holder: &Holder, long_seconds: i64) -> Finding {
    let Holder {
        id, role, seconds, ..
    } = holder;
    let age = length(*seconds);
    if holder.kind == "slot" {
        let text = format!(
            "nobody reads this replication slot ({role}), and it keeps WAL, or old rows, until \
             somebody does: the disk of the server fills"
        );
        let remedy = format!(
            "start its reader, or SELECT pg_drop_replication_slot('{}');",
            id.replace('\'', "''")
        );
        return Finding::warning("slot-unread", format!("slot {id}"), text).remedy(remedy);
    }
    let (code, subject, text, remedy) = if holder.kind == "prepared" {
        (
            "prepared-transaction",
            format!("prepared transaction {id}"),
            format!(
                "{role} prepared it {age} ago: what it captured is not told, the leaf of the change \
                 table that it wrote into can't be dropped, and no table is cleaned of newer rows"
            ),
            format!(
                "COMMIT PREPARED '{0}'; or ROLLBACK PREPARED '{0}';",
                id.replace('\'', "''")
            ),
        )
    } else {
        (
            "long-transaction",
            format!("session {id}"),
            format!(
                "{role} has had a transaction open for {age}: what it captured is not told, and \
                 Rowcall's tables can't be cleaned of what was settled since"
            ),
            format!("end it, or SELECT pg_terminate_backend({id});"),
        )
    };
    let finding = match *seconds >= long_seconds.saturating_mul(WARNED_TIMES) {
        true => Finding::warning(code, subject, text),
        false => Finding::note(code, subject, text),
    };
    finding.remedy(remedy)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_reader_is_behind_after_a_minute() {
        let now = DateTime::parse_from_rfc3339("2026-03-02T09:00:00Z").unwrap();
        let now = now.with_timezone(&Utc);
        let unread = |changes, seconds| Unread {
            changes,
            oldest: Some(now - TimeDelta::seconds(seconds)),
        };
        assert!(behind(&unread(5, 59), now).is_none());
        let finding = behind(&unread(5, 180), now).unwrap();
        assert!(finding.message.starts_with("5 changes"), "{finding:?}");
        assert!(finding.message.ends_with("of 3 min ago"), "{finding:?}");
        let many = behind(&unread(10_001, 60), now).unwrap();
        assert!(many.message.starts_with("more than 10000 changes"));
        let none = Unread {
            changes: 0,
            oldest: None,
        };
        assert!(behind(&none, now).is_none());
    }

    #[test]
    fn what_is_held_for_six_times_as_long_is_a_warning() {
        use super::super::finding::Severity;
        let holder = |kind: &str, seconds| Holder {
            kind: kind.to_owned(),
            id: "it's".to_owned(),
            role: "app".to_owned(),
            seconds,
        };
        assert_eq!(
            holding(&holder("session", 700), 600).severity,
            Severity::Note
        );
        let long = holding(&holder("prepared", 3_600), 600);
        assert_eq!(long.severity, Severity::Warning);
        assert_eq!(
            long.remedy,
            "COMMIT PREPARED 'it''s'; or ROLLBACK PREPARED 'it''s';"
        );
        assert_eq!(holding(&holder("slot", 0), 600).severity, Severity::Warning);
    }
}
