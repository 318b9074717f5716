//! Who may be told of operational events: a subscription's owner of its own, and operators of all.
//! Pure.

use uuid::Uuid;

use super::event::Event;
use crate::{
    catalog::operations::is_operational, registry::live::Registry,
    subscription::model::Subscription,
};

/// Keeps those subscriptions that may be told of the event.
pub(super) fn retain_entitled(event: &Event, registry: &Registry, found: &mut Vec<u32>) {
    if found.is_empty() || !is_operational(&event.event_type) {
        return;
    }
    // The subject of an operational event is the subscription that it is about. One that was
    // deleted since has no owner who could be told.
    let about = event
        .key
        .as_deref()
        .and_then(|key| Uuid::parse_str(key).ok());
    let about = about.and_then(|id| registry.by_id.get(&id));
    let subscription = |place: u32| &registry.subscriptions[place as usize].subscription;
    let owner = about.and_then(|place| subscription(*place).owner.as_deref());
    found.retain(|place| is_entitled(subscription(*place), owner));
}

fn is_entitled(subscription: &Subscription, owner: Option<&str>) -> bool {
    subscription.is_operators || owner.is_some() && subscription.owner.as_deref() == owner
}
