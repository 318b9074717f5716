//! What is asked for: which settled deliveries are sent again, and how fast.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    item::store::{NewItem, item_insert},
    store::{NewReplay, replay_insert},
};
use crate::{
    constraint::rate::Rate,
    db::{Connection, QueryError},
    id::{id_at, id_first_at},
    publish::floor::floor,
};

/// Replays that may be under way at once.
pub const RUNNING_MAX: i64 = 100;

/// Which deliveries of a subscription are meant. What is left out narrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// This one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Uuid>,
    /// As they are settled.
    #[serde(default)]
    pub state: Which,
    /// The earliest time of an event; of a digest, of its close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Times before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// The event's type; of a digest, that of an event in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The event's object type; of a digest, that of an event in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_type: Option<String>,
    /// The object's key as text, before or after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// An expression over the event. Digests are no events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// Which of the settled deliveries can be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those that were given up.
    #[default]
    Dead,
    /// Those that were acknowledged.
    Delivered,
    /// Both.
    Any,
}

impl Which {
    /// The states of deliveries.
    #[must_use]
    pub fn states(self) -> &'static [&'static str] {
        match self {
            Self::Dead => &["dead"],
            Self::Delivered => &["delivered"],
            Self::Any => &["dead", "delivered"],
        }
    }
}

/// How fast a replay sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    rate: Rate,
    interval_us: i64,
}

impl Pace {
    /// Reads a rate such as `20/s` or `100/h`, which must not exceed `per_second_max`.
    ///
    /// # Errors
    ///
    /// What is expected instead.
    pub fn parse(text: &str, per_second_max: u32) -> Result<Self, String> {
        let rate = Rate::parse(text)?;
        let pace = Self::of(rate);
        if pace.interval_us < Self::per_second(per_second_max).interval_us {
            return Err(format!(
                "`{text}` is more than {per_second_max}/s (limits.replay_sends_per_second_max)"
            ));
        }
        Ok(pace)
    }

    /// So many a second.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        let text = format!("{}/s", count.max(1));
        // Every such text is a rate.
        Rate::parse(&text).map_or_else(|_| Self::per_second(1), Self::of)
    }

    fn of(rate: Rate) -> Self {
        let epoch = DateTime::<Utc>::UNIX_EPOCH;
        let period_us = (rate.next_window(epoch) - epoch)
            .num_microseconds()
            .unwrap_or(i64::MAX);
        // Rounded up: rather a little too slow.
        let interval_us = (period_us + rate.limit() - 1) / rate.limit();
        Self {
            rate,
            interval_us: interval_us.max(1),
        }
    }
}

/// An order that was checked.
#[derive(Clone, Debug)]
pub struct Order {
    /// To whom.
    pub subscription_id: Uuid,
    /// Who asks: a key's id, or `bootstrap`.
    pub asked_by: String,
    /// What.
    pub selection: Selection,
    /// How fast.
    pub pace: Pace,
}

/// Writes a replay; ring its stage after the commit. Returns its id. The delivery of one that names
/// one has been looked at by the caller in this transaction: it is settled, and its body is kept.
///
/// # Errors
///
/// Those of the database.
pub fn place(
    connection: &mut Connection,
    order: &Order,
    now: DateTime<Utc>,
) -> Result<Uuid, QueryError> {
    let id = id_at(now);
    let selection = serde_json::to_string(&order.selection)
        .map_err(|error| QueryError::SerializationError(error.into()))?;
    let single = order.selection.delivery;
    let looked_at = match order.selection.from {
        Some(from) => floor(connection, from)?,
        None => Uuid::nil(),
    };
    let new = NewReplay {
        id,
        subscription_id: order.subscription_id,
        asked_by: &order.asked_by,
        selection: &selection,
        rate: &order.pace.rate.to_string(),
        interval_us: order.pace.interval_us,
        state: if single.is_some() {
            "sending"
        } else {
            "searching"
        },
        looked_at,
        // What is published from now on is not meant.
        looked_upto: id_first_at(now + TimeDelta::milliseconds(1)),
        found: i64::from(single.is_some()),
    };
    replay_insert(connection, &new, now)?;
    if let Some(delivery_id) = single {
        let item = NewItem {
            id: id_at(now),
            delivery_id,
        };
        item_insert(connection, id, &[item], now)?;
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_what_lies_between_two_sends() {
        for (text, interval_us) in [("20/s", 50_000), ("3/s", 333_334), ("100/h", 36_000_000)] {
            let pace = Pace::parse(text, 50).unwrap();
            assert_eq!(pace.interval_us, interval_us, "{text}");
            assert_eq!(pace.rate.to_string(), text);
        }
        assert_eq!(Pace::parse("50/s", 50).unwrap(), Pace::per_second(50));
        for text in ["51/s", "4000/m", "0/s", "fast", "-1/s"] {
            assert!(Pace::parse(text, 50).is_err(), "{text}");
        }
    }
}
