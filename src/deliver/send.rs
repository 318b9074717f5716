//! Sends a chain: one delivery after the other, until one has to wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use hyper::body::Bytes;
use uuid::Uuid;

use super::{
    barrier::Standing,
    breaker::Sign,
    chain::{Chain, Claimed},
    claim::judge::Fate,
    requests::Requests,
    retry::{Next, Tries, next},
};
use crate::{
    clock::Clock,
    publish::event::with_sequence,
    registry::registered::Registered,
    replay::again::Again,
    sink::{Message, Outcome},
    subscription::{
        model::OnDead,
        retry::{RetrySpec, shown},
    },
};

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What became of a claimed delivery.
#[derive(Debug)]
pub enum Done {
    /// It was sent, or refused before it was.
    Tried(Tried),
    /// It was decided when it was claimed that it is not sent, or not by itself.
    Decided {
        /// To whom.
        registered: Arc<Registered>,
        /// The delivery.
        delivery: Claimed,
        /// What becomes of it.
        fate: Fate,
    },
    /// It was not tried; it goes back to the repository.
    Returned {
        /// To whom.
        subscription_id: Uuid,
        /// The delivery.
        delivery: Claimed,
        /// When it may be claimed again; none: as soon as it is the first of its lane.
        not_before: Option<DateTime<Utc>>,
        /// It waited for a sender until its lease was over.
        has_waited: bool,
        /// It can't start now, by its subscription's rate or an open breaker: it counts as tried.
        is_deferred: bool,
    },
}

/// An attempt that ended.
#[derive(Debug)]
pub struct Tried {
    /// To whom.
    pub subscription_id: Uuid,
    /// The delivery, as it was before the attempt.
    pub delivery: Claimed,
    /// Whether there was a sink to try; if not, it is for the operator and not for the receiver.
    pub has_sink: bool,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// The receiver's answer.
    pub status: Option<u16>,
    /// Why it failed.
    pub detail: Option<String>,
    /// How the receiver's answer begins, where it did not acknowledge.
    pub answer: Option<String>,
    /// What follows.
    pub next: Next,
    /// If it is dead: what follows in its lane waits until it is sent again or released.
    pub blocks: bool,
    /// What it says of the receiver.
    pub sign: Sign,
}

impl Tried {
    /// Whether what waits behind the delivery may go on.
    #[must_use]
    pub fn lets_go_on(&self) -> bool {
        self.next.is_settled() && !self.blocks
    }
}

/// Sends the chain's deliveries in order and tells what became of each. It stops at the first that
/// is not settled or blocks, when the lease might end before an answer would, and when it is to;
/// the rest is returned. So it is when a request takes long, for it would fill the memory. Gives
/// back what is left when the next has to wait for its event's synchronous deliveries.
pub(super) async fn send_chain(
    mut chain: Chain,
    clock: &Clock,
    timeout: Duration,
    requests: &mut Requests<'_>,
    is_to_stop: impl Fn() -> bool,
    mut tell: impl FnMut(Done),
) -> Option<Chain> {
    let mut has_waited = false;
    while let Some(delivery) = chain.deliveries.pop_front() {
        has_waited = Instant::now() + timeout > chain.lease_ends;
        let standing = delivery.standing();
        if is_to_stop() || has_waited || standing != Standing::Down {
            chain.deliveries.push_front(delivery);
            if !has_waited && standing == Standing::Up {
                return Some(chain);
            }
            break;
        }
        let subscription = Arc::clone(&chain.subscription);
        let took_long = || give_back(&mut chain, false, &mut tell);
        let request = try_one(&subscription, delivery, clock, timeout);
        let tried = requests.watch(request, took_long).await;
        let goes_on = tried.lets_go_on();
        tell(Done::Tried(tried));
        if !goes_on {
            break;
        }
    }
    give_back(&mut chain, has_waited, tell);
    None
}

