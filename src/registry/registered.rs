//! A subscription made ready for use: its sink, and its filter for every object type.

use std::sync::Arc;

use super::filters::Fitting;
use crate::{
    constraint::{compile::Compiled, model::Judge, rate::Rate},
    digest::{grouping::Grouping, schedule::Schedule},
    expr::{Expression, Facts, SubscriptionFacts, Verdict},
    sink::Sink,
    subscription::model::Subscription,
};

/// A subscription with its sink and its filter.
pub struct Registered {
    /// As it is registered.
    pub subscription: Subscription,
    /// Where it is told, or why it can't be.
    pub sink: Result<Arc<dyn Sink>, String>,
    /// When its digests close, if its mode is `batch`.
    pub schedule: Option<Schedule>,
    /// What its digests are grouped by, if they are.
    pub grouping: Option<Grouping>,
    /// How many requests its receiver wants, if it or its subscriber said so.
    pub rate: Option<Rate>,
    /// The constraints that may be for it.
    pub(super) constraints: Vec<Arc<Compiled>>,
    /// Of these, those that its digests are judged by when they are sent.
    pub(super) digest_constraints: Vec<Arc<Compiled>>,
    /// Its filter, compiled for each object type whose columns it fits.
    pub(super) filters: Fitting,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("subscription", &self.subscription.name)
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// What requests are counted by, so that one receiver can't take all senders.
    #[must_use]
    pub fn host(&self) -> &str {
        self.sink.as_ref().map_or("", |sink| sink.host())
    }

    /// Whether the filter can be judged on events of this object type.
    #[must_use]
    pub fn fits(&self, object_type: Option<&str>) -> bool {
        self.subscription.spec.filter.is_none() || self.filter(object_type).is_some()
    }

    /// The filter for events of this object type.
    #[must_use]
    pub fn filter(&self, object_type: Option<&str>) -> Option<&Expression> {
        self.filters.get(object_type.unwrap_or_default())
    }

    /// The constraints on an event to this subscription.
    #[must_use]
    pub fn constraints_on(&self, event_type: &str, object_type: Option<&str>) -> Vec<&Compiled> {
        self.constraints
            .iter()
            .map(|constraint| &**constraint)
            .filter(|constraint| constraint.is_for_event(event_type, object_type))
            .collect()
    }

    /// Whether there may be constraints on events to this subscription at all.
    #[must_use]
    pub fn is_constrained(&self) -> bool {
        !self.constraints.is_empty()
    }

    /// Whether constraints, or its rate, may keep a delivery from being sent that was published.
    #[must_use]
    pub fn is_judged_at_send(&self) -> bool {
        let at_send = |constraint: &Arc<Compiled>| constraint.judge != Judge::AtEvent;
        self.rate.is_some() || self.constraints.iter().any(at_send)
    }

    /// The constraints on sending its digests.
    pub fn constraints_on_digests(&self) -> impl Iterator<Item = &Compiled> {
        self.digest_constraints
            .iter()
            .map(|constraint| &**constraint)
    }

    /// Whether the subscriber wants the event: the filter, if there is one, is true. One that is
    /// suspended on these events is not.
    #[must_use]
    pub fn wants(&self, object_type: Option<&str>, facts: &Facts<'_>) -> Verdict {
        match self.filter(object_type) {
            None if self.fits(object_type) => Verdict::True,
            None => Verdict::False,
            Some(filter) => filter.evaluate(&self.facts(facts)),
        }
    }

    /// The facts as this subscription's filter and constraints see them.
    #[must_use]
    pub fn facts<'a>(&'a self, facts: &Facts<'a>) -> Facts<'a> {
        Facts {
            subscription: Some(SubscriptionFacts {
                name: &self.subscription.name,
                mode: self.subscription.spec.mode.as_str(),
                labels: &self.subscription.spec.labels,
            }),
            ..*facts
        }
    }
}
