//! The one loop. A stage does a bounded piece of work when asked and says whether there may be
//! more.
//!
//! A nudge only makes a stage look sooner; what there is to do is read from Postgres each time. So
//! running a stage twice, or losing a nudge, is harmless.

use std::{error::Error, fmt::Display, future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;

/// The first wait after a failed run; it doubles up to [`FAILURE_WAIT_MAX`].
const FAILURE_WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest wait after failed runs: how late Rowcall notices that the database is back.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was done; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
}

/// A content-free "look now". Clones share it; one that arrives while the stage runs is kept.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Asks the stage to look.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a nudge, at most for `limit`.
    pub async fn wait(&self, limit: Duration) {
        // Either way the stage looks; which of the two it was does not matter.
        let _ = tokio::time::timeout(limit, self.rung()).await;
    }

    /// Waits for a nudge.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// A part of the pipeline.
pub trait Stage: Send + 'static {
    /// Why a run failed. It is logged and the run is repeated.
    type Error: Error + Send + 'static;

    /// The name in logs, metrics and /readyz.
    fn name(&self) -> &str;

    /// Does one bounded piece of work. Whatever it did is durable, or will be done again.
    fn run_once(
        &mut self,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Progress, Self::Error>> + Send;

    /// Lets more gather for a moment, if that pays. Called after a run that found something.
    fn gather(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Waits until it is worth looking again. Called after a run that found nothing.
    fn rest(&mut self, now: DateTime<Utc>) -> impl Future<Output = ()> + Send;

    /// Gives back what the stage holds; called once, when the loop ends.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// How a stage fares, for /readyz: `None` while its last run succeeded.
pub type Health = watch::Sender<Option<String>>;

/// Runs `stage` until `shutdown` turns true. A run that has begun is finished first.
pub async fn drive<S: Stage>(
    mut stage: S,
    clock: Clock,
    health: Health,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut failure_wait = FAILURE_WAIT_MIN;
    while !*shutdown.borrow() {
        match stage.run_once(clock.now()).await {
            Ok(progress) => {
                failure_wait = FAILURE_WAIT_MIN;
                health.send_if_modified(|state| state.take().is_some());
                let now = clock.now();
                let pause = async {
                    match progress {
                        Progress::Worked => stage.gather().await,
                        Progress::Idle => stage.rest(now).await,
                    }
                };
                tokio::select! {
                    () = pause => {}
                    _ = shutdown.changed() => {}
                }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(stage = stage.name(), %error, retry_in = ?failure_wait, "stage failed");
                health.send_replace(Some(error));
                tokio::select! {
                    () = tokio::time::sleep(jittered(failure_wait)) => {}
                    _ = shutdown.changed() => {}
                }
                failure_wait = (failure_wait * 2).min(FAILURE_WAIT_MAX);
            }
        }
    }
    stage.close().await;
}

/// An error with its sources, for one line of a log.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their source in their own text.
        if !text.contains(&cause_text) {
            append(&mut text, &cause_text);
        }
        source = cause.source();
    }
    text
}

fn append(text: &mut String, cause: &dyn Display) {
    use std::fmt::Write as _;
    let _ = write!(text, ": {cause}");
}

/// Between half of `wait` and all of it, so that many instances do not return at the same moment.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the stage failed")]
    struct Failed(#[source] std::io::Error);

    struct Scripted {
        results: Vec<Result<Progress, Failed>>,
        rested: watch::Sender<u32>,
    }

    impl Stage for Scripted {
        type Error = Failed;

        fn name(&self) -> &'static str {
            "scripted"
        }

        async fn run_once(&mut self, _: DateTime<Utc>) -> Result<Progress, Failed> {
            self.results.pop().unwrap_or(Ok(Progress::Idle))
        }

        async fn rest(&mut self, _: DateTime<Utc>) {
            self.rested.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
        }
    }

    #[tokio::test]
    async fn a_failed_run_is_reported_and_repeated_until_it_succeeds() {
        let failure = Failed(std::io::Error::other("disk on fire"));
        let (rested, mut rests) = watch::channel(0);
        let stage = Scripted {
            results: vec![Ok(Progress::Worked), Err(failure)],
            rested,
        };
        let (health, mut reported) = watch::channel(None);
        let (stop, shutdown) = watch::channel(false);

        let running = tokio::spawn(drive(stage, Clock::System, health, shutdown));
        reported.changed().await.unwrap();
        assert_eq!(
            reported.borrow().as_deref(),
            Some("the stage failed: disk on fire")
        );
        rests.wait_for(|count| *count == 1).await.unwrap();
        assert_eq!(*reported.borrow(), None);

        stop.send(true).unwrap();
        running.await.unwrap();
    }
}
