//! Compiles the filters of subscriptions, each once for every object type it may be judged on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::suspended::{Suspended, SuspendedKind, first, table_is_gone};
use crate::{
    catalog::model::{Catalog, name_matches},
    expr::{Expression, Scope},
    subscription::model::SubscriptionSpec,
};

/// Filters that were compiled already: many subscriptions have the same one.
pub(super) struct Filters<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) scopes: &'a BTreeMap<Arc<str>, Scope>,
    /// By object types.
    compiled: HashMap<Arc<str>, ByText>,
    /// By event types and object types that subscriptions name.
    types: HashMap<Named, Arc<[Arc<str>]>>,
}

/// Texts of filters on one object type, each compiled, or why it can't be.
type ByText = HashMap<Arc<str>, Result<Expression, String>>;

/// Event types and object types, or patterns of them.
type Named = (Vec<String>, Vec<String>);

/// A subscription's filter on everything that it can be told of.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    pub(super) fitting: Fitting,
    /// The object types that it does not fit: the subscription is not told of them.
    pub(super) suspended: Vec<Suspended>,
}

/// A filter on each object type that it fits, in the order of their names; the empty name is that
/// of events without one.
#[derive(Debug, Default)]
pub(super) struct Fitting(Box<[(Arc<str>, Expression)]>);

impl Fitting {
    pub(super) fn new(mut by_type: Vec<(Arc<str>, Expression)>) -> Self {
        by_type.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(by_type.into())
    }

    pub(super) fn get(&self, object_type: &str) -> Option<&Expression> {
        let place = self
            .0
            .binary_search_by(|(name, _)| (**name).cmp(object_type));
        place.ok().map(|place| &self.0[place].1)
    }
}

impl<'a> Filters<'a> {
    pub(super) fn new(catalog: &'a Catalog, scopes: &'a BTreeMap<Arc<str>, Scope>) -> Self {
        Self {
            catalog,
            scopes,
            compiled: HashMap::new(),
            types: HashMap::new(),
        }
    }

    /// The filter of the subscription `name` for each object type that it can be told of.
    pub(super) fn of(&mut self, name: &str, spec: &SubscriptionSpec) -> Filtered {
        let mut filtered = Filtered::default();
        let Some(source) = &spec.filter else {
            return filtered;
        };
        let mut fitting = Vec::new();
        for object_type in self.types_of(spec).iter() {
            match self.compile(object_type, source) {
                Ok(filter) => fitting.push((Arc::clone(object_type), filter)),
                Err(reason) => filtered.suspended.push(Suspended {
                    kind: SuspendedKind::Filter,
                    name: name.to_owned(),
                    object_type: (!object_type.is_empty()).then(|| object_type.to_string()),
                    reason,
                }),
            }
        }
        filtered.fitting = Fitting::new(fitting);
        filtered
    }

    /// The object types that a subscription can be told of.
    pub(super) fn types_of(&mut self, spec: &SubscriptionSpec) -> Arc<[Arc<str>]> {
        let named = (spec.event_types.clone(), spec.object_types.clone());
        if let Some(known) = self.types.get(&named) {
            return Arc::clone(known);
        }
        let rows = self.catalog.object_types.keys().map(String::as_str);
        let types: Arc<[Arc<str>]> = rows
            .chain([""])
            .filter(|object_type| self.can_be_told(spec, object_type))
            .map(Arc::from)
            .collect();
        self.types.insert(named, Arc::clone(&types));
        types
    }

    fn can_be_told(&self, spec: &SubscriptionSpec, object_type: &str) -> bool {
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

    fn compile(&mut self, object_type: &Arc<str>, source: &str) -> Result<Expression, String> {
        let of_type = self.compiled.entry(Arc::clone(object_type)).or_default();
        if let Some(known) = of_type.get(source) {
            return known.clone();
        }
        let scope = self.scopes.get(object_type);
        let scope = scope.ok_or_else(|| table_is_gone(self.catalog, object_type));
        let compiled = scope.and_then(|scope| {
            Expression::compile(source, scope).map_err(|problems| first(&problems))
        });
        let text = match &compiled {
            Ok(expression) => expression.source_shared(),
            Err(_) => source.into(),
        };
        of_type.insert(text, compiled.clone());
        compiled
    }
}
