//! Upkeep: what has to be done now and then, and hurries nobody.
//!
//! Rotation of the change table and its retention, triggers on partitions that were added, the
//! deliveries of deleted subscriptions, old idempotency keys and ids of submitted events, and
//! counters of rates whose windows are long over. Each is a transaction of its own; one that fails
//! does not stop the others and is tried again.

mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use self::store::delivery_cancel_deleted;
use crate::{
    capture::{
        install::{self, InstallError},
        rotation,
    },
    catalog::model::Catalog,
    config::Limits,
    constraint::{rate::RATE_KEPT, store::rate_forget},
    db::{Connection, Database, DbError, QueryError},
    stage::{Nudge, Progress, Stage, chain},
};

/// How often upkeep looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// Deliveries of deleted subscriptions that one transaction cancels.
const CANCELLED_MAX: i64 = 5_000;

/// Counters of rates, or ids of submitted events, that one transaction forgets.
const FORGOTTEN_MAX: i64 = 10_000;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(24);

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
}

impl Upkeep {
    /// The stage of one instance; several of them take turns by locks.
    #[must_use]
    pub fn new(database: Database, limits: Limits, nudge: Nudge) -> Self {
        Self {
            database,
            limits,
            nudge,
        }
    }

    async fn triggers(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let (age, bytes) = (
            hours(self.limits.rotation_hours),
            self.limits.value_bytes_max,
        );
        self.database
            .transaction(move |connection| reconcile(connection, age, bytes, now))
            .await
    }

    async fn retention(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let retention = hours(self.limits.change_retention_hours);
        self.database
            .transaction(move |connection| {
                Ok(rotation::drop_one_expired(connection, retention, now)?)
            })
            .await
    }

    async fn forgetting(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let before = now - IDEMPOTENCY_KEPT;
        self.database
            .transaction(move |connection| Ok(store::idempotency_prune(connection, before)?))
            .await
    }

    async fn rates(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let before = now - TimeDelta::from_std(RATE_KEPT).unwrap_or(TimeDelta::MAX);
        self.database
            .transaction(move |connection| Ok(rate_forget(connection, before, FORGOTTEN_MAX)?))
            .await
    }

    async fn submitted(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let before = now - TimeDelta::days(self.limits.event_accepted_days.into());
        self.database
            .transaction(move |connection| {
                Ok(store::event_accepted_prune(
                    connection,
                    before,
                    FORGOTTEN_MAX,
                )?)
            })
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
        let done = [
            self.triggers(now).await,
            self.retention(now).await,
            self.cancellations(now).await,
            self.forgetting(now).await,
            self.rates(now).await,
            self.submitted(now).await,
        ];
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
        self.nudge.wait(INTERVAL).await;
    }
}

/// Opens the next leaf if it is due, and makes the triggers what the catalogue asks for.
fn reconcile(
    connection: &mut Connection,
    rotation_age: Duration,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<usize, UpkeepError> {
    install::store::ddl_lock(connection, install::LOCK_TIMEOUT_MS)?;
    // Behind the lock: with an older catalogue the triggers would lose what an edit has just made.
    let catalog = Catalog::load(connection)?;
    let rotated = rotation::open_next_if_due(connection, rotation_age, now)?;
    install::reconcile(connection, &catalog, value_bytes_max, now)?;
    Ok(usize::from(rotated.is_some()))
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(3600))
}
