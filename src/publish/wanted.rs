//! Who wants an event: finds its subscriptions and judges their filters. Pure.

use std::collections::HashSet;

use super::{
    event::Event,
    facts::{Recalled, holds},
};
use crate::{
    expr::{Expression, Facts, Verdict},
    registry::{
        index::{Candidate, Meant},
        live::Registry,
    },
};

/// Finds the places of the subscriptions that the event is for and whose filters are true of it, in
/// no order. Those that are `deferred` want nothing but what is for them alone.
pub(super) fn wanted_by(
    event: &Event,
    registry: &Registry,
    deferred: &HashSet<u32>,
    found: &mut Vec<u32>,
) {
    found.clear();
    match event.only_for {
        None => {
            let meant = registry.index.meant(event.query());
            judge(
                event,
                &meant,
                registry,
                |place| !deferred.contains(&place),
                found,
            );
        }
        Some(id) => {
            let alone = registry.alone(id, event.query());
            let meant = registry.index.meant_alone(&alone);
            judge(event, &meant, registry, |_| true, found);
        }
    }
}

fn judge(
    event: &Event,
    meant: &Meant<'_>,
    registry: &Registry,
    is_told: impl Fn(u32) -> bool,
    found: &mut Vec<u32>,
) {
    let mut candidates = Vec::new();
    let recalled = meant
        .has_filter()
        .then(|| Recalled::parse(&event.body, event.object_type.is_some()));
    let Some(Ok(recalled)) = recalled else {
        // Of a body that can't be read no filter is true.
        meant.find(None, &mut candidates);
        let places = candidates.iter().map(|candidate| candidate.place);
        return found.extend(places.filter(|place| is_told(*place)));
    };
    let changed = recalled.changed();
    // As of the change: what is decided of an event does not depend on when it was published.
    let facts = recalled.facts(&changed, event.captured_at);
    meant.find(Some(&facts), &mut candidates);
    let mut judge = Judge {
        facts: &facts,
        registry,
        last: None,
    };
    for candidate in candidates {
        if is_told(candidate.place) && judge.holds(candidate) {
            found.push(candidate.place);
        }
    }
}

/// Judges the filters of one event.
struct Judge<'a> {
    facts: &'a Facts<'a>,
    registry: &'a Registry,
    /// The last one, and what it said, if it says the same for every subscriber.
    last: Option<(&'a Expression, Verdict)>,
}

impl<'a> Judge<'a> {
    /// Whether the candidate wants the event.
    fn holds(&mut self, candidate: &'a Candidate) -> bool {
        let Some(filter) = &candidate.filter else {
            return true;
        };
        let registered = || &self.registry.subscriptions[candidate.place as usize];
        let verdict = match &self.last {
            Some((last, verdict)) if last.is_shared_with(filter) => verdict.clone(),
            _ if filter.names_subscription() => filter.evaluate(&registered().facts(self.facts)),
            _ => {
                let verdict = filter.evaluate(self.facts);
                self.last = Some((filter, verdict.clone()));
                verdict
            }
        };
        match verdict {
            Verdict::True => true,
            Verdict::False => false,
            failed => holds(failed, "filter", &registered().subscription.name),
        }
    }
}
