//! Reading the rows that exist: one chunk, as of the snapshot up to which a batch is published.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    rows::{
        KeyColumn, Part, Query,
        store::{ReadRow, Refusal, key_columns, part_access, part_list, rows_read},
    },
    store::{Advance, TurnRow, object_told},
    trial::{Bounds, Trial},
};
use crate::{
    capture::{
        change::{Change, Op},
        install::store::{columns_read, relation_find},
        store::ChangeRow,
    },
    catalog::model::Verb,
    config::PublicUrl,
    db::{Connection, QueryError},
    id::id_first_at,
    publish::{
        detect::{Ids, unreadable},
        event::{Event, Numbering, lane},
    },
    registry::{registered::Registered, target::Target},
};

/// How far the clocks of two instances may be apart.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::days(1);

/// What became of reading a chunk.
pub(super) enum Reading {
    /// It was read.
    Read(Box<Chunk>),
    /// Not now.
    Later,
    /// It never can be, and why.
    Failed(String),
}

/// Rows as of a snapshot, and how far their start has come with them.
pub(crate) struct Chunk {
    /// The rows are the table as of this snapshot.
    pub(super) snapshot: String,
    /// The registry's revision by which it was read.
    pub(super) revision: i64,
    pub(super) advance: Advance,
    begun_at: DateTime<Utc>,
    target: Arc<Target>,
    rows: Vec<Change>,
}

impl Chunk {
    /// Whose start it is.
    pub(crate) fn subscription_id(&self) -> Uuid {
        self.advance.subscription_id
    }

    /// The lanes that its deliveries may be in.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = i64> {
        let keys = self.rows.iter().filter_map(|row| row.key.as_deref());
        keys.map(|key| lane(&self.target.name, key))
    }

    /// The events of the rows that the subscription was not told of since it began; `told` are
    /// those of the batch that it is owed. Positions follow `position`.
    pub(crate) fn events<'a>(
        &self,
        connection: &mut Connection,
        told: impl Iterator<Item = &'a Event>,
        around: Around<'_>,
    ) -> Result<Vec<Event>, QueryError> {
        let known = self.known(connection, told)?;
        let is_new = |row: &&Change| row.key.as_ref().is_none_or(|key| !known.contains(key));
        let rows = self.rows.iter().filter(is_new);
        let events = rows
            .zip(around.position + 1..)
            .filter_map(|(row, position)| {
                let event_type = match row.op {
                    Op::Gap => self.target.gap(),
                    _ => self.target.standard(Verb::Existed)?,
                };
                let number = Numbering {
                    source: around.source,
                    id: around.ids.next(around.now),
                    position,
                };
                let schema = around.public_url.map(|url| url.schema(event_type));
                let event = Event::of(row, event_type, &self.target, number, schema.as_deref());
                Some(Event {
                    only_for: Some(self.advance.subscription_id),
                    ..event
                })
            });
        Ok(events.collect())
    }

    /// The keys of objects whose rows the subscription has from events of their changes.
    fn known<'a>(
        &self,
        connection: &mut Connection,
        told: impl Iterator<Item = &'a Event>,
    ) -> Result<HashSet<String>, QueryError> {
        let keys: Vec<&str> = self
            .rows
            .iter()
            .filter_map(|row| row.key.as_deref())
            .collect();
        // Ids begin with the time; who published may have another clock than who registered.
        let mut known: HashSet<String> = object_told(
            connection,
            self.advance.subscription_id,
            &self.target.name,
            &keys,
            id_first_at(self.begun_at - CLOCKS_APART_MAX),
        )?
        .into_iter()
        .collect();
        for event in told {
            let is_of_type = event.object_type.as_deref() == Some(&*self.target.name);
            let Some(key) = event.key.as_ref().filter(|_| is_of_type) else {
                continue;
            };
            if event.tells_row() {
                known.insert(key.clone());
            } else {
                known.remove(key);
            }
        }
        Ok(known)
    }
}

/// What the events of a chunk have in common.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The last position that was given before.
    pub(crate) position: i64,
    /// What gives the events their ids.
    pub(crate) ids: &'a Ids,
    /// The source's name.
    pub(crate) source: &'a str,
    /// What the links in events begin with.
    pub(crate) public_url: Option<&'a PublicUrl>,
    /// The time of publishing.
    pub(crate) now: DateTime<Utc>,
}

