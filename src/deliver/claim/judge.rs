//! Judges what was claimed, before it is sent: by the constraints that are judged at send, and by
//! those at the event for what they held. Pure, apart from the counters of the rates.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::store::ClaimedRow;
use crate::{
    catalog::model::DIGEST_EVENT_TYPE,
    constraint::{
        compile::Compiled,
        counters::{Counted, RateKey, SubscriptionRates},
        judge::{Decision, Ground, Judged, Moment, Rates, judge, rate_keys},
        store::Verdict,
    },
    expr::{EventFacts, Facts},
    publish::{facts::Recalled, judge::at_gathering},
    registry::registered::Registered,
    subscription::model::Mode,
};

/// What is owed, as it was stored.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) text: Arc<str>,
    /// The places in memory that a delivery of it takes.
    pub(super) places: usize,
    /// The event's type; of a part of a digest, that of digests.
    pub(super) event_type: String,
    /// The type of the event's object.
    pub(super) object_type: Option<String>,
}

/// What claiming decides of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is sent.
    Sent {
        /// It was counted by rates that are judged at send.
        is_counted: bool,
    },
    /// Its event is added to the subscription's digest.
    Gathered {
        /// It was counted by rates that are judged at send.
        is_counted: bool,
    },
    /// A constraint keeps it.
    Kept(Kept),
    /// Its subscription's rate has no token for it. It was not judged.
    Deferred {
        /// When there may be one.
        until: DateTime<Utc>,
    },
}

impl Fate {
    /// Whether it was counted by rates that are judged at send.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            Self::Sent { is_counted: true } | Self::Gathered { is_counted: true }
        )
    }

    /// Whether it has passed the constraints that are judged at the event.
    #[must_use]
    pub fn has_passed_event(&self) -> bool {
        match self {
            Self::Sent { .. } | Self::Gathered { .. } => true,
            Self::Kept(kept) => kept.moment != Moment::Event,
            Self::Deferred { .. } => false,
        }
    }

    /// Whether a sender is to take it.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Whether what follows in its lane has to wait.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Kept(kept) if kept.verdict == Verdict::Hold)
    }
}

/// Why a delivery is not sent, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Held, suppressed or withdrawn.
    pub verdict: Verdict,
    /// At which moment it was judged so.
    pub moment: Moment,
    /// The constraint.
    pub by: Ground,
    /// When a held one is withdrawn.
    pub hold_until: Option<DateTime<Utc>>,
    /// When a held one is judged again.
    pub again_at: Option<DateTime<Utc>>,
    /// Another of its lane is sent before it. If it is held, it is judged again when that one is
    /// settled and not at a time of its own: it could overtake that one's retry.
    pub is_behind: bool,
}

/// A claimed delivery on its way to the receiver.
pub(super) struct Case<'a> {
    pub(super) row: &'a ClaimedRow,
    pub(super) registered: &'a Registered,
    pub(super) body: &'a Body,
}

impl<'a> Case<'a> {
    /// The counters that judging it may look at.
    pub(super) fn rate_keys(&self, now: DateTime<Utc>) -> Vec<RateKey> {
        if !self.registered.is_constrained() {
            return Vec::new();
        }
        let subscription = self.row.subscription_id;
        self.sittings()
            .iter()
            .flat_map(|(constraints, moment)| rate_keys(constraints, *moment, subscription, now))
            .collect()
    }

    /// Decides. `last` is why it was held before, which is needed only of one that was held for
    /// too long.
    pub(super) fn decide(
        &self,
        rates: &mut SubscriptionRates<'_>,
        last: Option<&Ground>,
        now: DateTime<Utc>,
    ) -> Fate {
        let is_late = self.row.hold_until.is_some_and(|until| until <= now);
        let mut kept = None;
        let mut is_counted = false;
        self.with_facts(now, |case, facts| {
            for (constraints, moment) in case.sittings() {
                let mut counted = Counted;
                // What is withdrawn must use up nothing, and what was counted is counted once.
                let is_spent = is_late || (moment == Moment::Send && case.row.is_rate_spent);
                let rates: &mut dyn Rates = if is_spent { &mut counted } else { rates };
                let judged = judge(&constraints, moment, facts, now, rates);
                if let Some(reason) = Kept::of(judged, moment) {
                    kept = Some(reason);
                    return;
                }
                let has_rate = |constraint: &&Compiled| constraint.has_rate();
                is_counted |= moment == Moment::Send && constraints.iter().any(has_rate);
            }
        });
        if is_late && let Some(by) = kept.as_ref().map(|kept| &kept.by).or(last) {
            return Fate::Kept(Kept {
                verdict: Verdict::Withdraw,
                moment: Moment::Send,
                by: by.clone(),
                hold_until: None,
                again_at: None,
                is_behind: false,
            });
        }
        match kept {
            Some(kept) => Fate::Kept(kept),
            None if self.is_gathered() => Fate::Gathered { is_counted },
            None => Fate::Sent { is_counted },
        }
    }

    /// Whether it is an event for a digest. One that has a number, from when its subscription was
    /// no batch, is sent by itself: with its row the number would be gone.
    pub(super) fn is_gathered(&self) -> bool {
        self.row.urgency == Mode::Batch.urgency()
            && self.row.event_id.is_some()
            && self.row.sequence.is_none()
            && self.registered.schedule.is_some()
    }

    /// Which constraints are judged, and as of which moment.
    fn sittings(&self) -> Vec<(Vec<&'a Compiled>, Moment)> {
        let registered = self.registered;
        if self.row.event_id.is_none() {
            return vec![(registered.constraints_on_digests().collect(), Moment::Send)];
        }
        let object_type = self.body.object_type.as_deref();
        let constraints = registered.constraints_on(&self.body.event_type, object_type);
        let at_send = if self.is_gathered() {
            at_gathering(Mode::Batch, &constraints)
        } else {
            constraints.clone()
        };
        let mut sittings = Vec::new();
        if self.row.is_unjudged {
            sittings.push((constraints, Moment::Event));
        }
        sittings.push((at_send, Moment::Send));
        sittings
    }

    fn with_facts(&self, now: DateTime<Utc>, act: impl FnOnce(&Self, &Facts<'_>)) {
        if !self.registered.is_constrained() {
            return;
        }
        if self.row.event_id.is_none() {
            let facts = digest_facts(self.registered, now);
            return act(self, &self.registered.facts(&facts));
        }
        // A body of our own is readable; if it ever is not, nothing can be said against it.
        if let Ok(recalled) = Recalled::parse(&self.body.text, self.body.object_type.is_some()) {
            let changed = recalled.changed();
            act(self, &self.registered.facts(&recalled.facts(&changed, now)));
        }
    }
}

impl Kept {
    fn of(judged: Judged, moment: Moment) -> Option<Self> {
        let Judged {
            decision,
            by,
            hold_until,
            again_at,
        } = judged;
        let verdict = match decision {
            Decision::Publish => return None,
            Decision::Hold => Verdict::Hold,
            Decision::Suppress => Verdict::Suppress,
        };
        Some(Self {
            verdict,
            moment,
            by: by?,
            hold_until,
            again_at,
            is_behind: false,
        })
    }
}

/// A digest is judged by the clock only.
fn digest_facts(registered: &Registered, now: DateTime<Utc>) -> Facts<'_> {
    Facts {
        before: None,
        after: None,
        changed: &[],
        op: "",
        event: EventFacts {
            id: "",
            event_type: DIGEST_EVENT_TYPE,
            object_type: None,
            source: "",
            subject: Some(&registered.subscription.name),
            time: now,
            data: None,
        },
        subscription: None,
        now,
        actor: None,
    }
}
