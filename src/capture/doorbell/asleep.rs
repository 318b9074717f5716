//! Sleeping, and looking without being rung.
//!
//! A reader that sleeps trusts the doorbell, and looks by itself all the same: a notification may
//! be lost, and a writer may be silent. To read takes a transaction of several statements, so it
//! first asks with one whether there is anything to read; the same statement shows that it lives.

use std::time::{Duration, Instant};

use super::{
    Doorbell, Phase,
    alive::{SHOW_INTERVAL, show},
};
use crate::{
    capture::listen_socket::{ListenError, ListenSocket},
    lookout::UNRUNG_POLL,
};

/// Whether there is anything to read, as `t` or `f`, and the registry's revision, by which the
/// reader notices what was registered to begin with rows or events that exist.
///
/// A change that was committed since the cursor is of a transaction that began after the cursor's
/// snapshot, or was open in it. What is not committed is not visible here either. It is judged by
/// an index; the session is told to use it.
const LOOK: &str = include_str!("look.sql");

/// What a reader that sleeps knows.
#[derive(Debug, Default)]
pub(super) struct Asleep {
    /// Whether [`LOOK`] can be asked of this database.
    can_ask: bool,
    /// The registry's revision when the reader was last sent to read.
    revision: Option<String>,
    /// When that was.
    read_at: Option<Instant>,
}

impl Asleep {
    /// Of a database that is its own repository.
    pub(super) fn asking() -> Self {
        Self {
            can_ask: true,
            ..Self::default()
        }
    }

    /// Asks whether the reader is to read. If it can't be asked, it is.
    async fn should_read(&mut self, session: &mut ListenSocket) -> Result<bool, ListenError> {
        if !self.can_ask {
            show(session).await?;
            return Ok(true);
        }
        let answer = session.query(LOOK).await?.into_iter().next();
        let is_old = self.read_at.is_none_or(|at| at.elapsed() >= UNRUNG_POLL);
        let has_unread = answer.as_ref().is_none_or(|text| text.starts_with('t'));
        // Of an edit that was seen nothing more is to be read.
        let revision = answer.and_then(|text| Some(text.split_once(' ')?.1.to_owned()));
        let should_read = is_old || has_unread || revision != self.revision;
        if should_read {
            self.revision = revision;
            self.read_at = Some(Instant::now());
        }
        Ok(should_read)
    }
}

impl Doorbell {
    /// Waits until somebody rings, or there is something to read. K is kept; if it was rung, until
    /// [`Doorbell::beside`] lets go of it.
    pub(super) async fn sleep(&mut self) -> Result<(), ListenError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if self.phase != Phase::Asleep {
            self.phase = Phase::Asleep;
            self.sleeps.increment(1);
        }
        let mut begun = Instant::now();
        let wait = self
            .safety_poll
            .map_or(SHOW_INTERVAL, |poll| poll.min(SHOW_INTERVAL));
        loop {
            if let Ok(rung) = tokio::time::timeout(wait, session.notified()).await {
                rung?;
                self.phase = Phase::Rung;
                return Ok(());
            }
            self.shown_at = Instant::now();
            // Together with showing, so rather too early than too late.
            let is_time = |poll: Duration| begun.elapsed() + SHOW_INTERVAL > poll;
            if !self.safety_poll.is_some_and(is_time) {
                show(session).await?;
            } else if self.asleep.should_read(session).await? {
                return Ok(());
            } else {
                begun = Instant::now();
            }
        }
    }
}
