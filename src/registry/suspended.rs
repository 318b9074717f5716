//! What is written down and can't be judged now: a condition names a column that was dropped,
//! renamed or given another type since.
//!
//! Nothing of it is ever true (docs/decisions/0009-suspended.md): such an event type does not
//! happen, such a filter matches nothing, and what such a constraint is for does not pass. A
//! `group_by` is null. It is active again as soon as the table or the metadata is mended, because
//! either raises the registry's revision.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    filters::Filters,
    ground::{Scopes, scopes},
};
use crate::{
    catalog::model::{Catalog, EventType, GAP_EVENT_TYPE},
    constraint::compile::Compiled,
    db::{Connection, DbError},
    expr::{Expression, Problem, Scope},
    subscription::{list::store::subscription_specs, model::SubscriptionSpec},
};

/// Whose condition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuspendedKind {
    /// An event type's `when`.
    EventType,
    /// A subscription's `filter`, on one object type.
    Filter,
    /// A subscription's `group_by`, on one object type.
    GroupBy,
    /// A constraint's `condition`, on one object type, or its window or rate.
    Constraint,
}

impl SuspendedKind {
    /// Each of them.
    pub const ALL: [Self; 4] = [
        Self::EventType,
        Self::Filter,
        Self::GroupBy,
        Self::Constraint,
    ];

    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventType => "event_type",
            Self::Filter => "filter",
            Self::GroupBy => "group_by",
            Self::Constraint => "constraint",
        }
    }
}

/// One condition that can't be judged on the events of one object type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspended {
    /// Whose it is.
    pub kind: SuspendedKind,
    /// The event type, the subscription or the constraint.
    pub name: String,
    /// Where it can't be judged; `None`: on no event at all, or on those of the API.
    pub object_type: Option<String>,
    /// Why. It names columns and what the author wrote, never a value.
    pub reason: String,
}

impl fmt::Display for Suspended {
    /// One line: what it is, what it means, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, .. } = self;
        let on = self.object_type.as_deref().map(|on| format!(" on `{on}`"));
        let on = on.unwrap_or_default();
        match self.kind {
            SuspendedKind::EventType => {
                write!(f, "the event type `{name}` is suspended, so no such event")?;
                write!(f, " is published: {reason}")
            }
            SuspendedKind::Filter => {
                write!(
                    f,
                    "the filter of the subscription `{name}` is suspended{on},"
                )?;
                write!(f, " so it matches none of these events: {reason}")
            }
            SuspendedKind::GroupBy => {
                write!(
                    f,
                    "`group_by` of the subscription `{name}` is suspended{on},"
                )?;
                write!(f, " so these events are in the group of null: {reason}")
            }
            SuspendedKind::Constraint => {
                write!(
                    f,
                    "the constraint `{name}` can't be judged{on}, so nothing that"
                )?;
                write!(f, " it is for passes: {reason}")
            }
        }
    }
}

/// The condition of an event type, if it has one.
pub(super) fn when_compile(
    event_type: &EventType,
    catalog: &Catalog,
    scope: Option<&Scope>,
) -> Result<Option<Expression>, String> {
    let Some(source) = &event_type.when else {
        return Ok(None);
    };
    let Some(scope) = scope else {
        return Err(event_type.object_type.as_deref().map_or_else(
            || "a condition needs an object type".to_owned(),
            |object_type| table_is_gone(catalog, object_type),
        ));
    };
    Expression::compile(source, &scope.clone().without_subscription())
        .map(Some)
        .map_err(|problems| first(&problems))
}

/// The event types whose conditions can't be judged, by name.
#[must_use]
pub fn event_types_suspended(catalog: &Catalog, scopes: &Scopes) -> Vec<Suspended> {
    let of_rows = catalog.event_types.iter();
    let suspended = of_rows.filter_map(|(name, event_type)| {
        let object_type = event_type.object_type.as_deref()?;
        let reason = when_compile(event_type, catalog, scopes.get(object_type)).err()?;
        Some(Suspended {
            kind: SuspendedKind::EventType,
            name: name.clone(),
            object_type: Some(object_type.to_owned()),
            reason,
        })
    });
    suspended.collect()
}

/// The constraints that can't be judged on some events that they are for, by name.
pub(super) fn constraints_suspended(
    catalog: &Catalog,
    scopes: &Scopes,
    constraints: &[Arc<Compiled>],
) -> Vec<Suspended> {
    let mut suspended = Vec::new();
    for constraint in constraints {
        let mut add = |object_type: Option<&str>, reason: String| {
            suspended.push(Suspended {
                kind: SuspendedKind::Constraint,
                name: constraint.name.to_string(),
                object_type: object_type.map(str::to_owned),
                reason,
            });
        };
        if let Some(fault) = constraint.fault() {
            add(None, fault.to_owned());
        }
        for on in catalog
            .object_types
            .keys()
            .map(|on| Some(on.as_str()))
            .chain([None])
        {
            if is_judged(constraint, catalog, on) {
                continue;
            }
            add(on, condition_fault(&constraint.name, catalog, scopes, on));
        }
    }
    suspended
}

