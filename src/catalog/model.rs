//! What the catalogue holds, as it is used at run time.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::operations::{OPERATIONAL_EVENT_TYPES, is_operational};
pub use super::pattern::{name_matches, text_matches};
use crate::constraint::model::ConstraintSpec;

/// The event type under which a row change is published that could not be captured whole.
pub const GAP_EVENT_TYPE: &str = "rowcall.capture.gap";

/// The event type of digests.
pub const DIGEST_EVENT_TYPE: &str = "rowcall.digest";

/// The event type of heartbeats.
pub const HEARTBEAT_EVENT_TYPE: &str = "rowcall.heartbeat";

/// One version of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// 0 before anything was applied.
    pub version: i64,
    /// By full name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// By full name: the namespace, a dot, the object.
    pub object_types: BTreeMap<String, ObjectType>,
    /// Those that are written down, by full name; the standard ones exist without that.
    pub event_types: BTreeMap<String, EventType>,
    /// By name.
    pub constraints: BTreeMap<String, Constraint>,
}

/// A constraint and the catalogue's version in which it was last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Recorded with every delivery that it holds or suppresses.
    pub version: i64,
    /// As it is written.
    pub spec: ConstraintSpec,
}

/// A named event: of an object type, by operations and a condition; or, without one, published
/// through the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventType {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whose changes it is found in; without it events of this type come through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_type: Option<String>,
    /// The operations that are looked at; all three, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Operation>,
    /// The condition on the old and the new row; always true, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The JSON Schema of `data`, for an event type without an object type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is inserted.
    Create,
    /// It is updated.
    Update,
    /// It is deleted.
    Delete,
}

/// What to say to who names `truncate` among the operations of an event type.
pub(crate) const ON_TRUNCATE: &str = "a TRUNCATE is about no row, so no condition is judged; \
    every one is the event `<object type>.truncated`, which needs no event type of yours";

/// A node of the catalogue tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// A business object presented as rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectType {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where the rows are.
    pub table: TableName,
    /// The columns that tell one object from another, in the order of the key's text.
    pub key: Vec<String>,
    /// Columns that never leave the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Columns whose values are carried as `***`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// The database where the table is.
    #[serde(default, skip_serializing_if = "SourceName::is_default")]
    pub source: SourceName,
    /// Which changes are written down.
    #[serde(default, skip_serializing_if = "CaptureMode::is_all")]
    pub capture: CaptureMode,
    /// Whether conditions are judged in the trigger's WHEN, which is cheaper and makes the table's
    /// owner drop the trigger before a column of a condition can be dropped or retyped. Only with
    /// `capture = "defined"`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub when_clause: bool,
}

/// Which changes of an object type's table are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMode {
    /// Every one.
    #[default]
    All,
    /// Those that an event type of the catalogue may match.
    Defined,
}

impl CaptureMode {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// The name of a database whose rows are captured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceName(pub String);

/// The source that is Rowcall's own database.
pub const DEFAULT_SOURCE: &str = "default";

impl SourceName {
    /// Whether it is Rowcall's own database.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT_SOURCE
    }
}

impl Default for SourceName {
    fn default() -> Self {
        Self(DEFAULT_SOURCE.to_owned())
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table's name, written `schema.table`; neither part may hold a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    /// As Postgres keeps it, without quotes.
    pub schema: String,
    /// As Postgres keeps it, without quotes.
    pub table: String,
}

impl TryFrom<String> for TableName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once('.') {
            Some((schema, table))
                if !schema.is_empty() && !table.is_empty() && !table.contains('.') =>
            {
                Ok(Self {
                    schema: schema.to_owned(),
                    table: table.to_owned(),
                })
            }
            _ => Err(format!(
                "`{text}` is not a table: write `schema.table`, such as `public.{}`",
                if text.is_empty() {
                    "orders"
                } else {
                    text.trim_matches('.')
                }
            )),
        }
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The standard events, which an object type of which every change is captured has without their
/// being written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// A row was inserted.
    Created,
    /// A row was updated, even if nothing in it changed.
    Updated,
    /// A row was deleted.
    Deleted,
    /// The table, or a partition of it, was emptied by TRUNCATE. It is no object's event.
    Truncated,
    /// A row was there when a subscription began that starts with what is there; only that
    /// subscription is told.
    Existed,
}

impl Verb {
    /// In the order of an object's life; then what is no object's, and what is no change.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Updated,
        Self::Deleted,
        Self::Truncated,
        Self::Existed,
    ];

    /// The last part of the event type's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::Existed => "existed",
        }
    }

    /// Whether `event_type` is this verb's standard event of `object_type`.
    #[must_use]
    pub fn is(self, event_type: &str, object_type: &str) -> bool {
        let verb = event_type
            .strip_prefix(object_type)
            .and_then(|rest| rest.strip_prefix('.'));
        verb == Some(self.as_str())
    }

    /// The full name of `object_type`'s standard event.
    #[must_use]
    pub fn event_type(self, object_type: &str) -> String {
        format!("{object_type}.{}", self.as_str())
    }
}

impl Operation {
    /// In the order of an object's life.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl EventType {
    /// The operations that are looked at.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        if self.on.is_empty() {
            &Operation::ALL
        } else {
            &self.on
        }
    }
}

impl Catalog {
    /// Every event type: the standard ones in the order of the object types' names, that of gaps,
    /// the operational ones, and those that are written down.
    pub fn event_types(&self) -> impl Iterator<Item = String> {
        self.object_types
            .iter()
            .flat_map(|(name, object_type)| {
                let verbs = object_type.standard_verbs().iter();
                verbs.map(|verb| verb.event_type(name))
            })
            .chain([GAP_EVENT_TYPE.to_owned()])
            .chain(OPERATIONAL_EVENT_TYPES.map(str::to_owned))
            .chain(self.event_types.keys().cloned())
    }

    /// The event types that a change of `object_type` may be: the standard ones, then by name.
    pub fn event_types_of<'a>(&'a self, object_type: &'a str) -> impl Iterator<Item = String> + 'a {
        let is_of =
            move |event_type: &EventType| event_type.object_type.as_deref() == Some(object_type);
        let written = self.event_types.iter();
        let written = written.filter(move |(_, event_type)| is_of(event_type));
        let spec = self.object_types.get(object_type);
        spec.into_iter()
            .flat_map(|spec| spec.standard_verbs())
            .map(move |verb| verb.event_type(object_type))
            .chain(written.map(|(name, _)| name.clone()))
    }

    /// The event types without an object type: those whose events come through the API, and the
    /// operational ones.
    pub fn api_event_types(&self) -> impl Iterator<Item = &str> {
        let of_api = |event_type: &EventType| event_type.object_type.is_none();
        self.event_types
            .iter()
            .filter(move |(_, event_type)| of_api(event_type))
            .map(|(name, _)| name.as_str())
            .chain(OPERATIONAL_EVENT_TYPES)
    }

    /// Whether events of the type `name` come from no rows.
    #[must_use]
    pub fn is_api_event_type(&self, name: &str) -> bool {
        let event_type = self.event_types.get(name);
        event_type.is_some_and(|event_type| event_type.object_type.is_none())
            || is_operational(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_its_schema_is_refused_with_an_example() {
        let refused = TableName::try_from("orders".to_owned()).unwrap_err();
        assert_eq!(
            refused,
            "`orders` is not a table: write `schema.table`, such as `public.orders`"
        );
        assert!(TableName::try_from("a.b.c".to_owned()).is_err());
        assert_eq!(
            TableName::try_from("a.b".to_owned()).unwrap().to_string(),
            "a.b"
        );
    }
}
