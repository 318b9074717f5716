//! Asking receivers whether they want to be sent anything, before they are.
//!
//! A subscription whose sink says `verify = "handshake"` is paused as `unverified` until its
//! receiver consents ([`WebhookSink::handshake`](crate::sink::WebhookSink::handshake)): its events
//! are kept, as those of any paused one. The players: `change` begins, follows and ends the asking;
//! [`Verification`] is the stage that asks.
//!
//! Guaranteed: no event is sent to a place that was not asked; no transaction is open while one is
//! asked; an answer to an older question counts no more; a receiver that is silent is asked
//! [`WAITS`]`.len()` times and then given up, with the reason shown, until somebody asks again.

pub mod change;
pub mod store;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;

use self::store::Asked;
use crate::{
    config::Limits,
    db::{Connection, Database, DbError},
    lookout::UNRUNG_POLL,
    registry::{live::LiveRegistry, registered::Registered, registry_revision},
    sink::Consent,
    stage::{Nudge, Progress, Stage},
    subscription::verify::VerifySettings,
};

/// Entry n is the wait before attempt n + 1: nine attempts in some 22 hours.
pub const WAITS: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
];

/// Receivers that are asked at once; a slow one keeps the others of its batch waiting for one
/// request timeout at most.
const ASKED_AT_ONCE_MAX: i64 = 32;

/// The stage.
pub struct Verification {
    database: Database,
    registry: LiveRegistry,
    settings: VerifySettings,
    nudge: Nudge,
    /// Rung when a subscription has become active.
    wake: Nudge,
    timeout: Duration,
    lease: TimeDelta,
}

impl Verification {
    /// The stage of one instance; several of them share the work.
    #[must_use]
    pub fn new(
        database: Database,
        registry: LiveRegistry,
        settings: VerifySettings,
        nudge: Nudge,
        wake: Nudge,
        limits: &Limits,
    ) -> Self {
        Self {
            database,
            registry,
            settings,
            nudge,
            wake,
            timeout: Duration::from_millis(limits.request_timeout_ms),
            lease: TimeDelta::milliseconds(limits.lease_ms.try_into().unwrap_or(i64::MAX)),
        }
    }

    async fn ask(&self, due: Vec<(Asked, Option<Arc<Registered>>)>) -> Vec<(Asked, Consent)> {
        let mut asking = JoinSet::new();
        for (asked, registered) in due {
            let (settings, timeout) = (self.settings.clone(), self.timeout);
            asking.spawn(async move {
                let consent = ask_one(registered.as_deref(), &settings, timeout).await;
                (asked, consent)
            });
        }
        // What panics is asked again when its lease is over.
        let mut answers = Vec::new();
        while let Some(ended) = asking.join_next().await {
            answers.extend(ended.ok());
        }
        answers
    }
}

async fn ask_one(
    registered: Option<&Registered>,
    settings: &VerifySettings,
    timeout: Duration,
) -> Consent {
    let withheld = |detail: &str| Consent::Withheld {
        detail: detail.to_owned(),
        is_final: false,
    };
    match registered.map(|registered| &registered.sink) {
        None => withheld("the subscription can't be read"),
        Some(Err(reason)) => withheld(reason),
        Some(Ok(sink)) => match sink.as_webhook() {
            None => withheld("only webhooks are asked"),
            Some(webhook) => {
                let rate = settings.rate_per_minute;
                webhook.handshake(&settings.origin, rate, timeout).await
            }
        },
    }
}

impl Stage for Verification {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "verification"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let (registry, lease_until) = (self.registry.clone(), now + self.lease);
        let claim = move |connection: &mut Connection| {
            let due = store::verification_claim(connection, now, lease_until, ASKED_AT_ONCE_MAX)?;
            if due.is_empty() {
                return Ok::<_, DbError>(Vec::new());
            }
            let revision = registry_revision(connection)?;
            let registry = registry.at(connection, revision)?;
            let found = due.into_iter().map(|asked| {
                let place = registry.by_id.get(&asked.subscription_id);
                let found = place.map(|place| &registry.subscriptions[*place as usize]);
                (asked, found.cloned())
            });
            Ok(found.collect())
        };
        let due = self.database.transaction(claim).await?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        for (asked, consent) in self.ask(due).await {
            let write = move |connection: &mut Connection| {
                change::verification_answer(connection, &asked, &consent, now)
            };
            self.database.transaction(write).await?;
        }
        self.wake.ring();
        Ok(Progress::Worked)
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        self.nudge.wait(UNRUNG_POLL).await;
    }
}