/// Whether a constraint can be judged on the events of this object type that it is for.
fn is_judged(constraint: &Compiled, catalog: &Catalog, on: Option<&str>) -> bool {
    let Some(Err(_)) = constraint.condition_on(on) else {
        return true;
    };
    let events: Vec<String> = match on {
        Some(object_type) => {
            let gap = [GAP_EVENT_TYPE.to_owned()];
            catalog.event_types_of(object_type).chain(gap).collect()
        }
        None => catalog.api_event_types().map(str::to_owned).collect(),
    };
    !events
        .iter()
        .any(|event| constraint.is_for_event(event, on))
}

fn condition_fault(name: &str, catalog: &Catalog, scopes: &Scopes, on: Option<&str>) -> String {
    let Some(scope) = scopes.get(on.unwrap_or_default()) else {
        return table_is_gone(catalog, on.unwrap_or_default());
    };
    let source = catalog.constraints.get(name);
    let source = source.and_then(|constraint| constraint.spec.condition.as_deref());
    let problems = Expression::compile(source.unwrap_or_default(), scope).err();
    first(&problems.unwrap_or_default())
}

/// What is judged of the catalogue and of subscriptions, made ready once.
pub struct Judgeable {
    catalog: Catalog,
    scopes: Scopes,
}

impl Judgeable {
    /// Reads the columns of the tables as they are now.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn load(connection: &mut Connection, catalog: Catalog) -> Result<Self, DbError> {
        let scopes = scopes(connection, &catalog)?;
        Ok(Self { catalog, scopes })
    }

    /// The event types that are suspended, by name.
    #[must_use]
    pub fn event_types(&self) -> Vec<Suspended> {
        event_types_suspended(&self.catalog, &self.scopes)
    }

    /// The constraints that are suspended somewhere, by name.
    #[must_use]
    pub fn constraints(&self) -> Vec<Suspended> {
        let compiled = super::ground::constraints(&self.catalog, &self.scopes);
        constraints_suspended(&self.catalog, &self.scopes, &compiled)
    }

    /// For each subscription, in their order, the object types on which its filter is suspended.
    #[must_use]
    pub fn filters<'a>(
        &self,
        subscriptions: impl IntoIterator<Item = (&'a str, &'a SubscriptionSpec)>,
    ) -> Vec<Vec<Suspended>> {
        let mut filters = Filters::new(&self.catalog, &self.scopes);
        let subscriptions = subscriptions.into_iter();
        subscriptions
            .map(|(name, spec)| filters.of(name, spec).suspended)
            .collect()
    }
}

/// What is suspended of the subscriptions in `specs`: filters, and what digests are grouped by.
fn subscriptions_suspended(
    judgeable: &Judgeable,
    specs: &[(String, SubscriptionSpec)],
) -> Vec<Suspended> {
    let mut filters = Filters::new(&judgeable.catalog, &judgeable.scopes);
    let mut all = Vec::new();
    for (name, spec) in specs {
        all.extend(filters.of(name, spec).suspended);
        let grouped = filters.grouped(name, spec);
        all.extend(grouped.into_iter().flat_map(|grouped| grouped.suspended));
    }
    all
}

/// Everything that is suspended, judged anew; for whoever keeps no registry.
///
/// # Errors
///
/// Those of the database.
pub fn suspended_load(
    connection: &mut Connection,
    catalog: Catalog,
) -> Result<Vec<Suspended>, DbError> {
    let judgeable = Judgeable::load(connection, catalog)?;
    let specs = subscription_specs(connection)?;
    let mut all = judgeable.event_types();
    all.extend(subscriptions_suspended(&judgeable, &specs));
    all.extend(judgeable.constraints());
    Ok(all)
}

/// What is suspended, by the name of the entry: where and why, in one line each.
#[must_use]
pub fn reasons(suspended: Vec<Suspended>) -> BTreeMap<String, String> {
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for one in suspended {
        let text = match (one.kind, one.object_type) {
            (SuspendedKind::EventType, _) | (_, None) => one.reason,
            (_, Some(on)) => format!("on `{on}`: {}", one.reason),
        };
        let told = by_name.entry(one.name).or_default();
        if !told.is_empty() {
            told.push_str("; ");
        }
        told.push_str(&text);
    }
    by_name
}

pub(super) fn table_is_gone(catalog: &Catalog, object_type: &str) -> String {
    match catalog.object_types.get(object_type) {
        Some(known) => format!("its table `{}` is not there", known.table),
        None => format!("the catalogue has no object type `{object_type}`"),
    }
}

/// What is wrong first. Help is left out: it lists columns that nobody wrote down.
pub(super) fn first(problems: &[Problem]) -> String {
    let problem = problems.first().map(|problem| {
        let Problem {
            line,
            column,
            message,
            ..
        } = problem;
        format!("{message} (line {line}, column {column})")
    });
    problem.unwrap_or_else(|| "the condition can't be read".to_owned())
}
