//! Conditions that can't be judged now, as findings. Pure.

use super::finding::Finding;
use crate::registry::suspended::{Suspended, SuspendedKind};

pub(super) fn check(suspended: &[Suspended]) -> Vec<Finding> {
    suspended.iter().map(finding).collect()
}

fn finding(one: &Suspended) -> Finding {
    let (code, what) = match one.kind {
        SuspendedKind::EventType => ("event-type-suspended", "event type"),
        SuspendedKind::Filter => ("filter-suspended", "subscription"),
        SuspendedKind::Constraint => ("constraint-suspended", "constraint"),
    };
    let remedy = match one.kind {
        SuspendedKind::Filter => {
            "bring the column back, or change the filter with PATCH /v1/subscriptions/{id} or in \
             the metadata folder"
        }
        SuspendedKind::EventType | SuspendedKind::Constraint => {
            "bring the column back, or change the condition in the metadata and apply it; it is \
             active again by itself"
        }
    };
    Finding::error(code, format!("{what} {}", one.name), one.to_string()).remedy(remedy)
}
