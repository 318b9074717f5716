//! Upkeep: what has to be done now and then, and hurries nobody.
//!
//! Rotation of the change table and its retention, triggers on partitions that were added, the
//! deliveries of deleted subscriptions and the backlogs of those that are not active, subscriptions
//! that fail for too long, secrets whose rotation is over, old idempotency keys and ids of
//! submitted events, and counters of rates whose windows are long over; and it notices captured
//! tables that have other columns, and shows holes in capture in /readyz. Each is a transaction of
//! its own; one that fails does not stop the others and is tried again. One statement asks before
//! which of them have anything to do.

pub mod backlog;
mod failing;
mod findings;
mod forgetting;
mod store;
mod triggers;

use std::time::Duration;

use chrono::{DateTime, Utc};

use self::{findings::Watch, store::delivery_cancel_deleted, triggers::Settled};
use crate::{
    account::{Accounts, leaf::drop_one_expired},
    capture::install::InstallError,
    config::Limits,
    db::{Database, DbError, QueryError},
    observe::readiness::Readiness,
    registry::live::LiveRegistry,
    stage::{Nudge, Progress, Stage, chain},
};

/// How often upkeep looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// The wait before a table whose lock was not free is tried again; it doubles up to [`INTERVAL`].
const BUSY_WAIT_MIN: Duration = Duration::from_secs(1);

/// Deliveries of deleted subscriptions that one transaction cancels.
const CANCELLED_MAX: i64 = 5_000;

/// Why a piece of upkeep failed.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// A statement or the connection failed.
    #[error("upkeep failed")]
    Database(#[from] DbError),
    /// The triggers could not be brought up to date.
    #[error("upkeep of the triggers failed")]
    Install(#[from] InstallError),
}

impl From<QueryError> for UpkeepError {
    fn from(error: QueryError) -> Self {
        Self::Database(error.into())
    }
}

/// The upkeep stage.
pub struct Upkeep {
    database: Database,
    limits: Limits,
    nudge: Nudge,
    /// How often in a row the lock of some table was not free.
    busy_runs: u32,
    /// What was there when the triggers were as they should be.
    settled: Option<Settled>,
    /// Where findings are shown, if anywhere.
    watch: Option<Watch>,
}

impl Upkeep {
    /// The stage of one instance; several of them take turns by locks.
    #[must_use]
    pub fn new(database: Database, limits: Limits, nudge: Nudge) -> Self {
        Self {
            database,
            limits,
            nudge,
            busy_runs: 0,
            settled: None,
            watch: None,
        }
    }

    /// The same, and it shows holes in capture, and conditions that can't be judged, in /readyz.
    #[must_use]
    pub fn watching(mut self, live: LiveRegistry, told: Readiness, accounts: Accounts) -> Self {
        self.watch = Some(Watch::new(live, told, accounts));
        self
    }

    /// After the others, so that what they mended is not told.
    async fn findings(&mut self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        if let Some(watch) = &mut self.watch {
            watch.look(&self.database, now).await?;
        }
        Ok(0)
    }

    async fn retention(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let retention = self.limits.change_retention();
        self.database
            .transaction(move |connection| Ok(drop_one_expired(connection, retention, now)?))
            .await
    }

    async fn cancellations(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        self.database
            .transaction(move |connection| {
                Ok(delivery_cancel_deleted(connection, CANCELLED_MAX, now)?)
            })
            .await
    }
}

impl Stage for Upkeep {
    type Error = UpkeepError;

    fn name(&self) -> &'static str {
        "upkeep"
    }

    async fn run_once(&mut self, now: DateTime<Utc>) -> Result<Progress, UpkeepError> {
        let due = self.due(now).await?;
        let mut done = vec![self.triggers(&due, now).await, self.shapes().await];
        if due.has_expired {
            done.push(self.retention(now).await);
        }
        if due.has_orphans {
            done.push(self.cancellations(now).await);
        }
        if due.has_failing {
            done.push(self.disabling(now).await);
        }
        if due.has_stopped {
            done.push(self.backlogs(now).await);
        }
        done.extend(self.forgetting(&due, now).await);
        done.push(self.findings(now).await);
        let (mut worked, mut failure) = (0, None);
        for result in done {
            match result {
                Ok(count) => worked += count,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a piece of upkeep failed");
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(if worked > 0 {
                Progress::Worked
            } else {
                Progress::Idle
            }),
        }
    }

    async fn rest(&mut self, _: DateTime<Utc>) {
        let wait = match self.busy_runs {
            0 => INTERVAL,
            runs => INTERVAL.min(BUSY_WAIT_MIN * 2_u32.saturating_pow(runs - 1)),
        };
        self.nudge.wait(wait).await;
    }
}
