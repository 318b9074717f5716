//! Compiles the filters of subscriptions, each once for every object type it may be judged on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    catalog::model::{Catalog, name_matches},
    expr::{Expression, Scope},
    subscription::model::Subscription,
};

/// Filters that were compiled already: many subscriptions have the same one.
pub(super) struct Filters<'a> {
    catalog: &'a Catalog,
    scopes: &'a BTreeMap<Arc<str>, Scope>,
    compiled: HashMap<(Arc<str>, String), Option<Expression>>,
}

impl<'a> Filters<'a> {
    pub(super) fn new(catalog: &'a Catalog, scopes: &'a BTreeMap<Arc<str>, Scope>) -> Self {
        Self {
            catalog,
            scopes,
            compiled: HashMap::new(),
        }
    }

    /// The subscription's filter for each object type that it can be told of. One that does not fit
    /// a type's columns is not there, and reported: the subscription is not told of that type.
    pub(super) fn of(&mut self, subscription: &Subscription) -> HashMap<Arc<str>, Expression> {
        let Some(source) = &subscription.spec.filter else {
            return HashMap::new();
        };
        let meant: Vec<Arc<str>> = self
            .scopes
            .keys()
            .filter(|object_type| self.can_be_told(subscription, object_type))
            .cloned()
            .collect();
        let mut filters = HashMap::new();
        for object_type in meant {
            match self.compile(&object_type, source) {
                Some(filter) => _ = filters.insert(object_type, filter),
                None => tracing::warn!(
                    subscription = subscription.name,
                    object_type = &*object_type,
                    "the filter does not fit this object type; the subscription is not told of it"
                ),
            }
        }
        filters
    }

    fn can_be_told(&self, subscription: &Subscription, object_type: &str) -> bool {
        let spec = &subscription.spec;
        let is_named = |patterns: &[String], name: &str| {
            patterns.iter().any(|pattern| name_matches(pattern, name))
        };
        if object_type.is_empty() {
            return self
                .catalog
                .api_event_types()
                .any(|name| is_named(&spec.event_types, name));
        }
        is_named(&spec.object_types, object_type)
            || self
                .catalog
                .event_types_of(object_type)
                .any(|name| is_named(&spec.event_types, &name))
    }

    fn compile(&mut self, object_type: &Arc<str>, source: &str) -> Option<Expression> {
        let known = (Arc::clone(object_type), source.to_owned());
        let scopes = self.scopes;
        self.compiled
            .entry(known)
            .or_insert_with(|| Expression::compile(source, scopes.get(object_type)?).ok())
            .clone()
    }
}
