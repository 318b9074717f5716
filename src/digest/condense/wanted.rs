//! Judges a subscriber's filter on what all changes of an object came to.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::effect::Fold;
use crate::{
    catalog::model::DIGEST_EVENT_TYPE,
    expr::{EventFacts, Facts},
    publish::facts::{Rows, holds},
    registry::registered::Registered,
};

/// Whether the subscriber wants to be told of it: the filter, if there is one, is true of the row
/// before the first change and the row after the last. An object of which nothing is known, because
/// a change of it could not be captured, is told, unless the filter is suspended.
pub fn is_wanted(registered: &Registered, fold: &Fold<'_>, now: DateTime<Utc>) -> bool {
    if registered.subscription.spec.filter.is_none() {
        return true;
    }
    if !registered.fits(Some(fold.object_type)) {
        // It did when the events were gathered. A filter that can't be judged any more wants
        // nothing.
        return false;
    }
    if fold.before.is_none() && fold.after.is_none() {
        return true;
    }
    with_facts(fold, now, |facts| {
        let verdict = registered.wants(Some(fold.object_type), facts);
        holds(verdict, "filter", &registered.subscription.name)
    })
}

/// Runs `judge` over what all changes of an object came to, as if they were one.
pub(super) fn with_facts<T>(
    fold: &Fold<'_>,
    now: DateTime<Utc>,
    judge: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let rows = Rows::parse(
        fold.before.map(RawValue::get),
        fold.after.map(RawValue::get),
    );
    let changed = rows.changed();
    judge(&Facts {
        before: rows.before.as_ref(),
        after: rows.after.as_ref(),
        changed: &changed,
        op: fold.op,
        event: EventFacts {
            id: "",
            event_type: DIGEST_EVENT_TYPE,
            object_type: Some(fold.object_type),
            source: "",
            subject: Some(fold.key),
            time: now,
            data: None,
        },
        subscription: None,
        now,
        actor: None,
    })
}
