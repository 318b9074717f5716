//! What applying a folder would change. Pure.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::{
    load::{Folder, Item},
    model::Catalog,
    problem::Warning,
    store::{RegisteredRow, Stored},
};
use crate::subscription::{model::SubscriptionSpec, register::Origin};

/// The longest value that the text of a plan shows, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node of the catalogue tree.
    Namespace,
    /// A table as a business object.
    ObjectType,
    /// A named event.
    EventType,
    /// What must be so for an event to be published.
    Constraint,
    /// An entry of the registration list.
    Subscription,
}

impl Kind {
    /// As metadata files and the repository call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::ObjectType => "object_type",
            Self::EventType => "event_type",
            Self::Constraint => "constraint",
            Self::Subscription => "subscription",
        }
    }
}

/// Entries with their definitions as JSON.
pub type Definitions = BTreeMap<(Kind, String), Value>;

/// What happens to one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new; its settings.
    Add(Vec<(String, String)>),
    /// These of its settings change.
    Change(Vec<FieldChange>),
    /// It goes.
    Remove,
}

/// A setting that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Such as `sink.url`.
    pub field: String,
    /// As JSON; `None` if it was not set.
    pub from: Option<String>,
    /// As JSON; `None` if it is no longer set.
    pub to: Option<String>,
}

/// What happens to an entry that does not stay as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Its full name.
    pub name: String,
    /// What happens.
    pub action: Action,
}

/// The difference between what runs and what a folder says.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of [`Kind`], each by name.
    pub changes: Vec<Change>,
    /// How many entries stay as they are.
    pub unchanged: usize,
    /// What will surprise.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// Compares two states.
    #[must_use]
    pub fn between(before: &Definitions, after: &Definitions) -> Self {
        let mut plan = Self::default();
        let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        for key in names {
            let action = match (before.get(key), after.get(key)) {
                (None, Some(new)) => Action::Add(fields(new).into_iter().collect()),
                (Some(_), None) => Action::Remove,
                (Some(old), Some(new)) if old != new => Action::Change(difference(old, new)),
                _ => {
                    plan.unchanged += 1;
                    continue;
                }
            };
            plan.changes.push(Change {
                kind: key.0,
                name: key.1.clone(),
                action,
            });
        }
        plan
    }

    /// Whether applying would leave everything as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What of the running state was born in the folder.
#[must_use]
pub fn running(stored: &Stored, registered: &[RegisteredRow]) -> Definitions {
    let mut definitions = of_catalog(&stored.catalog);
    let elsewhere = of_catalog(&stored.elsewhere);
    definitions.retain(|key, _| !elsewhere.contains_key(key));
    let folder_born = registered.iter().filter(|row| row.origin == Origin::Folder);
    for row in folder_born {
        // Read and written again, so that settings left out and their defaults are the same. One
        // that can't be read differs from whatever the folder says, and is written anew.
        let definition = serde_json::from_str::<SubscriptionSpec>(&row.definition)
            .map_or(Value::Null, |spec| json(&spec));
        definitions.insert((Kind::Subscription, row.name.clone()), definition);
    }
    definitions
}

/// What the folder says.
#[must_use]
pub fn wanted(folder: &Folder) -> Definitions {
    let mut definitions = Definitions::new();
    note(&mut definitions, Kind::Namespace, &folder.namespaces);
    note(&mut definitions, Kind::ObjectType, &folder.object_types);
    note(&mut definitions, Kind::EventType, &folder.event_types);
    note(&mut definitions, Kind::Constraint, &folder.constraints);
    note(&mut definitions, Kind::Subscription, &folder.subscriptions);
    definitions
}

fn note<T: Serialize>(definitions: &mut Definitions, kind: Kind, items: &[Item<T>]) {
    for item in items {
        definitions.insert((kind, item.name.clone()), json(&item.spec));
    }
}

fn of_catalog(catalog: &Catalog) -> Definitions {
    let namespaces = catalog.namespaces.iter();
    let object_types = catalog.object_types.iter();
    let event_types = catalog.event_types.iter();
    let constraints = catalog.constraints.iter();
    namespaces
        .map(|(name, spec)| ((Kind::Namespace, name.clone()), json(spec)))
        .chain(object_types.map(|(name, spec)| ((Kind::ObjectType, name.clone()), json(spec))))
        .chain(event_types.map(|(name, spec)| ((Kind::EventType, name.clone()), json(spec))))
        .chain(
            constraints.map(|(name, constraint)| {
                ((Kind::Constraint, name.clone()), json(&constraint.spec))
            }),
        )
        .collect()
}

