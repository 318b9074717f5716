//! What changes mean: object types with the event types that are found in their changes.

use std::sync::Arc;

use crate::{
    catalog::model::{Catalog, GAP_EVENT_TYPE, ObjectType, Operation, Verb},
    expr::{Expression, Scope},
};

/// An object type whose table is captured.
#[derive(Debug)]
pub struct Target {
    /// The object type's full name.
    pub name: Arc<str>,
    /// The metadata.
    pub object_type: ObjectType,
    /// The standard event types, in the order of [`Verb::ALL`].
    standard: [Arc<str>; 4],
    gap: Arc<str>,
    /// Those that are written down, by name.
    pub defined: Vec<Defined>,
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
    /// The target of an object type. An event type whose condition does not fit the columns any
    /// more is left out, and reported.
    pub(super) fn new(
        name: &str,
        object_type: &ObjectType,
        catalog: &Catalog,
        scope: &Scope,
    ) -> Self {
        let scope = scope.clone().without_subscription();
        let defined = catalog
            .event_types
            .iter()
            .filter(|(_, event_type)| event_type.object_type.as_deref() == Some(name))
            .filter_map(|(event_name, event_type)| {
                let when = match &event_type.when {
                    None => None,
                    Some(source) => match Expression::compile(source, &scope) {
                        Ok(when) => Some(when),
                        Err(problems) => {
                            let problem = problems.first().map(ToString::to_string);
                            tracing::error!(
                                event_type = event_name,
                                problem,
                                "the condition does not fit the table any more; no such event is \
                                 published until one of the two is mended"
                            );
                            return None;
                        }
                    },
                };
                Some(Defined {
                    name: event_name.as_str().into(),
                    on: event_type.on.clone(),
                    when,
                })
            })
            .collect();
        Self {
            name: name.into(),
            object_type: object_type.clone(),
            standard: Verb::ALL.map(|verb| verb.event_type(name).into()),
            gap: GAP_EVENT_TYPE.into(),
            defined,
        }
    }

    /// The name of a standard event type.
    #[must_use]
    pub fn standard(&self, verb: Verb) -> &Arc<str> {
        &self.standard[verb as usize]
    }

    /// The name of the event type of changes that could not be captured whole.
    #[must_use]
    pub fn gap(&self) -> &Arc<str> {
        &self.gap
    }

    /// Every event type of the object type.
    pub fn event_types(&self) -> impl Iterator<Item = &Arc<str>> {
        let defined = self.defined.iter().map(|defined| &defined.name);
        self.standard.iter().chain([&self.gap]).chain(defined)
    }
}

impl Defined {
    /// Whether the event type looks at such changes.
    #[must_use]
    pub fn is_on(&self, operation: Operation) -> bool {
        self.on.is_empty() || self.on.contains(&operation)
    }
}
