//! Who uses a part of the catalogue that changes or goes: an event type, a constraint or a
//! subscription that is not part of the same edit. Pure.
//!
//! What was judged when it was written is judged again on what changes. If it can't be judged any
//! more, the edit is refused with the user's name. What comes new and does not fit is no reason: it
//! is not matched by the user, and that is told.

use std::collections::BTreeSet;

use super::{
    conditions::{Owner, condition_check},
    constraint_check::constraint_meant,
    meant::{Meant, World},
    model::{Catalog, EventType},
};
use crate::{
    constraint::model::ConstraintSpec,
    subscription::{check::SpecProblem, model::SubscriptionSpec, selection::selection_meant},
};

/// The catalogue before and after an edit.
pub struct Turn<'a> {
    before: World<'a>,
    after: World<'a>,
    /// Names of object types and event types that are gone.
    lost: BTreeSet<String>,
    /// Object types that are another afterwards.
    changed: BTreeSet<String>,
    /// Object types and event types that were not there, or are of another object type.
    is_wider: bool,
}

/// What an edit does to somebody who is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It would name or need what is gone: the edit is refused.
    Breaks {
        /// What it uses: an object type or an event type.
        of: String,
        /// What is wrong then.
        text: String,
    },
    /// It is not matched by what is new.
    Misses(String),
}

/// Somebody who uses the catalogue.
pub enum User<'a> {
    /// An event type of an object type.
    EventType(&'a str, &'a EventType),
    /// A constraint.
    Constraint(&'a str, &'a ConstraintSpec),
    /// A subscription.
    Subscription(&'a str, &'a SubscriptionSpec),
}

impl<'a> Turn<'a> {
    /// Compares two catalogues.
    #[must_use]
    pub fn new(before: World<'a>, after: World<'a>) -> Self {
        let names = |catalog: &Catalog| -> BTreeSet<String> {
            let object_types = catalog.object_types.keys().cloned();
            object_types.chain(catalog.event_types()).collect()
        };
        let (old, new) = (names(before.catalog), names(after.catalog));
        let object_types = after.catalog.object_types.iter();
        let changed = object_types.filter(|(name, object_type)| {
            let was = before.catalog.object_types.get(*name);
            was.is_some_and(|was| was != *object_type)
        });
        let event_types = after.catalog.event_types.iter();
        let mut of_another = event_types.filter(|(name, event_type)| {
            let was = before.catalog.event_types.get(*name);
            was.is_some_and(|was| was.object_type != event_type.object_type)
        });
        Self {
            before,
            after,
            changed: changed.map(|(name, _)| name.clone()).collect(),
            is_wider: new.difference(&old).next().is_some() || of_another.next().is_some(),
            lost: old.difference(&new).cloned().collect(),
        }
    }

    /// Whether a name is gone, so that also those without a condition can be affected.
    #[must_use]
    pub fn loses(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether nobody can be affected.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        self.lost.is_empty() && self.changed.is_empty() && !self.is_wider
    }

    /// What the edit does to `user`; `None`: nothing.
    #[must_use]
    pub fn effect(&self, user: &User<'_>) -> Option<Effect> {
        if let Some(name) = user.names().find(|name| self.lost.contains(*name)) {
            return Some(Effect::Breaks {
                of: name.clone(),
                text: format!("it names `{name}`"),
            });
        }
        let mut conditions = user.conditions();
        conditions.find_map(|condition| self.effect_on(user, condition))
    }

    fn effect_on(
        &self,
        user: &User<'_>,
        (pointer, source, owner): (&str, &str, Owner),
    ) -> Option<Effect> {
        let (was, is) = (user.meant(&self.before), user.meant(&self.after));
        // Each object type by itself: a fault is that of one, and its name belongs in the answer.
        for name in self
            .changed
            .iter()
            .filter(|name| is.object_types.contains(*name))
        {
            let meant = Meant::rows_of(name);
            let judge = |world| condition_check(pointer, source, owner, &meant, world).problems;
            let problems = judge(&self.after);
            if let Some(problem) = problems.first()
                && was.object_types.contains(name)
                && judge(&self.before).is_empty()
            {
                return Some(Effect::Breaks {
                    of: name.clone(),
                    text: told(pointer, problem),
                });
            }
        }
        if owner == Owner::Group {
            // What comes new and does not fit is told all the same, in the group of null.
            return None;
        }
        let added = Meant {
            object_types: &is.object_types - &was.object_types,
            api_event_types: if was.api_event_types.is_empty() {
                is.api_event_types
            } else {
                BTreeSet::new()
            },
        };
        let problems = condition_check(pointer, source, owner, &added, &self.after).problems;
        let problem = problems.first()?;
        let new = added.object_types.iter().chain(&added.api_event_types);
        let new: Vec<String> = new.map(|name| format!("`{name}`")).collect();
        Some(Effect::Misses(format!(
            "{} is not told of {}, on which it can't be judged ({})",
            user.name(),
            new.join(", "),
            told(pointer, problem)
        )))
    }
}

fn told(pointer: &str, problem: &SpecProblem) -> String {
    format!(
        "its {}: {}",
        pointer.trim_start_matches('/'),
        problem.text()
    )
}

impl User<'_> {
    /// What it is and its name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::EventType(name, _) => format!("the event type `{name}`"),
            Self::Constraint(name, _) => format!("the constraint `{name}`"),
            Self::Subscription(name, _) => format!("the subscription `{name}`"),
        }
    }

    /// The names that it can't do without; a pattern finds what there is.
    fn names(&self) -> Box<dyn Iterator<Item = &String> + '_> {
        let exact = |name: &&String| !name.contains('*');
        match self {
            Self::EventType(_, spec) => Box::new(spec.object_type.iter()),
            Self::Constraint(_, spec) => {
                let applies_to = &spec.applies_to;
                let lists = applies_to
                    .event_types
                    .iter()
                    .chain(&applies_to.object_types);
                Box::new(lists.filter(exact))
            }
            Self::Subscription(_, spec) => Box::new(
                spec.event_types
                    .iter()
                    .chain(&spec.object_types)
                    .filter(exact),
            ),
        }
    }

    /// What it is judged by, and what it is grouped by.
    fn conditions(&self) -> impl Iterator<Item = (&'static str, &str, Owner)> {
        let (pointer, source, owner) = match self {
            Self::EventType(_, spec) => ("/when", &spec.when, Owner::EventType),
            Self::Constraint(_, spec) => ("/condition", &spec.condition, Owner::Delivery),
            Self::Subscription(_, spec) => ("/filter", &spec.filter, Owner::Delivery),
        };
        let group_by = match self {
            Self::Subscription(_, spec) => spec.group_by.as_deref(),
            Self::EventType(..) | Self::Constraint(..) => None,
        };
        let condition = source.as_deref().map(|source| (pointer, source, owner));
        let grouping = group_by.map(|source| ("/group_by", source, Owner::Group));
        condition.into_iter().chain(grouping)
    }

    fn meant(&self, world: &World<'_>) -> Meant {
        match self {
            Self::EventType(_, spec) => spec
                .object_type
                .as_deref()
                .map(Meant::rows_of)
                .unwrap_or_default(),
            Self::Constraint(_, spec) => constraint_meant(spec, world.catalog),
            Self::Subscription(_, spec) => selection_meant(spec, world),
        }
    }
}
