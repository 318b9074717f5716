//! Whether entries can be judged, with the tables as they are now.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    catalog::{model::Catalog, plan::Kind},
    db::{Connection, DbError},
    registry::suspended::{Judgeable, reasons},
};

/// Whether an entry is what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    #[default]
    Active,
    /// Its condition can't be judged, which counts as false.
    Suspended,
}

/// Why entries of a kind are suspended, by name; only the one called `name`, if one is given.
pub(super) fn suspended(
    connection: &mut Connection,
    kind: Kind,
    name: Option<&str>,
) -> Result<BTreeMap<String, String>, DbError> {
    let mut catalog = Catalog::load(connection)?;
    let is_asked = |known: &str| name.is_none_or(|name| name == known);
    let has_conditions = match kind {
        Kind::EventType => {
            catalog.event_types.retain(|known, _| is_asked(known));
            let mut entries = catalog.event_types.values();
            entries.any(|event_type| event_type.when.is_some())
        }
        Kind::Constraint => {
            catalog.constraints.retain(|known, _| is_asked(known));
            !catalog.constraints.is_empty()
        }
        _ => false,
    };
    if !has_conditions {
        return Ok(BTreeMap::new());
    }
    let judgeable = Judgeable::load(connection, catalog)?;
    Ok(reasons(match kind {
        Kind::EventType => judgeable.event_types(),
        _ => judgeable.constraints(),
    }))
}
