//! A publishing constraint as it is written (TOML or JSON, the same fields).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::subscription::model::optional_duration;

/// What must be so for an event to be published to a subscription. Everything that is given of
/// `condition`, `window` and `rate` must pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstraintSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Which events and subscriptions it is for.
    pub applies_to: AppliesTo,
    /// An expression that must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The hours in which it may be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpec>,
    /// How many deliveries a subscription may get, such as `100/h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// When it is judged.
    #[serde(default)]
    pub judge: Judge,
    /// What becomes of what does not pass.
    pub otherwise: Otherwise,
    /// How long a delivery is held before it is withdrawn; needed with `hold`, and only there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub hold_at_most: Option<Duration>,
}

/// Which events and subscriptions a constraint is for: of each list that is not empty one entry
/// must match, and every label. At least one of the lists or a label is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliesTo {
    /// Event types or patterns of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Object types or patterns of them. Together with `event_types`, either may match, as with a
    /// subscription.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_types: Vec<String>,
    /// Names of subscriptions or patterns of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// Labels that the subscription must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Hours of a week in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Days or ranges of days, such as `mon-fri` or `mon,wed,sat-sun`; every day, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<String>,
    /// `HH:MM`, included.
    pub from: String,
    /// `HH:MM`, not included; `24:00` is the end of the day. Before `from`: it is of the next day.
    pub to: String,
    /// The IANA name of the zone, such as `Europe/Berlin`; UTC, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// When a constraint is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// When the event is published; window and rate by the change's time.
    #[default]
    AtEvent,
    /// Before each attempt, by the clock.
    AtSend,
    /// At both.
    Both,
}

/// What becomes of a delivery that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It waits until it passes, and later events of its object with it.
    Hold,
    /// It is never sent.
    Suppress,
}