/// Returns a chain's deliveries untried. Only the first may be due again, at `not_before`; whether
/// it `is_deferred`, see [`Done::Returned`].
pub(super) fn return_all(
    mut chain: Chain,
    not_before: Option<DateTime<Utc>>,
    is_deferred: bool,
    mut tell: impl FnMut(Done),
) {
    let subscription_id = chain.subscription.subscription.id;
    if let Some(delivery) = chain.deliveries.pop_front() {
        tell(Done::Returned {
            subscription_id,
            delivery,
            not_before,
            has_waited: false,
            is_deferred,
        });
    }
    give_back(&mut chain, false, tell);
}

fn give_back(chain: &mut Chain, has_waited: bool, mut tell: impl FnMut(Done)) {
    let subscription_id = chain.subscription.subscription.id;
    for delivery in chain.deliveries.drain(..) {
        tell(Done::Returned {
            subscription_id,
            delivery,
            not_before: None,
            has_waited,
            is_deferred: false,
        });
    }
}

async fn try_one(
    registered: &Registered,
    delivery: Claimed,
    clock: &Clock,
    timeout: Duration,
) -> Tried {
    let (started_at, started) = (clock.now(), Instant::now());
    let subscription = &registered.subscription;
    let (outcome, answer) = match &registered.sink {
        Ok(sink) => {
            let message = Message {
                id: delivery.owed.to_string(),
                content_type: CONTENT_TYPE,
                body: Bytes::from(with_sequence(&delivery.body, delivery.sequence)),
                extra_headers: delivery.again.iter().map(Again::header).collect(),
            };
            sink.exchange(&message, started_at, timeout).await
        }
        // An operator can mend it: another key, another allowed network.
        Err(reason) => (
            Outcome::Retry {
                status: None,
                detail: reason.clone(),
                retry_after: None,
            },
            None,
        ),
    };
    let tries = Tries {
        count: delivery.attempts + 1,
        first_at: delivery.first_tried_at.unwrap_or(started_at),
        last_at: clock.now(),
    };
    let attempts = tries.count;
    let retry = &subscription.spec.retry;
    let random = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    let next = next(&outcome, tries, retry, random);
    let sign = match registered.sink {
        Ok(_) => Sign::of(&outcome),
        Err(_) => Sign::Unasked,
    };
    let (status, detail) = match outcome {
        Outcome::Delivered { status } => (Some(status), None),
        Outcome::Retry { status, detail, .. } | Outcome::Final { status, detail } => {
            (status, Some(detail))
        }
        Outcome::Gone { status, detail } => (Some(status), Some(detail)),
    };
    let detail = match next {
        Next::TooOld => detail.map(|detail| given_up(&detail, retry)),
        _ => detail,
    };
    let duration = started.elapsed();
    log(
        subscription.name.as_str(),
        &delivery,
        attempts,
        status,
        detail.as_deref(),
        &next,
        duration,
    );
    let subscription_id = subscription.id;
    Tried {
        subscription_id,
        delivery,
        has_sink: registered.sink.is_ok(),
        started_at,
        duration,
        status,
        detail,
        answer,
        blocks: next.is_given_up() && subscription.spec.on_dead == OnDead::Block,
        next,
        sign,
    }
}

/// Why a delivery is not tried to the end of its schedule.
fn given_up(detail: &str, retry: &RetrySpec) -> String {
    format!(
        "{detail}; given up, for the next attempt would come later than {} after the first \
         (retry.give_up_after)",
        shown(retry.given_up_after())
    )
}

/// One wide line per attempt; what failed is worth an operator's look.
fn log(
    subscription: &str,
    delivery: &Claimed,
    attempt: u32,
    status: Option<u16>,
    detail: Option<&str>,
    next: &Next,
    duration: Duration,
) {
    let (delivery, event) = (&delivery.id, &delivery.owed);
    match next {
        Next::Delivered => {
            tracing::debug!(subscription, %delivery, %event, attempt, status, ?duration, "delivered");
        }
        _ => tracing::info!(
            subscription, %delivery, %event, attempt, status, detail, ?next, ?duration,
            "attempt failed"
        ),
    }
}
