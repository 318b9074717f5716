//! What an expression may name, and of which type.

use std::sync::Arc;

use super::{kinds::Type, value::Kind};

/// The modes of a subscription, as `subscription.mode` says them.
pub(super) const MODES: &[&str] = &["synchronous", "synchronous_delayed", "batch"];
/// The operations, as `op` says them; the last is no row's.
pub(super) const OPERATIONS: &[&str] = &["create", "update", "delete", "truncate"];

/// What an expression may name, and of which type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `None`: there are no rows.
    pub(super) columns: Option<Vec<Column>>,
    pub(super) has_subscription: bool,
}

impl Scope {
    /// For events of an object type: `old`, `new` and `row` have these columns, given in the
    /// table's order.
    #[must_use]
    pub fn rows(columns: Vec<ScopeColumn>) -> Self {
        let mut slot = 0;
        let columns = columns.into_iter().map(|column| {
            let is_in_image = column.hidden != Some(Hidden::Excluded);
            let made = Column {
                r#type: Type::of_sql(&column.sql_type),
                name: column.name.into(),
                hidden: column.hidden,
                slot,
            };
            slot += usize::from(is_in_image);
            made
        });
        Self {
            columns: Some(columns.collect()),
            has_subscription: true,
        }
    }

    /// For event types without an object type: there are no rows, and `event.data` is JSON.
    #[must_use]
    pub fn api_event() -> Self {
        Self {
            columns: None,
            has_subscription: true,
        }
    }

    /// For the condition of an event type, which is judged before anybody's subscription:
    /// `subscription` can't be named.
    #[must_use]
    pub fn without_subscription(mut self) -> Self {
        self.has_subscription = false;
        self
    }

    /// The names of the columns that may be named.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .flatten()
            .filter(|column| column.hidden.is_none())
            .map(|column| &*column.name)
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .flatten()
            .find(|column| *column.name == *name)
    }
}

/// A column of the rows.
#[derive(Clone, Debug)]
pub struct ScopeColumn {
    /// Its name.
    pub name: String,
    /// Its type as Postgres' `format_type` spells it: `numeric(10,2)`, `timestamp with time zone`,
    /// `text[]`. A type that is not known here is text; for a domain give the type below it.
    pub sql_type: String,
    /// Why it can't be named, if it can't.
    pub hidden: Option<Hidden>,
}

/// Why a column can't be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// It never leaves the database.
    Excluded,
    /// Its values are replaced.
    Masked,
}

/// A column as the checker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Shared by all expressions that name it.
    pub(super) name: Arc<str>,
    pub(super) r#type: Type,
    pub(super) hidden: Option<Hidden>,
    /// Where in the image it is expected.
    pub(super) slot: usize,
}

impl Column {
    /// How its values are read, and whether it is an array of them.
    pub(super) fn kind(&self) -> (Kind, bool) {
        match &self.r#type {
            Type::List(items) => (items.kind(), true),
            other => (other.kind(), false),
        }
    }
}
