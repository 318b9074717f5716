//! Finishing: what became of claimed deliveries, written by whoever still holds their leases.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    attempt::store::{NewAttempt, Whose, attempt_insert},
    barrier::store::barrier_release,
    chain::{Claimed, Owed},
    claim::judge::Fate,
    health::{Health, disabled},
    lane::{
        block::store::delivery_block,
        store::{lane_head_lock, lane_release},
    },
    release::{gather, gathered},
    retry::Next,
    send::{Done, Tried},
    store::{Finish, delivery_finish, delivery_remove, lease_held},
};
use crate::{
    constraint::store::{NewJudgement, Verdict, judgement_insert},
    db::{Connection, DbError},
    registry::{live::LiveRegistry, registry_lock, registry_share},
    subscription::state::subscription_disable,
};

/// What a finishing transaction did.
pub(super) struct Finished {
    /// Deliveries that are due now because of it.
    pub(super) due: usize,
    /// When the first of those that are to be tried again is due.
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// Writes results in one transaction: attempts, deliveries, and what waits behind them.
pub(super) fn finish(
    connection: &mut Connection,
    registry: &LiveRegistry,
    results: &[Done],
    instance: Uuid,
    barrier_ends: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Finished, DbError> {
    // The registry's lock comes before those of deliveries, here as in publishing.
    if results.iter().any(Done::disables) {
        registry_lock(connection)?;
    }
    let present = if results.iter().any(Done::is_gathered) {
        let revision = registry_share(connection)?;
        Some(registry.at(connection, revision)?)
    } else {
        None
    };
    let leases: Vec<(Uuid, Uuid)> = results.iter().map(Done::lease).collect();
    let held: HashSet<(Uuid, Uuid)> = lease_held(connection, &leases)?.into_iter().collect();
    if held.len() < leases.len() {
        let lost = leases.len() - held.len();
        tracing::warn!(
            lost,
            "results came after their leases had ended; they are not written"
        );
    }
    let results: Vec<&Done> = results
        .iter()
        .filter(|done| held.contains(&done.lease()))
        .collect();
    let judgements: Vec<NewJudgement> = results
        .iter()
        .filter_map(|done| done.judgement(now))
        .collect();
    judgement_insert(connection, &judgements)?;
    let attempt = |done: &&Done| done.attempt_of(done.delivery().id);
    let attempts: Vec<NewAttempt> = results.iter().filter_map(attempt).collect();
    attempt_insert(connection, Whose::Deliveries, &attempts, instance)?;
    let finished: Vec<Finish> = results
        .iter()
        .filter(|done| !done.is_gathered())
        .map(|done| done.finish(now))
        .collect();
    let health = Health::of(&results);
    health.lock(connection)?;
    delivery_finish(connection, &finished, &health.recovered, now)?;
    delivery_block(connection, &blocking(&results))?;
    health.note(connection)?;
    delivery_remove(connection, &gathered(&results))?;
    for (subscription_id, (reason, last)) in disabled(&results) {
        subscription_disable(connection, subscription_id, reason, Some(last), now)?;
    }
    let settled = lanes(&results, |done| done.is_settled());
    let returned = lanes(&results, |done| done.waits_for_its_lane());
    let waiting = lane_head_lock(connection, &settled)?;
    let lanes = [waiting, returned].concat();
    let released = lane_release(connection, &lanes, now, barrier_ends)?
        + barrier_release(connection, &awaited(&results), now, barrier_ends)?;
    // The locks of digests come last, here as in publishing.
    if let Some(present) = present {
        gather(connection, &present, &results, now)?;
    }
    let due_at = || finished.iter().filter_map(|finish| finish.due_at);
    Ok(Finished {
        due: released + due_at().filter(|due| *due <= now).count(),
        next_at: due_at().min(),
    })
}

/// How a delivery leaves its claim that is not sent.
fn decided(fate: &Fate, delivery: &Claimed) -> Finish {
    let (state, due_at, hold_until) = match fate {
        Fate::Kept(kept) => match kept.verdict {
            Verdict::Hold => {
                let until = delivery.hold_until.or(kept.hold_until);
                let again_at = kept.again_at.into_iter().chain(until).min();
                ("held", again_at.filter(|_| !kept.is_behind), until)
            }
            Verdict::Suppress => ("suppressed", None, None),
            Verdict::Withdraw => ("withdrawn", None, None),
        },
        // These are not written this way.
        Fate::Sent { .. } | Fate::Gathered { .. } | Fate::Deferred { .. } => {
            ("pending", None, None)
        }
    };
    Finish {
        id: delivery.id,
        state,
        due_at,
        is_parked: false,
        attempts: 0,
        lost_leases: 0,
        hold_until,
        is_deferred: false,
    }
}

/// The events of which a synchronous delivery was tried for the first time, or can't be now, while
/// delayed ones may wait in the repository. Looked at after the deliveries were written: one that
/// goes back meanwhile is written by a later transaction, which sees that.
fn awaited(results: &[&Done]) -> Vec<Uuid> {
    let events: HashSet<Uuid> = results
        .iter()
        .map(|done| done.delivery())
        .filter(|delivery| delivery.is_awaited_there())
        .filter_map(|delivery| match delivery.owed {
            Owed::Event(id) => Some(id),
            Owed::Part { .. } => None,
        })
        .collect();
    events.into_iter().collect()
}

/// The dead ones that hold their lanes.
fn blocking(results: &[&Done]) -> Vec<Uuid> {
    let blocks = |done: &&&Done| matches!(done, Done::Tried(tried) if tried.blocks);
    let blocking = results.iter().filter(blocks);
    blocking.map(|done| done.delivery().id).collect()
}

fn lanes(results: &[&Done], is_wanted: impl Fn(&Done) -> bool) -> Vec<(Uuid, i64)> {
    let lanes: HashSet<(Uuid, i64)> = results
        .iter()
        .filter(|done| is_wanted(done))
        .flat_map(|done| done.lanes())
        .collect();
    lanes.into_iter().collect()
}

impl Tried {
    /// As attempts and metrics have it.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.next {
            Next::Delivered => "delivered",
            Next::Retry { .. } | Next::Disabled => "retry",
            Next::Dead | Next::TooOld => "dead",
        }
    }
}