/// A specification as JSON. A literal secret can't be in it: the folder's reader takes it out.
fn json(spec: &impl Serialize) -> Value {
    // Plain structs of texts and lists; there is nothing in them that could not be written.
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// The settings of a definition, those of tables in it with a dotted name.
fn fields(definition: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(definition, "", &mut found);
    found
}

fn collect(value: &Value, at: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(settings) => {
            for (name, value) in settings {
                let path = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                collect(value, &path, found);
            }
        }
        value => {
            found.insert(at.to_owned(), value.to_string());
        }
    }
}

fn difference(old: &Value, new: &Value) -> Vec<FieldChange> {
    let (old, new) = (fields(old), fields(new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            from: old.get(name).cloned(),
            to: new.get(name).cloned(),
        })
        .collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = [0; 3];
        for Change { kind, name, action } in &self.changes {
            let kind = kind.as_str();
            match action {
                Action::Add(settings) => {
                    counts[0] += 1;
                    writeln!(f, "+ {kind} {name}")?;
                    for (field, value) in settings {
                        writeln!(f, "    {field} = {}", short(value))?;
                    }
                }
                Action::Change(fields) => {
                    counts[1] += 1;
                    writeln!(f, "~ {kind} {name}")?;
                    for FieldChange { field, from, to } in fields {
                        let shown = |value: &Option<String>| {
                            value.as_deref().map_or("(not set)".to_owned(), short)
                        };
                        writeln!(f, "    {field}: {} -> {}", shown(from), shown(to))?;
                    }
                }
                Action::Remove => {
                    counts[2] += 1;
                    writeln!(f, "- {kind} {name}")?;
                }
            }
        }
        for Warning { place, message } in &self.warnings {
            match place {
                Some(place) => writeln!(f, "warning: {place}: {message}")?,
                None => writeln!(f, "warning: {message}")?,
            }
        }
        let [added, changed, removed] = counts;
        writeln!(
            f,
            "{added} to add, {changed} to change, {removed} to remove, {} unchanged",
            self.unchanged
        )
    }
}

fn short(value: &str) -> String {
    if value.chars().count() <= VALUE_CHARS_MAX {
        return value.to_owned();
    }
    let start: String = value.chars().take(VALUE_CHARS_MAX).collect();
    format!("{start}...")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definitions(entries: &[(Kind, &str, Value)]) -> Definitions {
        entries
            .iter()
            .map(|(kind, name, value)| ((*kind, (*name).to_owned()), value.clone()))
            .collect()
    }

    #[test]
    fn a_plan_tells_what_is_added_changed_removed_and_unchanged() {
        let before = definitions(&[
            (Kind::Namespace, "sales", json!({"description": ""})),
            (
                Kind::ObjectType,
                "sales.gone",
                json!({"table": "a.gone", "key": ["id"]}),
            ),
            (
                Kind::ObjectType,
                "sales.order",
                json!({"table": "a.b", "key": ["id"], "mask": ["c"]}),
            ),
        ]);
        let after = definitions(&[
            (Kind::Namespace, "sales", json!({"description": ""})),
            (
                Kind::ObjectType,
                "sales.order",
                json!({"table": "a.b", "key": ["id", "x"]}),
            ),
            (
                Kind::Subscription,
                "erp",
                json!({"sink": {"url": "https://e.example.com/"}}),
            ),
        ]);
        assert_eq!(
            Plan::between(&before, &after).to_string(),
            "- object_type sales.gone\n\
             ~ object_type sales.order\n    key: [\"id\"] -> [\"id\",\"x\"]\n    mask: [\"c\"] -> \
             (not set)\n\
             + subscription erp\n    sink.url = \"https://e.example.com/\"\n\
             1 to add, 1 to change, 1 to remove, 1 unchanged\n"
        );
        let same = Plan::between(&after, &after);
        assert!(same.is_empty());
        assert_eq!(
            same.to_string(),
            "0 to add, 0 to change, 0 to remove, 3 unchanged\n"
        );
    }

    #[test]
    fn a_definition_that_cannot_be_read_is_written_anew() {
        let registered = RegisteredRow {
            id: uuid::Uuid::nil(),
            name: "erp".to_owned(),
            origin: Origin::Folder,
            owner: None,
            definition: r#"{"mode": "of a later version"}"#.to_owned(),
        };
        let before = running(&Stored::default(), &[registered]);
        let after = definitions(&[(Kind::Subscription, "erp", json!({"mode": "synchronous"}))]);
        let plan = Plan::between(&before, &after);
        assert!(matches!(plan.changes[0].action, Action::Change(_)));
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(short(&"x".repeat(201)).len(), 203);
        assert_eq!(short("x"), "x");
    }
}
