//! The three ways to condense: each reads the members of a digest and puts parts.
//!
//! Each returns how many of the digest's events its parts tell of.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::{
    bodies::each_body,
    effect::{Fold, effect, key_json, quoted},
    fold::{Folding, Object, Seen},
    members::{Share, group_close, group_fetch, group_open, member_page},
    output::Output,
    parts::{Items, Keys, Room},
};
use crate::db::{Connection, QueryError};

/// Objects whose events are read together.
const OBJECTS_MAX: usize = 500;

/// All events as they are.
pub(super) fn items(
    connection: &mut Connection,
    digest: Uuid,
    share: &Share<'_>,
    room: Room,
    output: &mut Output<'_>,
) -> Result<i64, QueryError> {
    let (mut items, mut told, mut after) = (Items::new(room), 0, None);
    let mut lost = 0;
    loop {
        let members = member_page(connection, digest, share, after)?;
        let Some(last) = members.last() else { break };
        after = Some((last.position, last.event_id));
        let ids: Vec<Uuid> = members.iter().map(|member| member.event_id).collect();
        each_body(connection, &ids, |connection, _, body| {
            let Some(body) = body else {
                lost += 1;
                return Ok(());
            };
            told += 1;
            match items.push(body) {
                Some(full) => output.put(connection, full),
                None => Ok(()),
            }
        })?;
    }
    if let Some(rest) = items.take() {
        output.put(connection, rest)?;
    }
    if lost > 0 {
        // Nobody but somebody who writes into our tables removes events.
        tracing::error!(%digest, lost, "events are gone that a digest should tell of");
    }
    Ok(told)
}

/// The distinct keys of each event type.
pub(super) fn keys(
    connection: &mut Connection,
    digest: Uuid,
    share: &Share<'_>,
    room: Room,
    output: &mut Output<'_>,
) -> Result<i64, QueryError> {
    let (mut keys, mut told) = (Keys::new(room), 0);
    group_open(connection, digest, share)?;
    loop {
        let groups = group_fetch(connection)?;
        if groups.is_empty() {
            break;
        }
        let ids: Vec<Uuid> = groups.iter().map(|group| group.event_id).collect();
        each_body(connection, &ids, |connection, place, body| {
            let group = &groups[place];
            told += group.count;
            let object_type = group.object_type.as_deref().map(quoted);
            let head = format!(
                r#"{{"type":{},"object_type":{}"#,
                quoted(&group.event_type),
                object_type.as_deref().unwrap_or("null")
            );
            let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
            let key = group.object_key.as_deref().map(|text| {
                // The subject of an event of no object is its key; its data is its publisher's, and
                // may have a `key` that is something else.
                let of_object = body.filter(|_| group.object_type.is_some());
                let key = key_json(of_object).unwrap_or_else(|| quoted(text));
                format!(
                    r#"{{"key":{key},"count":{},"first_at":"{}","last_at":"{}"}}"#,
                    group.count,
                    time(group.first_at),
                    time(group.last_at)
                )
            });
            match keys.push(&head, key.as_deref(), group.count) {
                Some(full) => output.put(connection, full),
                None => Ok(()),
            }
        })?;
    }
    group_close(connection)?;
    if let Some(rest) = keys.take() {
        output.put(connection, rest)?;
    }
    Ok(told)
}

/// The objects of a digest with their events folded. Holds no bodies.
pub(super) struct Folded {
    objects: Vec<Object>,
    /// The names of their types.
    types: Vec<Box<str>>,
}

impl Folded {
    /// The places of all objects, in the order of their first changes.
    pub(super) fn places(&self) -> Vec<usize> {
        (0..self.objects.len()).collect()
    }

    /// How many events the object at a place has.
    pub(super) fn count(&self, place: usize) -> i64 {
        self.objects[place].count
    }
}

/// Folds the events of a digest.
pub(super) fn fold(connection: &mut Connection, digest: Uuid) -> Result<Folded, QueryError> {
    let (mut folding, mut after) = (Folding::default(), None);
    loop {
        let members = member_page(connection, digest, &Share::All, after)?;
        let Some(last) = members.last() else { break };
        after = Some((last.position, last.event_id));
        for member in &members {
            folding.add(&Seen {
                event_id: member.event_id,
                event_type: &member.event_type,
                object_type: member.object_type.as_deref(),
                key: member.object_key.as_deref(),
                previous_key: member.previous_key.as_deref(),
            });
        }
    }
    let (objects, types) = folding.finish();
    Ok(Folded { objects, types })
}

/// Calls `each` with the place of each object at `places` of which something is told, and what
/// that is. What `is_wanted` does not want is not told.
pub(super) fn each_effect(
    connection: &mut Connection,
    folded: &Folded,
    places: &[usize],
    is_wanted: &dyn Fn(&Fold<'_>) -> bool,
    mut each: impl FnMut(&mut Connection, usize, &str) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    for places in places.chunks(OBJECTS_MAX) {
        let ids: Vec<Uuid> = places
            .iter()
            .map(|place| &folded.objects[*place])
            .flat_map(|object| [object.first, object.last])
            .collect();
        let mut first: Option<String> = None;
        each_body(connection, &ids, |connection, body_place, body| {
            if body_place % 2 == 0 {
                first = body.map(str::to_owned);
                return Ok(());
            }
            let place = places[body_place / 2];
            let object = &folded.objects[place];
            match effect(object, &folded.types, first.as_deref(), body, is_wanted) {
                Some(item) => each(connection, place, &item),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

/// What the changes of the objects at `places` came to.
pub(super) fn effects(
    connection: &mut Connection,
    folded: &Folded,
    places: &[usize],
    room: Room,
    output: &mut Output<'_>,
    is_wanted: &dyn Fn(&Fold<'_>) -> bool,
) -> Result<i64, QueryError> {
    let (mut items, mut told) = (Items::new(room), 0);
    each_effect(
        connection,
        folded,
        places,
        is_wanted,
        |connection, place, item| {
            told += folded.count(place);
            match items.push(item) {
                Some(full) => output.put(connection, full),
                None => Ok(()),
            }
        },
    )?;
    if let Some(rest) = items.take() {
        output.put(connection, rest)?;
    }
    Ok(told)
}
