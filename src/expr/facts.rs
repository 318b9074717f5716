//! What an expression is judged over.

use chrono::{DateTime, Utc};

use crate::subscription::labels::Labels;

/// A row as the trigger wrote it.
pub use crate::capture::image::Image as Row;

/// Everything that an expression may look at, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `old`; absent for a create, and for events without rows.
    pub before: Option<&'a Row<'a>>,
    /// `new`; absent for a delete, and for events without rows.
    pub after: Option<&'a Row<'a>>,
    /// The names of the columns whose values differ.
    pub changed: &'a [&'a str],
    /// `create`, `update` or `delete`.
    pub op: &'a str,
    /// The event itself.
    pub event: EventFacts<'a>,
    /// Who would get it; absent where an event type's own condition is judged.
    pub subscription: Option<SubscriptionFacts<'a>>,
    /// The time of judging.
    pub now: DateTime<Utc>,
    /// Who made the change, as the writer claimed.
    pub actor: Option<&'a str>,
}

/// `event`.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its type's name.
    pub event_type: &'a str,
    /// The object type's name; absent for events that the API published.
    pub object_type: Option<&'a str>,
    /// Its source.
    pub source: &'a str,
    /// The object key as text.
    pub subject: Option<&'a str>,
    /// When the change was made.
    pub time: DateTime<Utc>,
    /// The JSON text of an event that the API published; absent for others.
    pub data: Option<&'a str>,
}

/// `subscription`.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// `synchronous`, `synchronous_delayed` or `batch`.
    pub mode: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
}
