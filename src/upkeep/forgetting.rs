//! What there is to do, and what is forgotten because it is old: idempotency keys, ids of submitted
//! events, counters of rates and secrets whose time is over.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Upkeep, UpkeepError,
    store::{self, Bounds, Due},
};
use crate::{
    constraint::{rate::RATE_KEPT, store::rate_forget},
    subscription::sealed::store::secret_forget,
};

/// Counters of rates, or ids of submitted events, that one transaction forgets.
const FORGOTTEN_MAX: i64 = 10_000;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(24);

impl Upkeep {
    /// What there is to do.
    pub(super) async fn due(&self, now: DateTime<Utc>) -> Result<Due, UpkeepError> {
        let before = |age: Duration| now - TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let bounds = Bounds {
            leaves: before(self.limits.change_retention()),
            failures_min: i64::from(self.limits.disable_failures_min),
            keys: now - IDEMPOTENCY_KEPT,
            rates: before(RATE_KEPT),
            ids: now - TimeDelta::days(self.limits.event_accepted_days.into()),
        };
        self.database
            .run(move |connection| Ok(store::due(connection, bounds, now)?))
            .await
    }

    /// Forgets what is old. Each kind is a transaction of its own.
    pub(super) async fn forgetting(
        &self,
        due: &Due,
        now: DateTime<Utc>,
    ) -> Vec<Result<usize, UpkeepError>> {
        let mut done = Vec::new();
        if due.has_old_keys {
            done.push(self.keys(now).await);
        }
        if due.has_old_rates {
            done.push(self.rates(now).await);
        }
        if due.has_old_ids {
            done.push(self.submitted(now).await);
        }
        if due.has_old_secrets {
            done.push(self.secrets(now).await);
        }
        done
    }

    async fn keys(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
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

    /// Secrets that signed beside the present one, until their time was over.
    async fn secrets(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        self.database
            .transaction(move |connection| Ok(secret_forget(connection, now, FORGOTTEN_MAX)?))
            .await
    }
}
