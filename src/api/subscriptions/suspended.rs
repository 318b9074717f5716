//! The object types on which a subscription's filter can't be judged, with the tables as they are.

use serde::Serialize;

use super::Shown;
use crate::{
    catalog::model::Catalog,
    db::{Connection, DbError},
    registry::suspended::Judgeable,
};

/// Where a filter is suspended: the subscription is not told of these events.
#[derive(Debug, Serialize)]
pub(super) struct SuspendedOn {
    /// `null`: events that come through the API.
    object_type: Option<String>,
    reason: String,
}

/// Adds it to what is shown. Only filters are looked at, and the tables only if there is one.
pub(super) fn mark(connection: &mut Connection, shown: &mut [Shown]) -> Result<(), DbError> {
    if shown.iter().all(|one| one.spec.filter.is_none()) {
        return Ok(());
    }
    let catalog = Catalog::load(connection)?;
    let judgeable = Judgeable::load(connection, catalog)?;
    let specs = shown.iter().map(|one| (one.name.as_str(), &one.spec));
    let suspended = judgeable.filters(specs);
    for (one, suspended) in shown.iter_mut().zip(suspended) {
        let on = suspended.into_iter().map(|one| SuspendedOn {
            object_type: one.object_type,
            reason: one.reason,
        });
        one.suspended = on.collect();
    }
    Ok(())
}
