//! What can be judged of a subscription's own rate. Pure.

use super::{check::SpecProblem, model::SubscriptionSpec};
use crate::constraint::rate::Rate;

/// What is wrong with the rate, if there is one.
pub(super) fn check_rate(spec: &SubscriptionSpec) -> Option<SpecProblem> {
    let problem = Rate::parse(spec.rate.as_deref()?).err()?;
    Some(SpecProblem::new("/rate", problem))
}
