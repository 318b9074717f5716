//! Compiles what subscribers' digests are grouped by, for every object type they can be told of.

use std::{collections::HashMap, sync::Arc};

use super::{
    filters::Filters,
    suspended::{Suspended, SuspendedKind, first, table_is_gone},
};
use crate::{
    digest::grouping::Grouping,
    expr::Expression,
    subscription::model::{Mode, Subscription, SubscriptionSpec},
};

/// A subscriber's `group_by` on everything that it can be told of.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    /// By object type; the empty name is that of events without one.
    fitting: HashMap<Arc<str>, Expression>,
    /// The object types that it does not fit: their events are in the group of null.
    pub(super) suspended: Vec<Suspended>,
}

impl Filters<'_> {
    /// The grouping of a batch subscription that has one, and where it is suspended.
    pub(super) fn grouping(
        &mut self,
        subscription: &Subscription,
    ) -> Option<(Grouping, Vec<Suspended>)> {
        let (name, spec) = (&subscription.name, &subscription.spec);
        let Grouped { fitting, suspended } = self.grouped(name, spec)?;
        Some((Grouping::new(subscription, fitting), suspended))
    }

    /// The `group_by` of the subscription `name`; `None` if it has none that counts.
    pub(super) fn grouped(&mut self, name: &str, spec: &SubscriptionSpec) -> Option<Grouped> {
        let source = spec.group_by.as_ref()?;
        if spec.mode != Mode::Batch {
            return None;
        }
        let mut grouped = Grouped::default();
        for object_type in self.types_of(spec).iter().cloned() {
            let scope = self.scopes.get(&object_type);
            let scope = scope.ok_or_else(|| table_is_gone(self.catalog, &object_type));
            let compile = |scope| {
                Expression::compile_value(source, scope).map_err(|problems| first(&problems))
            };
            match scope.and_then(compile) {
                Ok(expression) => _ = grouped.fitting.insert(object_type, expression),
                Err(reason) => grouped.suspended.push(Suspended {
                    kind: SuspendedKind::GroupBy,
                    name: name.to_owned(),
                    object_type: (!object_type.is_empty()).then(|| object_type.to_string()),
                    reason,
                }),
            }
        }
        Some(grouped)
    }
}
