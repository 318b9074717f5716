//! Subscriptions whose attempts all failed for too long are disabled: nobody listens there, and
//! what is owed to them is kept for when somebody does.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{Upkeep, UpkeepError};
use crate::{
    db::Connection,
    registry::registry_lock,
    subscription::{
        failing::{
            Failing,
            store::{failing_list, failing_still},
        },
        retry::RetrySpec,
        state::subscription_disable,
    },
};

/// Subscriptions that one look disables; the others are found at once by the next.
const DISABLED_MAX: usize = 100;

impl Upkeep {
    pub(super) async fn disabling(&self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let failures_min = i64::from(self.limits.disable_failures_min);
        let default = self.limits.disable_after();
        let failing = self
            .database
            .transaction(move |connection| {
                Ok::<_, UpkeepError>(failing_list(connection, failures_min)?)
            })
            .await?;
        let is_over = |failing: &Failing, retry: Option<&str>| {
            // A definition that can't be read is reported when the registry is loaded.
            let retry = retry.and_then(|text| serde_json::from_str::<RetrySpec>(text).ok());
            let after = retry.unwrap_or_default().disabled_after(default);
            let after = TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX);
            // From attempt to attempt, and not until now: where nothing is sent, nothing fails.
            failing.last_at - failing.since >= after
        };
        let over = failing
            .into_iter()
            .filter(|(failing, retry)| is_over(failing, retry.as_deref()))
            .take(DISABLED_MAX);
        let mut disabled = 0;
        for (failing, _) in over {
            let done = self
                .database
                .transaction(move |connection| disable(connection, &failing, now));
            disabled += usize::from(done.await?);
        }
        Ok(disabled)
    }
}

/// Disables a subscription, unless an attempt succeeded since it was looked at.
fn disable(
    connection: &mut Connection,
    failing: &Failing,
    now: DateTime<Utc>,
) -> Result<bool, UpkeepError> {
    // The registry's lock comes before all others.
    registry_lock(connection)?;
    let id = failing.subscription_id;
    if !failing_still(connection, id, failing.since)? {
        return Ok(false);
    }
    let reason = reason(failing);
    let is_done = subscription_disable(connection, id, &reason, None, now)?;
    if is_done {
        tracing::warn!(subscription = %id, reason, "a subscription is disabled");
    }
    Ok(is_done)
}

fn reason(failing: &Failing) -> String {
    let since = failing.since.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!(
        "none of {} attempts succeeded since {since}; the last: {}",
        failing.failures, failing.last_detail
    )
}
