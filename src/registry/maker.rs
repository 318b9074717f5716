//! Makes subscriptions ready for use: with a sink, compiled filters, and the constraints on them.

use std::sync::Arc;

use super::{
    filters::Filters, live::LiveRegistry, registered::Registered, suspended::Suspended,
    webhook::webhook,
};
use crate::{
    catalog::model::{Catalog, name_matches},
    constraint::{compile::Compiled, model::Judge},
    digest::schedule::Schedule,
    sink::{EmailSink, Sink},
    subscription::{
        list::Loaded,
        model::{Mode, SinkSpec, Subscription},
        rate::rate_within,
    },
};

/// What subscriptions are made ready with.
pub(super) struct Maker<'a> {
    pub(super) live: &'a LiveRegistry,
    pub(super) catalog: &'a Catalog,
    pub(super) constraints: &'a [Arc<Compiled>],
    pub(super) filters: Filters<'a>,
}

impl Maker<'_> {
    /// Makes one ready. What of its filter is suspended is added to `suspended`.
    pub(super) fn make(&mut self, loaded: Loaded, suspended: &mut Vec<Suspended>) -> Registered {
        let subscription = &loaded.subscription;
        let Subscription { id, name, spec, .. } = subscription;
        let filtered = self.filters.of(name, spec);
        suspended.extend(filtered.suspended);
        let (grouping, ungrouped) = self.filters.grouping(subscription).unzip();
        suspended.extend(ungrouped.into_iter().flatten());
        let sink = match &spec.sink {
            SinkSpec::Webhook { .. } => {
                webhook(self.live.client.clone(), &self.live.origin, &loaded)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>)
            }
            SinkSpec::Email(email) => match self.live.mailer.clone() {
                Some(mailer) => EmailSink::new(mailer, email, *id, name)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>),
                None => Err("this server sends no mail: set ROWCALL_SMTP_URL".to_owned()),
            },
        };
        let labels = &spec.labels;
        let constraints: Vec<Arc<Compiled>> = self
            .constraints
            .iter()
            .filter(|constraint| constraint.is_for_subscription(name, labels))
            .cloned()
            .collect();
        Registered {
            digest_constraints: on_digests(subscription, self.catalog, &constraints),
            constraints,
            filters: filtered.fitting,
            schedule: schedule(subscription),
            grouping,
            rate: rate_within(spec.rate(), loaded.allowed_per_minute),
            subscription: loaded.subscription,
            sink,
        }
    }
}

/// A digest is no event, so what looks at events is judged when they are gathered. What only looks
/// at the clock is judged when the digest is sent, if it is for any event in it.
fn on_digests(
    subscription: &Subscription,
    catalog: &Catalog,
    constraints: &[Arc<Compiled>],
) -> Vec<Arc<Compiled>> {
    if subscription.spec.mode != Mode::Batch {
        return Vec::new();
    }
    let spec = &subscription.spec;
    let is_named = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| name_matches(pattern, name))
    };
    let mut meant: Vec<(Option<&str>, String)> = Vec::new();
    for object_type in catalog.object_types.keys() {
        let is_whole = is_named(&spec.object_types, object_type);
        let event_types = catalog.event_types_of(object_type);
        meant.extend(
            event_types
                .filter(|name| is_whole || is_named(&spec.event_types, name))
                .map(|name| (Some(object_type.as_str()), name)),
        );
    }
    let of_api = catalog.api_event_types();
    let of_api = of_api.filter(|name| is_named(&spec.event_types, name));
    meant.extend(of_api.map(|name| (None, name.to_owned())));
    constraints
        .iter()
        .filter(|constraint| constraint.judge != Judge::AtEvent && !constraint.has_condition())
        .filter(|constraint| {
            meant
                .iter()
                .any(|(object_type, event_type)| constraint.is_for_event(event_type, *object_type))
        })
        .cloned()
        .collect()
}

/// The schedule of a batch subscription. It was checked when it was registered; one that can't be
/// used all the same, for instance because its time zone has gone, is replaced.
fn schedule(subscription: &Subscription) -> Option<Schedule> {
    if subscription.spec.mode != Mode::Batch {
        return None;
    }
    let given = subscription.spec.schedule.as_deref();
    let compiled = given.map(Schedule::compile);
    Some(compiled.and_then(Result::ok).unwrap_or_else(|| {
        tracing::error!(
            subscription = subscription.name,
            "the schedule can't be used; digests are sent hourly until it is given anew"
        );
        Schedule::fallback()
    }))
}