/// Reads the next chunk of a start. The transaction must have no id yet: the snapshot would not
/// list it.
///
/// # Errors
///
/// Those of a lost connection. What is wrong with the table itself is no error, but an outcome.
pub(super) fn read(
    connection: &mut Connection,
    turn: &TurnRow,
    registered: &Registered,
    target: Option<&Arc<Target>>,
    revision: i64,
    trial: &mut Trial,
    bounds: Bounds,
) -> Result<Reading, QueryError> {
    let name = object_type_of(turn);
    let Some(target) = target else {
        return Ok(Reading::Failed(format!(
            "the object type `{name}` is no longer in the catalogue"
        )));
    };
    let table = &target.object_type.table;
    let Some(relation) = relation_find(connection, table)? else {
        return Ok(Reading::Failed(format!("the table {table} is gone")));
    };
    let parts = part_list(connection, relation)?;
    // A part that was dropped meanwhile has no rows any more.
    let from = turn.relation.unwrap_or(i64::MIN);
    let mut left = parts.iter().filter(|part| part.oid >= from);
    let Some(part) = left.next() else {
        return Ok(Reading::Failed(format!("the table {table} was replaced")));
    };
    let Some(key) = key_columns(connection, part, &target.object_type.key)? else {
        return Ok(Reading::Failed(format!(
            "{} has no longer all key columns of `{name}`",
            part.name
        )));
    };
    let columns = columns_read(connection, part.oid)?;
    let only = only(registered, &key);
    let mut query = Query {
        part,
        key: &key,
        object_type: &target.object_type,
        columns: &columns,
        after: turn.last_key.as_deref().filter(|_| part.oid == from),
        only: only.as_deref(),
        rows_max: trial.rows(),
        bytes_max: bounds.bytes_max,
        value_bytes_max: bounds.value_bytes_max,
        has_images: true,
    };
    let rows = match rows_read(connection, &query.sql())? {
        Ok(rows) => rows,
        Err(refusal) => {
            // One row that can't be made JSON fails the statement; it is looked for by halves,
            // and then told without its image.
            let is_alone = query.rows_max == 1 && matches!(refusal, Refusal::Failed);
            query.has_images = false;
            match is_alone.then(|| rows_read(connection, &query.sql())) {
                Some(rows) => match rows? {
                    Ok(rows) => rows,
                    Err(refusal) => return refused(connection, refusal, trial, part),
                },
                None => return refused(connection, refusal, trial, part),
            }
        }
    };
    let count = rows.iter().filter(|row| row.key.is_some()).count();
    let Some(first) = rows.first() else {
        return Ok(Reading::Later);
    };
    let (snapshot, at) = (first.snapshot.clone(), first.at);
    // Fewer than were asked for, and none left out because of its size.
    let is_end = first.found < query.rows_max as i64 && count as i64 == first.found;
    let last_key = rows.iter().rev().find_map(|row| row.key.clone());
    let advance = match left.next() {
        _ if !is_end => to(turn, turn.place, Some(part.oid), last_key, count, false),
        Some(next) => to(turn, turn.place, Some(next.oid), None, count, false),
        None => {
            let place = turn.place + 1;
            let is_done = place as usize >= turn.object_types.len();
            to(turn, place, None, None, count, is_done)
        }
    };
    let is_cut = (count as i64) < first.found;
    trial.succeeded(if is_cut { count } else { query.rows_max }, bounds);
    let change = |row: ReadRow| change(row, at, part.oid, &target.object_type.key);
    Ok(Reading::Read(Box::new(Chunk {
        snapshot,
        revision,
        advance,
        begun_at: turn.begun_at,
        target: Arc::clone(target),
        rows: rows.into_iter().filter_map(change).collect(),
    })))
}

/// The object type whose rows are read now.
pub(super) fn object_type_of(turn: &TurnRow) -> &str {
    let place = usize::try_from(turn.place).unwrap_or(0);
    turn.object_types.get(place).map_or("", String::as_str)
}

fn to(
    turn: &TurnRow,
    place: i32,
    relation: Option<i64>,
    last_key: Option<Vec<String>>,
    done: usize,
    is_done: bool,
) -> Advance {
    Advance {
        subscription_id: turn.subscription_id,
        place,
        relation,
        last_key,
        position: turn.position,
        done: done as i64,
        is_done,
    }
}

/// What to do about a chunk that could not be read: fewer rows, later, or never.
fn refused(
    connection: &mut Connection,
    refusal: Refusal,
    trial: &mut Trial,
    part: &Part,
) -> Result<Reading, QueryError> {
    match refusal {
        Refusal::Locked => trial.rest(),
        Refusal::Forbidden => {
            let access = part_access(connection, part)?;
            let reason = super::begin::refused(&access, part)
                .unwrap_or_else(|| format!("Rowcall may not read {}", part.name));
            return Ok(Reading::Failed(reason));
        }
        Refusal::Failed => {
            if trial.failed() {
                return Ok(Reading::Later);
            }
            return Ok(Reading::Failed(format!(
                "the rows of {} can't be read; the log of Postgres says why",
                part.name
            )));
        }
    }
    Ok(Reading::Later)
}

/// The keys that the subscription names, as text in the order of `key`.
fn only(registered: &Registered, key: &[KeyColumn]) -> Option<Vec<Vec<String>>> {
    let keys = &registered.subscription.spec.object_keys;
    if keys.is_empty() {
        return None;
    }
    let text = |json: &str| serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
    let values = keys.iter().map(|values| {
        let value = |column: &KeyColumn| values.get(&column.name).map_or("", |value| value.get());
        key.iter().map(|column| text(value(column))).collect()
    });
    Some(values.collect())
}

/// A row as the change that it would be, or a gap.
fn change(row: ReadRow, at: DateTime<Utc>, relation: i64, key: &[String]) -> Option<Change> {
    row.key?;
    let (op, after) = match row.image {
        Some(image) => ("s", image),
        None => {
            let reason = row.bytes.map_or("not_imaged", |_| "too_large");
            let size = row
                .bytes
                .map_or("null".to_owned(), |bytes| bytes.to_string());
            let key = row.key_image.unwrap_or_else(|| "null".to_owned());
            let gap =
                format!(r#"{{"op":"snapshot","reason":"{reason}","size":{size},"key":{key}}}"#);
            ("g", gap)
        }
    };
    let row = ChangeRow {
        // Of no writer: no change of the change table, and no transaction.
        seq: 0,
        xid: 0,
        source_xid: None,
        target: 0,
        relation,
        op: op.to_owned(),
        before: None,
        after: Some(after),
        at,
        role: String::new(),
        actor: None,
        traceparent: None,
    };
    Some(Change::read(row, key).unwrap_or_else(unreadable))
}
