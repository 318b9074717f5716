//! Who is told of what in the demo, and in which way: the subscriptions beside metadata/shop.toml.
//!
//! They name each event type, so that one that somebody adds while the demo runs does not surprise
//! them.

use std::{fmt::Write as _, net::SocketAddr};

/// The event type that has a condition in metadata/shop.toml: an order was released.
pub(super) const RELEASED: &str = "shop.order.released";
/// From this total on an order is large, in cents: the constraint of metadata/shop.toml.
pub(super) const LARGE_CENTS: i64 = 10_000;
/// Short, so that what is refused on purpose is settled when the demo ends.
const RETRY_SCHEDULE: &str = r#"["0s", "200ms", "1s", "2s", "5s", "10s"]"#;
/// When digests leave: at every fifth second, and earlier if there are so many events.
const DIGEST_SCHEDULE: &str = r#"{ cron = "*/5 * * * * *", max_items = 1000 }"#;

const ORDERS: &[&str] = &[
    "shop.order.created",
    "shop.order.updated",
    "shop.order.deleted",
];
const ORDERS_RELEASED: &[&str] = &[RELEASED];
const ITEMS: &[&str] = &[
    "shop.item.created",
    "shop.item.updated",
    "shop.item.deleted",
];
const STOCK: &[&str] = &[
    "shop.stock.created",
    "shop.stock.updated",
    "shop.stock.deleted",
];
const CUSTOMERS: &[&str] = &[
    "shop.customer.created",
    "shop.customer.updated",
    "shop.customer.deleted",
];

/// How a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Synchronous,
    Delayed,
    Digest(Form),
}

/// What a digest looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Which objects, how often.
    Keys,
    /// What the changes of each object came to.
    NetEffect,
    /// Which objects, how often, as a mail.
    Mail,
}

/// A subscription of the demo, and its receiver.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) name: &'static str,
    pub(super) way: Way,
    event_types: &'static [&'static [&'static str]],
    /// The constraint holds for it.
    pub(super) is_for_large_orders: bool,
    /// Of so many first requests it refuses one, on purpose; 0: none.
    pub(super) refused_one_in: u64,
    /// Of so many first requests it loses one answer, on purpose; 0: none.
    pub(super) answer_lost_one_in: u64,
    /// Of so many first requests it answers one late, on purpose; 0: none.
    pub(super) late_one_in: u64,
}

/// All of them. A place in this list is how the demo names one.
pub(super) const SUBSCRIBERS: [Subscriber; 8] = [
    Subscriber {
        refused_one_in: 100,
        answer_lost_one_in: 300,
        ..synchronous("erp", &[ORDERS, ORDERS_RELEASED, ITEMS])
    },
    // Whoever is delayed has to wait for it.
    Subscriber {
        late_one_in: 50,
        ..synchronous("warehouse", &[STOCK, ITEMS])
    },
    synchronous("crm", &[CUSTOMERS]),
    Subscriber {
        is_for_large_orders: true,
        ..synchronous("billing", &[ORDERS_RELEASED])
    },
    // It is told of everything, also of what somebody changes by hand.
    Subscriber {
        way: Way::Delayed,
        ..synchronous(
            "analytics",
            &[ORDERS, ORDERS_RELEASED, ITEMS, STOCK, CUSTOMERS],
        )
    },
    Subscriber {
        way: Way::Digest(Form::Keys),
        // A digest that is sent again must be the same.
        refused_one_in: 3,
        ..synchronous("reports", &[ORDERS, ORDERS_RELEASED, CUSTOMERS])
    },
    Subscriber {
        way: Way::Digest(Form::NetEffect),
        ..synchronous("stock-levels", &[STOCK])
    },
    Subscriber {
        way: Way::Digest(Form::Mail),
        ..synchronous(MAIL_SUBSCRIPTION, &[ORDERS_RELEASED])
    },
];

/// The subscription whose digests are mails.
pub(super) const MAIL_SUBSCRIPTION: &str = "morning-mail";

