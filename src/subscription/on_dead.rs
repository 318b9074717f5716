//! What a dead delivery means for the events of its object that come after it.

use serde::{Deserialize, Serialize};

use super::{
    check::SpecProblem,
    model::{Ordering, SubscriptionSpec},
};

/// What becomes of an object's later events when one of its deliveries is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// They are sent.
    #[default]
    Continue,
    /// They wait until the dead one was sent again with success, or released.
    Block,
}

/// Only what has an order can be blocked.
pub(super) fn check_on_dead(spec: &SubscriptionSpec, problems: &mut Vec<SpecProblem>) {
    if spec.on_dead == OnDead::Block && spec.ordering == Ordering::None {
        problems.push(SpecProblem::new(
            "/on_dead",
            "without an order nothing waits for a dead delivery: set `ordering` to `key`, or leave \
             `on_dead` out",
        ));
    }
}
