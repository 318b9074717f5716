//! Judges what is owed by the constraints that are judged at the event.

use chrono::{DateTime, TimeDelta, Utc};

use super::{PublishError, event::Event, facts::Recalled, plan::Planned};
use crate::{
    constraint::{
        compile::Compiled,
        counters::RateKey,
        judge::{Decision, Judged, Moment, Rates, judge, rate_keys},
        store::{Matter, NewJudgement, rates_load, rates_save},
    },
    db::Connection,
    expr::Facts,
    registry::live::Registry,
    subscription::model::Mode,
};

/// Judges the planned deliveries that are constrained, and returns what is to be recorded: why some
/// are held or never sent. `now` is the time of judging; constraints go by that of the event.
pub(super) fn judge_all(
    connection: &mut Connection,
    planned: &mut [Planned],
    events: &[Event],
    registry: &Registry,
    now: DateTime<Utc>,
) -> Result<Vec<NewJudgement>, PublishError> {
    let constrained: Vec<usize> = planned
        .iter()
        .enumerate()
        .filter(|(_, delivery)| {
            registry.subscriptions[delivery.subscription as usize].is_constrained()
        })
        .map(|(place, _)| place)
        .collect();
    if constrained.is_empty() {
        return Ok(Vec::new());
    }
    let bench = Bench { events, registry };
    let keys = constrained
        .iter()
        .flat_map(|place| bench.rate_keys(&planned[*place]))
        .collect();
    let mut rates = rates_load(connection, keys)?;
    let mut judgements = Vec::new();
    let places: Vec<usize> = planned.iter().map(|delivery| delivery.event).collect();
    for of_event in constrained.chunk_by(|one, other| places[*one] == places[*other]) {
        let event = &events[places[of_event[0]]];
        // A body of our own is readable; if it ever is not, nothing can be said against it.
        let Ok(recalled) = Recalled::parse(&event.body, event.object_type.is_some()) else {
            continue;
        };
        let changed = recalled.changed();
        let facts = recalled.facts(&changed, event.captured_at);
        for place in of_event {
            let delivery = &mut planned[*place];
            let subscription_id = registry.id(delivery.subscription);
            let rates = &mut rates.of(subscription_id);
            let Some((mut judged, moment)) = bench.judge(delivery, &facts, rates) else {
                continue;
            };
            // It is held from now on, however long the change had to wait for being published.
            let delay = (now - event.captured_at).max(TimeDelta::zero());
            judged.hold_until = judged.hold_until.map(|until| until + delay);
            if let (Some(verdict), Some(by)) = (judged.decision.verdict(), judged.by.clone()) {
                judgements.push(NewJudgement {
                    matter: Matter::Event(event.id),
                    subscription_id,
                    judged_at: now,
                    moment,
                    verdict,
                    by,
                });
            }
            delivery.is_unjudged = moment == Moment::Event && judged.decision == Decision::Hold;
            delivery.judged = Some(judged);
        }
    }
    rates_save(connection, &rates)?;
    Ok(judgements)
}

/// What a batch is judged with.
struct Bench<'a> {
    events: &'a [Event],
    registry: &'a Registry,
}

impl<'a> Bench<'a> {
    fn constraints(&self, delivery: &Planned) -> Vec<&'a Compiled> {
        let event = &self.events[delivery.event];
        self.registry.subscriptions[delivery.subscription as usize]
            .constraints_on(&event.event_type, event.object_type.as_deref())
    }

    fn rate_keys(&self, delivery: &Planned) -> Vec<RateKey> {
        let at = self.events[delivery.event].captured_at;
        let subscription = self.registry.id(delivery.subscription);
        let constraints = self.constraints(delivery);
        let mut keys = rate_keys(&constraints, Moment::Event, subscription, at);
        let at_gathering = at_gathering(delivery.mode, &constraints);
        keys.extend(rate_keys(&at_gathering, Moment::Send, subscription, at));
        keys
    }

    fn judge(
        &self,
        delivery: &Planned,
        facts: &Facts<'_>,
        rates: &mut dyn Rates,
    ) -> Option<(Judged, Moment)> {
        let constraints = self.constraints(delivery);
        if constraints.is_empty() {
            return None;
        }
        let at = self.events[delivery.event].captured_at;
        let registered = &self.registry.subscriptions[delivery.subscription as usize];
        let facts = registered.facts(facts);
        let judged = judge(&constraints, Moment::Event, &facts, at, rates);
        let at_gathering = at_gathering(delivery.mode, &constraints);
        if judged.by.is_some() || at_gathering.is_empty() {
            return Some((judged, Moment::Event));
        }
        let judged = judge(&at_gathering, Moment::Send, &facts, at, rates);
        Some((judged, Moment::Send))
    }
}

/// A digest is no event, so of the constraints that are judged at send, those that look at the
/// event are judged when it is gathered.
pub fn at_gathering<'a>(mode: Mode, constraints: &[&'a Compiled]) -> Vec<&'a Compiled> {
    if mode != Mode::Batch {
        return Vec::new();
    }
    constraints
        .iter()
        .copied()
        .filter(|constraint| constraint.has_condition())
        .collect()
}
