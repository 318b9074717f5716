//! The triggers and their functions, and the columns of the tables that they are on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{
    Upkeep, UpkeepError,
    store::{self, Due, Ground},
};
use crate::{
    capture::{
        install::{self, InstallError, Seen, step::Step},
        rotation,
    },
    catalog::model::Catalog,
    db::Connection,
    lookout::UNRUNG_POLL,
    registry::registry_raise,
};

/// What was there when nothing was to be done. As long as it is the same, nothing is to be done.
pub(super) struct Settled {
    ground: Ground,
    catalog: Arc<Catalog>,
    seen: Seen,
    at: Instant,
}

/// What came of preparing.
struct Prepared {
    has_rotated: bool,
    steps: Vec<Step>,
    catalog: Catalog,
    /// Before anything was done.
    seen: Seen,
}

impl Upkeep {
    /// Whether all is as it was when nothing was to be done. It is not believed for ever: what a
    /// role may do is not looked at.
    async fn is_settled(&self, due: &Due, now: DateTime<Utc>) -> Result<bool, UpkeepError> {
        let Some(settled) = &self.settled else {
            return Ok(false);
        };
        let is_rotation_due = due
            .leaf_opened_at
            .is_none_or(|at| rotation::is_due(at, self.limits.rotation_age(), now));
        let is_old = settled.at.elapsed() >= UNRUNG_POLL;
        if is_rotation_due || is_old || settled.ground != due.ground {
            return Ok(false);
        }
        let catalog = Arc::clone(&settled.catalog);
        let read = move |connection: &mut Connection| -> Result<Seen, UpkeepError> {
            Ok(Seen::read(connection, &catalog)?)
        };
        Ok(self.database.run(read).await? == settled.seen)
    }

    /// The functions at once, then table by table. A table whose lock is not free is left for the
    /// next run, which is soon, and keeps no other from being captured.
    pub(super) async fn triggers(
        &mut self,
        due: &Due,
        now: DateTime<Utc>,
    ) -> Result<usize, UpkeepError> {
        if self.is_settled(due, now).await? {
            return Ok(0);
        }
        self.settled = None;
        let (age, bytes) = (self.limits.rotation_age(), self.limits.value_bytes_max);
        let prepare = move |connection: &mut Connection| prepare(connection, age, bytes, now);
        let Prepared {
            has_rotated,
            steps,
            catalog,
            seen,
        } = self.database.transaction(prepare).await?;
        // Whoever wrote something, here or elsewhere, has it looked at once more.
        if !has_rotated && steps.is_empty() && self.due(now).await?.ground == due.ground {
            self.settled = Some(Settled {
                ground: due.ground.clone(),
                catalog: Arc::new(catalog),
                seen,
                at: Instant::now(),
            });
        }
        let (mut worked, mut is_busy, mut failure) = (usize::from(has_rotated), false, None);
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
        let look = |connection: &mut Connection| -> Result<bool, UpkeepError> {
            Ok(!store::shapes_changed(connection)?.is_empty())
        };
        if !self.database.run(look).await? {
            return Ok(0);
        }
        self.database
            .transaction(|connection| {
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

/// Opens the next leaf if it is due, and writes the functions; tells what is to be done table by
/// table.
fn prepare(
    connection: &mut Connection,
    rotation_age: Duration,
    value_bytes_max: u32,
    now: DateTime<Utc>,
) -> Result<Prepared, UpkeepError> {
    install::store::ddl_lock(connection, install::LOCK_TIMEOUT_MS)?;
    // Behind the lock: with an older catalogue the triggers would lose what an edit has just made.
    let catalog = Catalog::load(connection)?;
    let seen = Seen::read(connection, &catalog)?;
    let rotated = rotation::open_next_if_due(connection, rotation_age, now)?;
    let steps = install::functions_reconcile(connection, &catalog, value_bytes_max, now)?;
    Ok(Prepared {
        has_rotated: rotated.is_some(),
        steps,
        catalog,
        seen,
    })
}
