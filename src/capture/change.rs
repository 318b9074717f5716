//! A change as publishing uses it: whose object it is, and what changed in it.

use super::{image::Image, store::ChangeRow};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It was inserted.
    Create,
    /// It was updated; its key may have changed.
    Update,
    /// It was deleted.
    Delete,
    /// The whole table was emptied; no key, no order.
    Truncate,
    /// It could not be captured whole.
    Gap,
    /// It did not change: it was there when a subscription began.
    Snapshot,
    /// No row changed: the API accepted an event, which stands in `after`.
    Event,
}

impl Op {
    fn parse(op: &str) -> Option<Self> {
        Some(match op {
            "c" => Self::Create,
            "u" => Self::Update,
            "d" => Self::Delete,
            "t" => Self::Truncate,
            "g" => Self::Gap,
            "s" => Self::Snapshot,
            "e" => Self::Event,
            _ => return None,
        })
    }

    /// As events carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Gap => "gap",
            Self::Snapshot => "snapshot",
            Self::Event => "event",
        }
    }
}

/// A captured change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it was captured.
    pub row: ChangeRow,
    /// What happened.
    pub op: Op,
    /// The object key's text; `None` for a truncate, and where the key could not be had.
    pub key: Option<String>,
    /// The key's text before, if this change changed it.
    pub previous_key: Option<String>,
    /// The names of the columns that changed, as a JSON list.
    pub changed: String,
}

impl Change {
    /// Reads a captured row with the help of its object type. `Err` gives the row back with the
    /// reason why it is none of that type: a key column that is missing or null, or an image that
    /// is no row.
    #[expect(
        clippy::result_large_err,
        reason = "both variants carry the row, which is moved either way"
    )]
    pub fn read(row: ChangeRow, key: &[String]) -> Result<Self, (ChangeRow, String)> {
        let Some(op) = Op::parse(&row.op) else {
            let reason = format!("unknown operation `{}`", row.op);
            return Err((row, reason));
        };
        let mut change = Self {
            row,
            op,
            key: None,
            previous_key: None,
            changed: "[]".to_owned(),
        };
        match change.look(key) {
            Ok(()) => Ok(change),
            Err(reason) => Err((change.row, reason)),
        }
    }

    /// Joins the two halves of a row's move between partitions into the update that it is.
    #[must_use]
    pub fn moved(deleted: &Self, created: Self) -> Self {
        let mut moved = created;
        moved.row.before.clone_from(&deleted.row.before);
        moved.op = Op::Update;
        moved.previous_key = deleted.key.clone().filter(|_| deleted.key != moved.key);
        if let (Some(before), Some(after)) = (&moved.row.before, &moved.row.after)
            && let (Ok(before), Ok(after)) = (Image::parse(before), Image::parse(after))
        {
            moved.changed = json_list(&after.changed_since(&before));
        }
        moved
    }

    fn look(&mut self, key: &[String]) -> Result<(), String> {
        match self.op {
            Op::Truncate | Op::Event => return Ok(()),
            Op::Gap => {
                self.key = self.row.after.as_deref().and_then(|gap| gap_key(gap, key));
                return Ok(());
            }
            Op::Create | Op::Update | Op::Delete | Op::Snapshot => {}
        }
        let before = self.row.before.as_deref().map(Image::parse).transpose();
        let after = self.row.after.as_deref().map(Image::parse).transpose();
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(error), _) | (_, Err(error)) => {
                return Err(format!("the captured row is not a JSON object: {error}"));
            }
        };
        let key_of = |image: &Image<'_>| {
            image
                .key_text(key)
                .ok_or_else(|| format!("the row has no value in a key column ({})", key.join(", ")))
        };
        match (&before, &after) {
            (Some(before), Some(after)) => {
                let (previous, current) = (key_of(before)?, key_of(after)?);
                self.previous_key = (previous != current).then_some(previous);
                self.key = Some(current);
                self.changed = json_list(&after.changed_since(before));
            }
            (Some(only), None) | (None, Some(only)) => self.key = Some(key_of(only)?),
            (None, None) => return Err("the captured change has no row".to_owned()),
        }
        Ok(())
    }
}

/// The key that a gap could save.
fn gap_key(gap: &str, key: &[String]) -> Option<String> {
    let gap = Image::parse(gap).ok()?;
    Image::parse(gap.get("key")?.get()).ok()?.key_text(key)
}

fn json_list(names: &[&str]) -> String {
    serde_json::to_string(names).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    /// A change of an object whose one column is its key, apart from the value `v`.
    pub(in crate::capture) fn change(
        seq: i64,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Change {
        let op = match (before, after) {
            (None, _) => "c",
            (_, None) => "d",
            _ => "u",
        };
        let row = ChangeRow {
            seq,
            xid: 1,
            source_xid: None,
            target: 1,
            relation: 1,
            op: op.to_owned(),
            before: before.map(ToOwned::to_owned),
            after: after.map(ToOwned::to_owned),
            at: DateTime::<Utc>::UNIX_EPOCH,
            role: "writer".to_owned(),
            actor: None,
            traceparent: None,
        };
        Change::read(row, &["id".to_owned()]).unwrap()
    }

    /// A TRUNCATE of the same table in the same transaction.
    pub(in crate::capture) fn truncate(seq: i64) -> Change {
        let mut row = change(seq, None, Some(r#"{"id":1}"#)).row;
        (row.op, row.after) = ("t".to_owned(), None);
        Change::read(row, &[]).unwrap()
    }

    #[test]
    fn a_change_of_the_key_carries_both_keys() {
        let change = change(1, Some(r#"{"id":1,"v":2}"#), Some(r#"{"id":5,"v":2}"#));
        assert_eq!(change.key.as_deref(), Some("5"));
        assert_eq!(change.previous_key.as_deref(), Some("1"));
        assert_eq!(change.changed, r#"["id"]"#);
    }

    #[test]
    fn an_event_of_the_api_has_no_key_and_is_not_looked_into() {
        let mut row = change(1, None, Some(r#"{"id":1}"#)).row;
        (row.op, row.target) = ("e".to_owned(), 0);
        row.after = Some(r#"{"type":"x"}"#.to_owned());
        let change = Change::read(row, &["id".to_owned()]).unwrap();
        assert_eq!((change.op, change.key), (Op::Event, None));
        assert_eq!(change.op.as_str(), "event");
    }

    #[test]
    fn a_row_without_its_key_is_given_back_with_the_reason() {
        let mut row = change(1, None, Some(r#"{"id":1}"#)).row;
        row.after = Some(r#"{"renamed":1}"#.to_owned());
        let (_, reason) = Change::read(row, &["id".to_owned()]).unwrap_err();
        assert_eq!(reason, "the row has no value in a key column (id)");
    }
}
