//! The lookout: one statement asks for all stages whether there is anything to do, and rings those
//! for which there may be.
//!
//! A stage is rung by its own instance when something comes up there, and knows when what it has
//! seen is due. What it can't know is what others did: another instance that registered, edited,
//! scheduled something or died. Each stage would have to ask for that by itself, over and over; so
//! the lookout asks for all of them, and an instance that has nothing to do makes one statement
//! where it would make ten. Decision: docs/decisions/0015-lookout.md.
//!
//! Guaranteed: what another instance did is found by the stage that it concerns within
//! `limits.deliver_poll_ms`. Nothing depends on a notification, so it is the same behind a pooler.
//! A ring carries nothing: the stage reads for itself, and finds nothing if somebody was faster.

mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::store::look;
use crate::{
    config::Limits,
    db::{Database, DbError},
    stage::{Nudge, Progress, Stage},
};

/// How often a stage looks by itself that the lookout rings. Nothing should be found by it.
pub(crate) const UNRUNG_POLL: Duration = Duration::from_secs(300);

/// The stages that are rung.
#[derive(Clone, Debug)]
pub struct Bells {
    /// Of [`Deliver`](crate::deliver::Deliver).
    pub deliver: Nudge,
    /// Of [`Digest`](crate::digest::Digest).
    pub digest: Nudge,
    /// Of [`Heartbeat`](crate::deliver::heartbeat::Heartbeat).
    pub heartbeat: Nudge,
    /// Of [`Replay`](crate::replay::Replay).
    pub replay: Nudge,
    /// Of [`Verification`](crate::verification::Verification).
    pub verification: Nudge,
}

impl Bells {
    fn ring_all(&self) {
        let Self {
            deliver,
            digest,
            heartbeat,
            replay,
            verification,
        } = self;
        for bell in [deliver, digest, heartbeat, replay, verification] {
            bell.ring();
        }
    }
}

/// The stage that looks for the others.
pub struct Lookout {
    database: Database,
    bells: Bells,
    poll: Duration,
    /// The registry's revision when it was looked at last.
    revision: Option<i64>,
}

impl Lookout {
    /// The lookout of one instance.
    #[must_use]
    pub fn new(database: Database, bells: Bells, limits: &Limits) -> Self {
        Self {
            database,
            bells,
            poll: Duration::from_millis(limits.deliver_poll_ms),
            revision: None,
        }
    }
}

impl Stage for Lookout {
    type Error = DbError;

    fn name(&self) -> &'static str {
        "lookout"
    }

    /// Looks once, with one statement.
    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, DbError> {
        let looked = self
            .database
            .run(|connection| Ok::<_, DbError>(look(connection)?));
        let sight = match looked.await {
            Ok(sight) => sight,
            Err(error) => {
                // So that each finds out for itself, and /readyz tells of all.
                self.bells.ring_all();
                return Err(error);
            }
        };
        // Before the first look something may have been edited since the stages began.
        let is_edited = self.revision != Some(sight.revision);
        // What is due before the next look is told now: whoever is rung sees when exactly.
        let soon = now + TimeDelta::from_std(self.poll).unwrap_or(TimeDelta::MAX);
        for (bell, has_work) in [
            (
                &self.bells.deliver,
                is_edited || is_by(sight.delivery_at, soon),
            ),
            (
                &self.bells.digest,
                is_edited || is_by(sight.digest_at, soon),
            ),
            (
                &self.bells.heartbeat,
                is_edited || is_by(sight.heartbeat_at, soon),
            ),
            // It waits for a rate, a lease or its subscription: it looks for itself.
            (&self.bells.replay, sight.is_replaying),
            // It keeps no time of its own.
            (&self.bells.verification, is_by(sight.verification_at, now)),
        ] {
            if has_work {
                bell.ring();
            }
        }
        self.revision = Some(sight.revision);
        Ok(Progress::Idle)
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        tokio::time::sleep(self.poll).await;
    }
}

fn is_by(at: Option<DateTime<Utc>>, then: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at <= then)
}
