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
        SuspendedKind::GroupBy => ("group-by-suspended", "subscription"),
        SuspendedKind::Constraint => ("constraint-suspended", "constraint"),
    };
    let remedy = match one.kind {
        SuspendedKind::Filter => {
            "bring the column back, or change the filter with PATCH /v1/subscriptions/{id} or in \
             the metadata folder"
        }
        SuspendedKind::GroupBy => {
            "bring the column back, or change `group_by` with PATCH /v1/subscriptions/{id} or in \
             the metadata folder"
        }
        SuspendedKind::EventType | SuspendedKind::Constraint => {
            "bring the column back, or change the condition in the metadata and apply it; it is \
             active again by itself"
        }
    };
    // By a `group_by` nothing is kept back: all events are told, in another group.
    let (subject, text) = (format!("{what} {}", one.name), one.to_string());
    let finding = match one.kind {
        SuspendedKind::GroupBy => Finding::warning(code, subject, text),
        _ => Finding::error(code, subject, text),
    };
    finding.remedy(remedy)
}
