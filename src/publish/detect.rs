//! Detects the events of a batch of changes. Pure.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::{ContextV7, Uuid};

use super::{
    event::{Event, Numbering, event_source},
    facts::{Rows, holds},
};
use crate::{
    capture::{
        change::{Change, Op},
        relink::relink,
        store::{ChangeRow, SUBMITTED_TARGET},
    },
    catalog::model::{DEFAULT_SOURCE, Operation, Verb},
    config::PublicUrl,
    expr::{EventFacts, Facts},
    id::id_in,
    registry::target::Target,
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
        id_in(&self.0, now)
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

/// What the events of a batch have in common.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// What gives the events their ids.
    pub ids: &'a Ids,
    /// The object types that changes name by number.
    pub targets: &'a HashMap<i32, Arc<Target>>,
    /// What the links in events begin with.
    pub public_url: Option<&'a PublicUrl>,
    /// The last position that was given before.
    pub position: i64,
    /// The time of publishing.
    pub now: DateTime<Utc>,
}

/// The events of `rows`, in the order in which each object changed; of one change the standard
/// event first, if the object type has any, then those that are written down, by name.
///
/// A change of an object type that the catalogue no longer has yields no event. A TRUNCATE yields
/// its standard event only: it has no row that a condition could be about.
#[must_use]
pub fn detect(rows: Vec<ChangeRow>, around: Circumstances<'_>) -> Vec<Event> {
    let ids = around.ids;
    let changes = rows
        .into_iter()
        .filter_map(|row| {
            if row.target == SUBMITTED_TARGET {
                return Change::read(row, &[]).ok();
            }
            let target = around.targets.get(&row.target)?;
            Some(Change::read(row, &target.object_type.key).unwrap_or_else(unreadable))
        })
        .collect();
    let mut position = around.position;
    let mut events = Vec::new();
    let table = |id| around.targets.get(&id).map(|target| target.table());
    for change in relink(changes, table) {
        if change.op == Op::Event {
            let number = Numbering {
                source: DEFAULT_SOURCE,
                id: ids.next(around.now),
                position: position + 1,
            };
            match Event::submitted(&change, number) {
                Ok(event) => {
                    position += 1;
                    events.push(event);
                }
                Err(reason) => tracing::error!(
                    seq = change.row.seq,
                    reason,
                    "an event that the API accepted can't be published"
                ),
            }
            continue;
        }
        let Some(target) = around.targets.get(&change.row.target) else {
            continue;
        };
        for event_type in event_types(&change, target) {
            position += 1;
            let number = Numbering {
                source: &target.source,
                id: ids.next(around.now),
                position,
            };
            let schema = around.public_url.map(|url| url.schema(event_type));
            events.push(Event::of(
                &change,
                event_type,
                target,
                number,
                schema.as_deref(),
            ));
        }
    }
    events
}

/// The event types that a change is.
fn event_types<'a>(change: &Change, target: &'a Target) -> Vec<&'a Arc<str>> {
    let (verb, operation) = match change.op {
        Op::Create => (Verb::Created, Operation::Create),
        Op::Update => (Verb::Updated, Operation::Update),
        Op::Delete => (Verb::Deleted, Operation::Delete),
        Op::Gap => return vec![target.gap()],
        Op::Truncate => return target.standard(Verb::Truncated).into_iter().collect(),
        Op::Snapshot => return target.standard(Verb::Existed).into_iter().collect(),
        // What the API accepted has no object type, and is made ready elsewhere.
        Op::Event => return Vec::new(),
    };
    let mut found: Vec<_> = target.standard(verb).into_iter().collect();
    let mut candidates = target
        .defined
        .iter()
        .filter(|defined| defined.is_on(operation))
        .peekable();
    if candidates.peek().is_none() {
        return found;
    }
    let rows = Rows::parse(change.row.before.as_deref(), change.row.after.as_deref());
    let changed = rows.changed();
    let source = event_source(&target.source);
    let facts = change_facts(change, target, &rows, &changed, &source);
    found.extend(
        candidates
            .filter(|defined| match &defined.when {
                None => true,
                Some(when) => holds(when.evaluate(&facts), "event_type", &defined.name),
            })
            .map(|defined| &defined.name),
    );
    found
}

fn change_facts<'a>(
    change: &'a Change,
    target: &'a Target,
    rows: &'a Rows<'a>,
    changed: &'a [&'a str],
    source: &'a str,
) -> Facts<'a> {
    Facts {
        before: rows.before.as_ref(),
        after: rows.after.as_ref(),
        changed,
        op: change.op.as_str(),
        event: EventFacts {
            // It has none yet: the condition decides whether it will be.
            id: "",
            event_type: "",
            object_type: Some(&target.name),
            source,
            subject: change.key.as_deref(),
            time: change.row.at,
            data: None,
        },
        subscription: None,
        now: change.row.at,
        actor: change.row.actor.as_deref(),
    }
}

/// A captured row that is no object of its type is published as a gap, so that nothing is lost
/// silently: somebody renamed a key column, for instance.
pub(crate) fn unreadable((mut row, reason): (ChangeRow, String)) -> Change {
    let op = match row.op.as_str() {
        "c" => "insert",
        "u" => "update",
        "d" => "delete",
        "s" => "snapshot",
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
