//! The ticker: rings each second, with which the digest stage looks at what was gathered.
//!
//! tokio-cron-scheduler counts in UTC here and decides nothing. Its time zones are offsets fixed at
//! the job's creation, an hour off after a change of the clock; it skips what came while nothing
//! ran, and may fire twice. None of that matters to a bell: what is due is read from Postgres.

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::stage::{Nudge, chain};

/// Each second.
const EVERY_SECOND: &str = "* * * * * *";

/// A running ticker.
pub(super) struct Ticker(JobScheduler);

impl Ticker {
    /// Begins to ring.
    pub(super) async fn start(nudge: Nudge) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let job = Job::new(EVERY_SECOND, move |_, _| nudge.ring())?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    /// Rings no more.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(error = chain(&error), "the ticker of digests did not stop");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_until_it_is_stopped() {
        // GIVEN a ticker WHEN somebody waits THEN it rings soon, and again
        let nudge = Nudge::default();
        let ticker = Ticker::start(nudge.clone()).await.unwrap();
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(20), nudge.rung())
                .await
                .unwrap();
        }
        ticker.stop().await;
    }
}
