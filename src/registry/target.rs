//! What changes mean: object types with the event types that are found in their changes.

use std::{collections::BTreeMap, sync::Arc};

use super::suspended::when_compile;
use crate::{
    capture::relink::Table,
    catalog::model::{Catalog, GAP_EVENT_TYPE, ObjectType, Operation, Verb},
    expr::{Expression, Scope},
};

/// An object type whose table is captured.
#[derive(Debug)]
pub struct Target {
    /// The source that the changes are of: that of the object type when they were captured.
    pub source: Arc<str>,
    /// The object type's full name.
    pub name: Arc<str>,
    /// The metadata.
    pub object_type: ObjectType,
    /// The standard event types that exist.
    standard: BTreeMap<Verb, Arc<str>>,
    gap: Arc<str>,
    /// Those that are written down, by name.
    pub defined: Vec<Defined>,
    /// The columns that say in which partition a row is.
    partitioned_by: Vec<String>,
}

/// An event type that is written down.
#[derive(Debug)]
pub struct Defined {
    /// Its full name.
    pub name: Arc<str>,
    on: Vec<Operation>,
    /// What must be true of the change.
    pub when: Option<Expression>,
}

impl Target {
    /// The target of an object type, whose table may be gone (no `scope`). An event type whose
    /// condition does not fit the columns is left out: it is suspended.
    pub(super) fn new(
        source: &str,
        name: &str,
        object_type: &ObjectType,
        catalog: &Catalog,
        scope: Option<&Scope>,
        partitioned_by: Vec<String>,
    ) -> Self {
        let of_it = catalog
            .event_types
            .iter()
            .filter(|(_, event_type)| event_type.object_type.as_deref() == Some(name));
        let defined = of_it
            .filter_map(|(event_name, event_type)| {
                Some(Defined {
                    name: event_name.as_str().into(),
                    on: event_type.on.clone(),
                    when: when_compile(event_type, catalog, scope).ok()?,
                })
            })
            .collect();
        Self {
            source: source.into(),
            name: name.into(),
            object_type: object_type.clone(),
            standard: object_type
                .standard_verbs()
                .iter()
                .map(|verb| (*verb, verb.event_type(name).into()))
                .collect(),
            gap: GAP_EVENT_TYPE.into(),
            defined,
            partitioned_by,
        }
    }

    /// What relinking must know of the table.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table {
            key: &self.object_type.key,
            partitioned_by: &self.partitioned_by,
            is_whole: self.is_captured_whole(),
        }
    }

    /// The name of a standard event type, if it exists.
    #[must_use]
    pub fn standard(&self, verb: Verb) -> Option<&Arc<str>> {
        self.standard.get(&verb)
    }

    /// Whether every change of an object is captured, so that each of them begins with the row that
    /// the one before it left.
    fn is_captured_whole(&self) -> bool {
        let is_unconditional = |operation| {
            let mut on = self.defined.iter().filter(|known| known.is_on(operation));
            on.any(|defined| defined.when.is_none())
        };
        self.object_type.captures_all() || Operation::ALL.into_iter().all(is_unconditional)
    }

    /// The name of the event type of changes that could not be captured whole.
    #[must_use]
    pub fn gap(&self) -> &Arc<str> {
        &self.gap
    }

    /// Every event type of the object type.
    pub fn event_types(&self) -> impl Iterator<Item = &Arc<str>> {
        let defined = self.defined.iter().map(|defined| &defined.name);
        let standard = self.standard.values();
        standard.chain([&self.gap]).chain(defined)
    }
}

impl Defined {
    /// Whether the event type looks at such changes.
    #[must_use]
    pub fn is_on(&self, operation: Operation) -> bool {
        self.on.is_empty() || self.on.contains(&operation)
    }
}
