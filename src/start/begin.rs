//! Beginning a start, in the transaction that registers its subscription.
//!
//! The caller holds the registry's lock, so nothing is being published: the last position is the
//! last one before the subscription, and what is published later sees the start.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    rows::{
        Part,
        store::{AccessRow, part_access, part_list, rows_estimate},
    },
    store::{NewStart, event_kept, start_insert, start_running_count},
};
use crate::{
    capture::{install::store::relation_find, store::doorbell_ring},
    catalog::model::Catalog,
    db::{Connection, QueryError},
    subscription::{
        model::{Start, SubscriptionSpec},
        register::SpecProblem,
        start::object_types_existing,
    },
};

/// Starts that may be under way at once.
pub const RUNNING_MAX: i64 = 100;

/// What is wrong with the start of a subscription that is about to be registered, as far as only
/// the database can tell; empty if nothing is.
///
/// # Errors
///
/// Those of the database.
pub(crate) fn start_judge(
    connection: &mut Connection,
    catalog: &Catalog,
    spec: &SubscriptionSpec,
    now: DateTime<Utc>,
) -> Result<Vec<SpecProblem>, QueryError> {
    let mut texts = Vec::new();
    match spec.start {
        Start::Now => return Ok(Vec::new()),
        Start::At(at) if at > now => texts.push(format!(
            "{} is in the future; write a time that is past, or `now`",
            spec.start
        )),
        Start::At(_) => {}
        Start::Existing => {
            for name in object_types_existing(spec, catalog) {
                texts.extend(unreadable(connection, catalog, &name)?);
            }
        }
    }
    if start_running_count(connection)? >= RUNNING_MAX {
        texts.push(format!(
            "{RUNNING_MAX} subscriptions are being started already, which is the limit; try again \
             when some are done"
        ));
    }
    let problem = |text| SpecProblem::new("/start", text);
    Ok(texts.into_iter().map(problem).collect())
}

/// Why the rows of an object type can't be read.
fn unreadable(
    connection: &mut Connection,
    catalog: &Catalog,
    name: &str,
) -> Result<Option<String>, QueryError> {
    let Some(object_type) = catalog.object_types.get(name) else {
        return Ok(None);
    };
    let table = &object_type.table;
    let Some(relation) = relation_find(connection, table)? else {
        let text = format!("the table {table} of `{name}` is not there; apply the metadata again");
        return Ok(Some(text));
    };
    for part in part_list(connection, relation)? {
        let access = part_access(connection, &part)?;
        if let Some(text) = refused(&access, &part) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Why a table's rows can't be read, and what its owner is to do; `None`: they can.
pub(super) fn refused(access: &AccessRow, part: &Part) -> Option<String> {
    let (table, role) = (&part.name, &access.role);
    let grant = match (access.may_use_schema, access.may_select) {
        (true, true) if access.is_secured => {
            return Some(format!(
                "row-level security of {table} would hide rows from Rowcall, and a start must tell \
                 all of them; as an administrator: ALTER ROLE {role} BYPASSRLS"
            ));
        }
        (true, true) => return None,
        (true, false) => format!("GRANT SELECT ON {table} TO {role}"),
        (false, true) => format!("GRANT USAGE ON SCHEMA {} TO {role}", access.schema),
        (false, false) => format!(
            "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {table} TO {role}",
            access.schema
        ),
    };
    Some(format!(
        "Rowcall may capture the changes of {table} but not read its rows; as its owner: {grant}"
    ))
}

/// Writes the start of a subscription that was just registered, if it has one, and wakes the
/// publisher.
///
/// # Errors
///
/// Those of the database.
pub(crate) fn start_begin(
    connection: &mut Connection,
    catalog: &Catalog,
    id: Uuid,
    spec: &SubscriptionSpec,
    now: DateTime<Utc>,
) -> Result<(), QueryError> {
    let (object_types, since) = match spec.start {
        Start::Now => return Ok(()),
        Start::Existing => (object_types_existing(spec, catalog), None),
        Start::At(since) => (Vec::new(), Some(since)),
    };
    let mut start = NewStart {
        subscription_id: id,
        since,
        object_types: &object_types,
        position: 0,
        registered_at: 0,
        complete_from: None,
        estimate: None,
    };
    if let Some(since) = since {
        let kept = event_kept(connection)?;
        // Without any event the start has reached the end at once.
        start.position = kept
            .first_position
            .map_or(kept.last_position, |first| (first - 1).max(0));
        start.registered_at = kept.last_position;
        start.complete_from = kept.first_time.map(|first| first.max(since));
        start.estimate = Some((kept.last_position - start.position).max(0));
    } else if spec.object_keys.is_empty() {
        start.estimate = estimate(connection, catalog, &object_types)?;
    } else {
        start.estimate = Some(spec.object_keys.len() as i64);
    }
    start_insert(connection, &start, now)?;
    // It may sleep, and no row of the change table tells it.
    doorbell_ring(connection)
}

/// How many rows there are, if Postgres has an idea of every table's.
fn estimate(
    connection: &mut Connection,
    catalog: &Catalog,
    object_types: &[String],
) -> Result<Option<i64>, QueryError> {
    let mut rows = 0;
    for name in object_types {
        let Some(object_type) = catalog.object_types.get(name) else {
            continue;
        };
        let Some(relation) = relation_find(connection, &object_type.table)? else {
            continue;
        };
        match rows_estimate(connection, relation)? {
            Some(of_table) => rows += of_table,
            None => return Ok(None),
        }
    }
    Ok(Some(rows))
}