impl Done {
    pub(crate) fn delivery(&self) -> &Claimed {
        match self {
            Self::Tried(tried) => &tried.delivery,
            Self::Returned { delivery, .. } | Self::Decided { delivery, .. } => delivery,
        }
    }

    /// The places in memory that it takes until it is written.
    pub(super) fn places(&self) -> usize {
        self.delivery().places
    }

    /// The delivery, and the claim under which this became of it.
    fn lease(&self) -> (Uuid, Uuid) {
        let delivery = self.delivery();
        (delivery.id, delivery.lease)
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Tried(tried) => tried.lets_go_on(),
            Self::Decided { fate, .. } => !fate.is_held(),
            Self::Returned { .. } => false,
        }
    }

    /// Whether releasing its lane finds out when it is due: what stood before it may be settled.
    fn waits_for_its_lane(&self) -> bool {
        match self {
            Self::Returned { .. } => true,
            Self::Decided {
                fate: Fate::Kept(kept),
                ..
            } => kept.is_behind && kept.verdict == Verdict::Hold,
            Self::Tried(_) | Self::Decided { .. } => false,
        }
    }

    pub(super) fn is_gathered(&self) -> bool {
        matches!(
            self,
            Self::Decided {
                fate: Fate::Gathered { .. },
                ..
            }
        )
    }

    fn judgement(&self, now: DateTime<Utc>) -> Option<NewJudgement> {
        let Self::Decided {
            registered,
            delivery,
            fate: Fate::Kept(kept),
        } = self
        else {
            return None;
        };
        Some(NewJudgement {
            matter: delivery.owed.matter(),
            subscription_id: registered.subscription.id,
            judged_at: now,
            moment: kept.moment,
            verdict: kept.verdict,
            by: kept.by.clone(),
        })
    }

    fn subscription_id(&self) -> Uuid {
        match self {
            Self::Tried(tried) => tried.subscription_id,
            Self::Returned {
                subscription_id, ..
            } => *subscription_id,
            Self::Decided { registered, .. } => registered.subscription.id,
        }
    }

    fn lanes(&self) -> impl Iterator<Item = (Uuid, i64)> + use<> {
        let (id, delivery) = (self.subscription_id(), self.delivery());
        delivery
            .lane
            .into_iter()
            .chain(delivery.lane_previous)
            .map(move |lane| (id, lane))
    }

    pub(crate) fn disables(&self) -> bool {
        matches!(self, Self::Tried(tried) if tried.next == Next::Disabled)
    }

    fn finish(&self, now: DateTime<Utc>) -> Finish {
        let id = self.delivery().id;
        let tried = |state, due_at, is_parked| Finish {
            id,
            state,
            due_at,
            is_parked,
            attempts: 1,
            lost_leases: 0,
            hold_until: None,
            is_deferred: false,
        };
        match self {
            Self::Tried(Tried { next, .. }) => match next {
                Next::Delivered => tried("delivered", None, false),
                Next::Dead | Next::TooOld => tried("dead", None, false),
                Next::Retry { at } => tried("pending", Some(*at), false),
                Next::Disabled => tried("pending", None, true),
            },
            Self::Decided { fate, delivery, .. } => decided(fate, delivery),
            // Of a lane, only its head may be due; releasing the lane finds out whether this is it.
            Self::Returned {
                delivery,
                not_before,
                has_waited,
                is_deferred,
                ..
            } => {
                let due_at = not_before.or_else(|| delivery.lane.is_none().then_some(now));
                Finish {
                    id,
                    state: "pending",
                    due_at,
                    is_parked: false,
                    attempts: 0,
                    lost_leases: i32::from(*has_waited),
                    hold_until: None,
                    is_deferred: *is_deferred,
                }
            }
        }
    }
}
