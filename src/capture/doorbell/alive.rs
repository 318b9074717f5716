//! The publish lock of an instance that hangs.
//!
//! The lock is a session's, so it is free at once when its holder dies. A process that is stopped,
//! or a machine that was cut off, keeps its session, and with it the lock and the doorbell: nobody
//! would publish. So the holder shows every [`SHOW_INTERVAL`] that it lives, by a statement on that
//! session, and Postgres keeps the time of it. Whoever waits for the lock ends the session of a
//! holder that has been silent for [`SILENCE_MAX`].
//!
//! A holder that was only slow loses nothing: it opens another session and stands by, and a batch
//! that two publish is published once, because the cursor is moved by compare-and-swap. What a
//! stopped process had begun to write is rolled back by idle_in_transaction_session_timeout, which
//! every session of Rowcall sets.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use super::{Doorbell, Duty, PUBLISH_LOCK, Phase};
use crate::capture::listen_socket::{ListenError, ListenSocket};

/// How often the holder shows that it lives.
pub(super) const SHOW_INTERVAL: Duration = Duration::from_secs(2);

/// How long a holder may be silent: several times that, for a machine that is busy.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Shows that the session's owner lives, and finds out whether the session does.
pub(super) async fn show(session: &mut ListenSocket) -> Result<(), ListenError> {
    session.query("select 1").await.map(drop)
}

/// Takes the publish lock if nobody holds it. Otherwise the session of a holder that is silent is
/// ended; its lock is free soon after, not at once.
///
/// A session of another user that this one may not end, or not look at, is left alone.
pub(super) async fn take_publish_lock(session: &mut ListenSocket) -> Result<bool, ListenError> {
    let (class, key) = PUBLISH_LOCK;
    let silence_s = SILENCE_MAX.as_secs();
    let answers = session
        .query(&format!(
            // One statement, since whoever stands by asks each second. Conditions of one WHERE are
            // judged in any order, so what tries and what ends sessions each stand apart.
            "with tried as materialized ( \
             select pg_catalog.pg_try_advisory_lock({class}, {key}) as is_taken), \
             silent as materialized ( \
             select a.pid from pg_catalog.pg_locks as l \
             join pg_catalog.pg_stat_activity as a on a.pid = l.pid \
             where not (select is_taken from tried) \
                 and l.locktype = 'advisory' and l.granted and l.objsubid = 2 \
                 and l.classid = {class} and l.objid = {key} and l.database = \
                     (select oid from pg_catalog.pg_database where datname = current_database()) \
                 and a.state_change < pg_catalog.clock_timestamp() - interval '{silence_s} s' \
                 and pg_catalog.pg_has_role(a.usesysid, 'USAGE')) \
             select 'taken' from tried where is_taken union all \
             select pid::text from silent where pg_catalog.pg_terminate_backend(pid)"
        ))
        .await?;
    match answers.first().map(String::as_str) {
        Some("taken") => return Ok(true),
        Some(pid) => tracing::warn!(
            pid,
            "the instance that publishes has been silent for {SILENCE_MAX:?}: its session is ended, \
             and this one takes over"
        ),
        None => {}
    }
    Ok(false)
}

impl Doorbell {
    /// Reads by `work`, which may take long, and shows meanwhile that this instance lives. If
    /// somebody rang, the writers are told meanwhile to ring no more: until then they do, which
    /// costs a little and loses nothing.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if self.phase == Phase::Rung {
            let (done, woken) = {
                let mut wake = pin!(self.wake());
                // The work is begun first, and what was asked on the session is always read.
                tokio::select! {
                    biased;
                    done = &mut work => (Some(done), wake.await),
                    woken = &mut wake => (None, woken),
                }
            };
            if let Err(error) = woken {
                self.lost(&error);
            }
            if let Some(done) = done {
                return done;
            }
        }
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SHOW_INTERVAL) => self.show_alive().await,
            }
        }
    }

    /// Shows that this instance lives, if it publishes and has not done so for a while.
    pub(super) async fn show_alive(&mut self) {
        if self.duty == Duty::Standby || self.shown_at.elapsed() < SHOW_INTERVAL {
            return;
        }
        self.shown_at = Instant::now();
        if let Some(session) = &mut self.session
            && let Err(error) = show(session).await
        {
            self.lost(&error);
        }
    }
}