const fn synchronous(
    name: &'static str,
    event_types: &'static [&'static [&'static str]],
) -> Subscriber {
    Subscriber {
        name,
        way: Way::Synchronous,
        event_types,
        is_for_large_orders: false,
        refused_one_in: 0,
        answer_lost_one_in: 0,
        late_one_in: 0,
    }
}

impl Subscriber {
    /// Whether it subscribes to the event type.
    fn subscribes(&self, event_type: &str) -> bool {
        self.event_types
            .iter()
            .any(|group| group.contains(&event_type))
    }

    /// Whether the constraint keeps an event from it; `cents` is the total of a released order.
    pub(super) fn is_spared(&self, event_type: &str, cents: Option<i64>) -> bool {
        self.subscribes(event_type)
            && self.is_for_large_orders
            && cents.is_some_and(|cents| cents < LARGE_CENTS)
    }

    /// Whether it must be told of an event; `cents` is the total of a released order.
    pub(super) fn is_owed(&self, event_type: &str, cents: Option<i64>) -> bool {
        self.subscribes(event_type) && !self.is_spared(event_type, cents)
    }

    fn metadata(&self, receivers: SocketAddr) -> String {
        let Self { name, way, .. } = self;
        let event_types = self.event_types.concat();
        let mut text = format!("\n[subscription.{name}]\nevent_types = {event_types:?}\n");
        text.push_str(match way {
            Way::Synchronous => "mode = \"synchronous\"\n",
            Way::Delayed => "mode = \"synchronous_delayed\"\n",
            Way::Digest(_) => "mode = \"batch\"\n",
        });
        if let Way::Digest(form) = way {
            let condense = if *form == Form::NetEffect {
                "net_effect"
            } else {
                "keys"
            };
            let _ = write!(
                text,
                "schedule = {DIGEST_SCHEDULE}\ncondense = \"{condense}\"\n"
            );
        }
        if self.is_for_large_orders {
            text.push_str("labels = { orders = \"large\" }\n");
        }
        let sink = if *way == Way::Digest(Form::Mail) {
            // The count comes first, so that the demo can read it.
            "{ kind = \"email\", to = [\"Sales <sales@example.com>\"], subject = \
             \"{{ digest.count }} orders released, {{ digest.window.from|time }} to \
             {{ digest.window.to|time }}\" }"
                .to_owned()
        } else {
            format!("{{ kind = \"webhook\", url = \"http://{receivers}/{name}\" }}")
        };
        let _ = write!(
            text,
            "sink = {sink}\nretry = {{ schedule = {RETRY_SCHEDULE} }}\n"
        );
        text
    }
}

/// The place of a subscription of this name.
pub(super) fn place(name: &str) -> Option<usize> {
    SUBSCRIBERS.iter().position(|known| known.name == name)
}

/// The shop's metadata with the subscriptions.
pub(super) fn metadata(receivers: SocketAddr) -> String {
    let mut text = include_str!("../../../metadata/shop.toml").to_owned();
    for subscriber in &SUBSCRIBERS {
        text.push_str(&subscriber.metadata(receivers));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_orders_are_kept_from_whoever_wants_large_ones() {
        let billing = &SUBSCRIBERS[place("billing").unwrap()];
        let erp = &SUBSCRIBERS[place("erp").unwrap()];
        for (cents, is_owed) in [(9_999, false), (10_000, true)] {
            assert_eq!(billing.is_owed(RELEASED, Some(cents)), is_owed);
            assert_eq!(billing.is_spared(RELEASED, Some(cents)), !is_owed);
            assert!(erp.is_owed(RELEASED, Some(cents)));
        }
        assert!(!billing.is_owed("shop.order.updated", None));
    }

    #[test]
    fn the_delayed_one_is_told_of_all_that_digests_are() {
        let analytics = &SUBSCRIBERS[place("analytics").unwrap()];
        for subscriber in &SUBSCRIBERS {
            for event_type in subscriber.event_types.concat() {
                assert!(analytics.is_owed(event_type, Some(0)), "{event_type}");
            }
        }
    }
}
