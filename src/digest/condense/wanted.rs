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
    let (before, after) = (
        fold.before.map(RawValue::get),
        fold.after.map(RawValue::get),
    );
    if before.is_none() && after.is_none() {
        return true;
    }
    let rows = Rows::parse(before, after);
    let changed = rows.changed();
    let facts = Facts {
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
    };
    let verdict = registered.wants(Some(fold.object_type), &facts);
    holds(verdict, "filter", &registered.subscription.name)
}
