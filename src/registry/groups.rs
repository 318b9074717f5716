//! Compiles what subscribers' digests are grouped by, for every object type they can be told of.

use super::{
    filters::Filters,
    suspended::{first, table_is_gone},
};
use crate::{
    digest::grouping::Grouping,
    expr::Expression,
    subscription::model::{Mode, Subscription},
};

impl Filters<'_> {
    /// The grouping of a batch subscription that has one. Where it does not fit a type's columns
    /// any more, that is told in the log, and events of that type are in the group of null.
    pub(super) fn grouping(&mut self, subscription: &Subscription) -> Option<Grouping> {
        let (name, spec) = (&subscription.name, &subscription.spec);
        let source = spec.group_by.as_ref()?;
        if spec.mode != Mode::Batch {
            return None;
        }
        let types = self.types_of(spec);
        let compiled = types.iter().cloned().filter_map(|object_type| {
            let scope = self.scopes.get(&object_type);
            let scope = scope.ok_or_else(|| table_is_gone(self.catalog, &object_type));
            let compile = |scope| {
                Expression::compile_value(source, scope).map_err(|problems| first(&problems))
            };
            match scope.and_then(compile) {
                Ok(expression) => Some((object_type, expression)),
                Err(reason) => {
                    let on = &*object_type;
                    tracing::warn!(
                        name,
                        on,
                        reason,
                        "`group_by` counts as null on these events"
                    );
                    None
                }
            }
        });
        let compiled = compiled.collect();
        Some(Grouping::new(subscription, compiled))
    }
}
