//! Finds what a replay means, a chunk of deliveries at a time.
//!
//! A chunk's items and how far the search is are written in one transaction, so a search that is
//! interrupted goes on where it was.

mod store;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::store::{MatchRow, SearchRow, delivery_look, delivery_matching, replay_search_next};
use super::{
    item::store::{NewItem, item_delete, item_insert},
    order::Selection,
    store::{replay_advance, replay_end},
};
use crate::{
    catalog::{
        columns::{Columns, columns_load_of},
        model::Catalog,
    },
    db::{Connection, DbError},
    deliver::store::{EventBody, event_bodies},
    expr::{Expression, Scope},
    id::id_at,
    publish::facts::{Recalled, holds},
    registry::{live::LiveRegistry, registered::Registered, registry_revision},
};

/// Deliveries that one transaction looks at.
const LOOKED_MAX: i64 = 5_000;
/// The same where each event is judged by an expression.
const JUDGED_MAX: i64 = 500;
/// Bodies that are in memory at once while they are judged.
const BODIES_MAX: usize = 50;

/// Looks at the next chunk of one replay. Returns whether there was one.
pub(super) fn search(
    connection: &mut Connection,
    registry: &LiveRegistry,
    deliveries_max: i64,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let Some(row) = replay_search_next(connection, now)? else {
        return Ok(false);
    };
    let selection: Selection = match serde_json::from_str(&row.selection) {
        Ok(selection) => selection,
        Err(error) => {
            tracing::error!(replay = %row.id, %error, "a replay's selection can't be read");
            let reason = "this program can't read what was asked for";
            fail(connection, &row, reason, now)?;
            return Ok(true);
        }
    };
    let limit = match selection.filter {
        Some(_) => JUDGED_MAX,
        None => LOOKED_MAX,
    };
    let looked = delivery_look(connection, &row, selection.state, limit)?;
    let Some(last) = looked.last else {
        replay_advance(connection, row.id, row.looked_upto, (0, 0), true, now)?;
        return Ok(true);
    };
    let found = delivery_matching(connection, &row, &selection, last)?;
    let found = match &selection.filter {
        None => found,
        Some(filter) => match judged(connection, registry, &row, filter, &found)? {
            Some(wanted) => wanted,
            None => {
                fail(connection, &row, "its subscription can't be read", now)?;
                return Ok(true);
            }
        },
    };
    write(
        connection,
        &row,
        &found,
        (last, looked.count < limit),
        deliveries_max,
        now,
    )?;
    Ok(true)
}

/// Writes what a chunk holds, and how far the search is.
fn write(
    connection: &mut Connection,
    row: &SearchRow,
    found: &[MatchRow],
    (last, is_end): (Uuid, bool),
    deliveries_max: i64,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let item = |found: &MatchRow| NewItem {
        id: id_at(now),
        delivery_id: found.id,
    };
    let items: Vec<NewItem> = found.iter().filter(|row| row.is_kept).map(item).collect();
    let (count, kept) = (found.len() as i64, items.len() as i64);
    if row.found - row.gone + kept > deliveries_max {
        let reason = format!(
            "more than {deliveries_max} deliveries are meant (limits.replay_deliveries_max), so none \
             is sent; narrow it, for instance by a time"
        );
        return fail(connection, row, &reason, now);
    }
    item_insert(connection, row.id, &items, now)?;
    replay_advance(connection, row.id, last, (count, count - kept), is_end, now)?;
    Ok(())
}

/// Ends a search in vain: nothing of the replay was sent, and nothing will be.
fn fail(
    connection: &mut Connection,
    row: &SearchRow,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    item_delete(connection, row.id)?;
    Ok(replay_end(connection, row.id, "failed", Some(reason), now)?)
}

/// Those that the filter wants, and those that can't be sent whatever it wants; `None`: the
/// subscription can't be read.
fn judged(
    connection: &mut Connection,
    registry: &LiveRegistry,
    row: &SearchRow,
    filter: &str,
    found: &[MatchRow],
) -> Result<Option<Vec<MatchRow>>, DbError> {
    let revision = registry_revision(connection)?;
    let registry = registry.at(connection, revision)?;
    let Some(place) = registry.by_id.get(&row.subscription_id) else {
        return Ok(None);
    };
    let registered = &registry.subscriptions[*place as usize];
    let catalog = Catalog::load(connection)?;
    let mut wanted = Vec::new();
    let mut compiled: HashMap<Option<String>, Option<Expression>> = HashMap::new();
    for chunk in found.chunks(BODIES_MAX) {
        let ids: Vec<Uuid> = chunk
            .iter()
            .filter(|row| row.is_kept)
            .filter_map(|row| row.event_id)
            .collect();
        let bodies = event_bodies(connection, &ids)?;
        let unknown: BTreeSet<String> = bodies
            .iter()
            .filter(|body| !compiled.contains_key(&body.object_type))
            .filter_map(|body| body.object_type.clone())
            .collect();
        let columns = columns_load_of(connection, &catalog, &unknown)?;
        for body in &bodies {
            let object_type = body.object_type.clone();
            compiled
                .entry(object_type)
                .or_insert_with_key(|name| compile(filter, name.as_deref(), &columns));
        }
        let passed: BTreeSet<Uuid> = bodies
            .iter()
            .filter(|body| {
                let filter = compiled.get(&body.object_type).and_then(Option::as_ref);
                filter.is_some_and(|filter| is_wanted(filter, body, registered))
            })
            .map(|body| body.id)
            .collect();
        // A digest is no event.
        let is_meant = |row: &&MatchRow| match row.event_id {
            Some(event) => !row.is_kept || passed.contains(&event),
            None => false,
        };
        wanted.extend(chunk.iter().filter(is_meant).cloned());
    }
    Ok(Some(wanted))
}

/// The filter for events of this object type; `None`, if it can't be judged on them.
fn compile(filter: &str, object_type: Option<&str>, columns: &Columns) -> Option<Expression> {
    let scope = match object_type {
        None => Scope::api_event(),
        Some(name) => Scope::rows(columns.get(name)?.clone()),
    };
    Expression::compile(filter, &scope).ok()
}

fn is_wanted(filter: &Expression, body: &EventBody, registered: &Registered) -> bool {
    let Ok(recalled) = Recalled::parse(&body.body, body.object_type.is_some()) else {
        return false;
    };
    let changed = recalled.changed();
    // As of the change, as publishing judges.
    let facts = recalled.facts(&changed, recalled.time());
    let verdict = filter.evaluate(&registered.facts(&facts));
    holds(verdict, "filter", &registered.subscription.name)
}
