//! The writers: each with its own session, transaction after transaction, at a given pace.
//!
//! Guaranteed: what is entered as committed was committed, for it is entered after COMMIT returned;
//! a transaction whose outcome isn't known ends the writer with an error, and the demo with it.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use miette::{IntoDiagnostic as _, miette};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinHandle;

use super::{
    ledger::Ledger,
    shop::{
        Basket, Business, below,
        store::{Isolation, Undone, transaction, transaction_id, writer_connect},
    },
};
use crate::db::Connection;

/// How many write at the same time.
pub(super) const WRITERS: u32 = 4;
/// What the writers' events name as actor, before the number of the writer.
pub(super) const ACTOR: &str = "demo-writer-";
/// How often a transaction is tried before it is left: somebody who locks rows by hand must not
/// hold up the end of the demo.
const TRIES_MAX: u32 = 3;
/// A writer that fell further behind its pace than this does not catch up.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// The running writers.
pub(super) struct Writers {
    /// Dropping one ends its writer.
    stops: Vec<Sender<()>>,
    tasks: Vec<JoinHandle<miette::Result<()>>>,
}

impl Writers {
    /// Starts them; together they make about `rate` changes a second.
    pub(super) fn start(url: &SecretString, rate: u32, ledger: &Arc<Ledger>) -> Self {
        let (mut stops, mut tasks) = (Vec::new(), Vec::new());
        let pace = Duration::from_secs(1) * WRITERS / rate.max(1);
        for number in 1..=WRITERS {
            let (stop, stopped) = channel();
            let (url, ledger) = (url.clone(), Arc::clone(ledger));
            stops.push(stop);
            tasks.push(tokio::task::spawn_blocking(move || {
                write(&url, number, pace, &ledger, &stopped)
            }));
        }
        Self { stops, tasks }
    }

    /// Whether one has ended, which none does by itself unless it fails.
    pub(super) fn has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Lets each finish its transaction.
    ///
    /// # Errors
    ///
    /// If one could not work.
    pub(super) async fn stop(self) -> miette::Result<()> {
        drop(self.stops);
        let mut outcome = Ok(());
        for task in self.tasks {
            outcome = outcome.and(task.await.into_diagnostic()?);
        }
        outcome
    }
}

fn write(
    url: &SecretString,
    number: u32,
    pace: Duration,
    ledger: &Ledger,
    stopped: &Receiver<()>,
) -> miette::Result<()> {
    let actor = format!("{ACTOR}{number}");
    let mut connection = writer_connect(url.expose_secret(), &actor)?;
    let mut due = Instant::now();
    loop {
        // Waits by waiting for the stop, so that stopping needs no waiting.
        let wait = due.saturating_duration_since(Instant::now());
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return Ok(()),
        }
        let changes = one(&mut connection, ledger)
            .map_err(|error| miette!("a writer of the demo failed: {error}"))?;
        due += pace * u32::try_from(changes.max(1)).unwrap_or(1);
        if due + BEHIND_MAX < Instant::now() {
            due = Instant::now();
        }
    }
}

/// One piece of business, tried again if something is in its way. Returns how many rows it changed.
fn one(connection: &mut Connection, ledger: &Ledger) -> Result<usize, crate::db::QueryError> {
    let business = Business::drawn();
    let isolation = if below(5) == 0 {
        Isolation::RepeatableRead
    } else {
        Isolation::ReadCommitted
    };
    // Some customers close the window before they have paid.
    let is_abandoned = below(25) == 0;
    for _ in 0..TRIES_MAX {
        let mut basket = Basket::default();
        let outcome = transaction(connection, isolation, |connection| {
            business.run(connection, &mut basket)?;
            if basket.changes.is_empty() {
                return Ok(None);
            }
            let xid = transaction_id(connection)?;
            if is_abandoned {
                return Err(Undone::OnPurpose);
            }
            Ok(Some(xid))
        });
        let committed_at = Instant::now();
        ledger.note(|tally| tally.savepoints_rolled_back += basket.savepoints_rolled_back);
        match outcome {
            Ok(Some(xid)) => ledger.committed(xid, &basket.changes, committed_at),
            Ok(None) => {}
            Err(Undone::OnPurpose) => ledger.note(|tally| tally.rolled_back += 1),
            Err(Undone::Conflict) => {
                ledger.note(|tally| tally.conflicts += 1);
                continue;
            }
            Err(Undone::Failed(error)) => return Err(error),
        }
        return Ok(basket.changes.len());
    }
    Ok(0)
}
