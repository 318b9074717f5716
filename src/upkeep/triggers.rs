//! The triggers and their functions, and the columns of the tables that they are on.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Upkeep, UpkeepError, store};
use crate::{
    capture::{
        install::{self, InstallError, step::Step},
        rotation,
    },
    catalog::model::Catalog,
    db::Connection,
    registry::registry_raise,
};

impl Upkeep {
    /// The functions at once, then table by table. A table whose lock is not free is left for the
    /// next run, which is soon, and keeps no other from being captured.
    pub(super) async fn triggers(&mut self, now: DateTime<Utc>) -> Result<usize, UpkeepError> {
        let (age, bytes) = (self.limits.rotation_age(), self.limits.value_bytes_max);
        let prepare = move |connection: &mut Connection| prepare(connection, age, bytes, now);
        let (rotated, steps) = self.database.transaction(prepare).await?;
        let (mut worked, mut is_busy, mut failure) = (usize::from(rotated), false, None);
        for step in steps {
            let take = move |connection: &mut Connection| -> Result<(), UpkeepError> {
                Ok(step.take_alone(connection)?)
            };
            match self.database.transaction(take).await {
                Ok(()) => worked += 1,
                Err(UpkeepError::Install(error @ InstallError::Busy { .. })) => {
                    tracing::info!(%error, "triggers are installed later");
                    is_busy = true;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        self.busy_runs = if is_busy { self.busy_runs + 1 } else { 0 };
        failure.map_or(Ok(worked), Err)
    }

    /// Conditions are compiled for the columns that the tables have; other columns ask for that to
    /// be done again.
    pub(super) async fn shapes(&self) -> Result<usize, UpkeepError> {
        self.database
            .transaction(|connection| {
                if store::shapes_changed(connection)?.is_empty() {
                    return Ok(0);
                }
                // Before the targets are written, as applying does; and read again, since waiting
                // for it took time.
                registry_raise(connection)?;
                let changed = store::shapes_changed(connection)?;
                store::shapes_remember(connection, &changed)?;
                tracing::info!(tables = changed.len(), "captured tables have other columns");
                Ok(changed.len())
            })
            .await
    }
}

/// Opens the next leaf if it is due, and writes the functions; tells whether one was opened, and
/// what is to be done table by table.
fn prepare(
    connection: &mut Connection,
    rotation_age: Duration,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<(bool, Vec<Step>), UpkeepError> {
    install::store::ddl_lock(connection, install::LOCK_TIMEOUT_MS)?;
    // Behind the lock: with an older catalogue the triggers would lose what an edit has just made.
    let catalog = Catalog::load(connection)?;
    let rotated = rotation::open_next_if_due(connection, rotation_age, now)?;
    let steps = install::functions_reconcile(connection, &catalog, value_bytes_max, now)?;
    Ok((rotated.is_some(), steps))
}
