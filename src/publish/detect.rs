//! Detects the events of a batch of changes. Pure.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

use super::event::{Event, Numbering};
use crate::{
    capture::{
        change::{Change, Op},
        relink::relink,
        store::ChangeRow,
    },
    catalog::model::Verb,
    registry::{index::Kind, live::Target},
};

/// Gives events their ids: UUIDv7 in rising order, also within a millisecond.
pub struct Ids(ContextV7);

impl Ids {
    /// A new series.
    #[must_use]
    pub fn new() -> Self {
        Self(ContextV7::new())
    }

    /// The next id at `now`.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        Uuid::new_v7(Timestamp::from_unix(
            &self.0,
            seconds,
            now.timestamp_subsec_nanos(),
        ))
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

/// The events of `rows`, in the order in which each object changed. `position` is the last one
/// given.
///
/// A change of an object type that the catalogue no longer has yields no event, and a TRUNCATE
/// yields none yet: it is no object's.
#[must_use]
pub fn detect(
    rows: Vec<ChangeRow>,
    targets: &HashMap<i32, Arc<Target>>,
    source: &str,
    mut position: i64,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let ids = Ids::new();
    let changes = rows
        .into_iter()
        .filter_map(|row| {
            let target = targets.get(&row.target)?;
            Some(Change::read(row, &target.object_type.key).unwrap_or_else(unreadable))
        })
        .collect();
    let mut events = Vec::new();
    for change in relink(changes) {
        let (Some(kind), Some(target)) = (kind(change.op), targets.get(&change.row.target)) else {
            continue;
        };
        position += 1;
        let number = Numbering {
            source,
            id: ids.next(now),
            position,
        };
        events.push(Event::of(&change, kind, target, number));
    }
    events
}

fn kind(op: Op) -> Option<Kind> {
    match op {
        Op::Create => Some(Kind::Standard(Verb::Created)),
        Op::Update => Some(Kind::Standard(Verb::Updated)),
        Op::Delete => Some(Kind::Standard(Verb::Deleted)),
        Op::Gap => Some(Kind::Gap),
        // What the API accepted has no object type, and is made ready elsewhere.
        Op::Truncate | Op::Event => None,
    }
}

/// A captured row that is no object of its type is published as a gap, so that nothing is lost
/// silently: somebody renamed a key column, for instance.
fn unreadable((mut row, reason): (ChangeRow, String)) -> Change {
    let op = match row.op.as_str() {
        "c" => "insert",
        "u" => "update",
        "d" => "delete",
        _ => "unknown",
    };
    tracing::warn!(
        seq = row.seq,
        target = row.target,
        reason,
        "a captured row can't be published"
    );
    let size = [&row.before, &row.after].map(|image| image.as_ref().map_or(0, String::len));
    let gap =
        serde_json::json!({"op": op, "reason": reason, "size": size[0] + size[1], "key": null});
    row.before = None;
    row.after = Some(gap.to_string());
    Change {
        row,
        op: Op::Gap,
        key: None,
        previous_key: None,
        changed: "[]".to_owned(),
    }
}
