//! Telling past events: the next ones that are kept, matched as they would be if they were
//! published now.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::store::{Advance, PastRow, TurnRow, event_past};
use crate::{
    db::{Connection, QueryError},
    deliver::store::event_bodies,
    publish::event::Event,
    registry::{
        index::{Query, is_for},
        live::Registry,
        registered::Registered,
    },
};

/// Positions that one turn looks at, at most; of most of them only the columns are read.
const POSITIONS_MAX: i64 = 10_000;

/// What one turn may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
}

/// Past events for one subscription.
pub(super) struct Recall {
    /// In their order.
    pub(super) events: Vec<Event>,
    pub(super) advance: Advance,
}

/// Reads the next events of a start, which are owed to its subscription unless its filter or a
/// constraint is against it. `head` is the last position that was published; a start that reached
/// it is done.
pub(super) fn recall(
    connection: &mut Connection,
    turn: &TurnRow,
    since: DateTime<Utc>,
    registered: &Registered,
    registry: &Registry,
    head: i64,
    bounds: Bounds,
) -> Result<Recall, QueryError> {
    let upto = head.min(turn.position.saturating_add(POSITIONS_MAX));
    let rows = event_past(connection, turn.position, upto, since, turn.registered_at)?;
    let is_meant = |row: &PastRow| {
        let query = Query {
            object_type: row.object_type.as_deref(),
            event_type: &row.event_type,
            key: row.object_key.as_deref(),
            previous_key: row.previous_key.as_deref(),
        };
        registry.index.has(query) && is_for(registered, query)
    };
    let (mut taken, mut bytes, mut reached) = (Vec::new(), 0, upto);
    for row in rows {
        if !is_meant(&row) {
            continue;
        }
        let is_full = taken.len() >= bounds.events_max || bytes >= bounds.bytes_max;
        if is_full {
            reached = row.position - 1;
            break;
        }
        bytes += usize::try_from(row.bytes).unwrap_or(0);
        taken.push(row);
    }
    let ids: Vec<_> = taken.iter().map(|row| row.id).collect();
    let bodies = if ids.is_empty() {
        Vec::new()
    } else {
        event_bodies(connection, &ids)?
    };
    let bodies = bodies.into_iter().map(|event| (event.id, event.body));
    let mut bodies: HashMap<_, _> = bodies.collect();
    let subscription_id = turn.subscription_id;
    let event = |row: PastRow| {
        let body = bodies.remove(&row.id)?;
        Some(Event {
            only_for: Some(subscription_id),
            ..past_event(row, body)
        })
    };
    Ok(Recall {
        events: taken.into_iter().filter_map(event).collect(),
        advance: Advance {
            subscription_id,
            place: turn.place,
            relation: None,
            last_key: None,
            position: reached,
            done: reached - turn.position,
            is_done: reached >= head,
        },
    })
}

fn past_event(row: PastRow, body: String) -> Event {
    // When it was accepted is not kept of an event of the API, whose `time` is its publisher's.
    let captured_at = match &row.object_type {
        Some(_) => row.time,
        None => row.published_at,
    };
    let object_type = row.object_type.map(Into::into);
    Event {
        id: row.id,
        source: row.source.into(),
        position: row.position,
        event_type: row.event_type.into(),
        scope: match &object_type {
            Some(name) => std::sync::Arc::clone(name),
            None => Event::scope_of_source(&origin(&body)),
        },
        object_type,
        key: row.object_key,
        previous_key: row.previous_key,
        time: row.time,
        captured_at,
        change_seq: row.change_seq,
        xid: row.xid,
        body: body.into(),
        only_for: None,
    }
}

/// The source that the publisher of an event named.
fn origin(body: &str) -> String {
    #[derive(Default, Deserialize)]
    struct Envelope {
        #[serde(default)]
        originsource: String,
    }
    let envelope: Envelope = serde_json::from_str(body).unwrap_or_default();
    envelope.originsource
}
