//! The doorbell: the reader sleeps until a commit rings, and writers ring only while it sleeps.
//!
//! While asleep, and only then, the reader's session holds advisory lock K exclusively. A writer's
//! trigger, after its insert, tries K shared for a moment; refused means the reader sleeps, and the
//! writer notifies. A reader that is awake, or not there, costs the writer nothing but that try.
//!
//! Falling asleep must not leave behind a writer that tried K just before it was taken, found the
//! reader awake, and has yet to commit. Such a writer holds RowExclusiveLock on a leaf of the
//! change table, taken before it tried K. So the order is: take K; list those holders; then read
//! until a read that began after all of them had ended finds nothing. (Snapshots can't judge this:
//! on a quiet cluster an open transaction is not listed in them.) K is only ever tried, never
//! waited for: a waiter in the lock's queue makes the writers' try fail, and all of them would
//! notify.

mod alive;
mod asleep;

use std::time::{Duration, Instant};

use self::{alive::take_publish_lock, asleep::Asleep};
use super::{
    listen_socket::{ListenError, ListenSocket},
    store::doorbell_ring,
};
use crate::{
    db::{DDL_LOCK, Database, DbError},
    observe::metrics::READER_SLEEPS,
    pace::Pace,
};

/// How often changes are looked for where nobody rings: no bell, or while falling asleep.
const IDLE_POLL: Duration = Duration::from_millis(20);
/// The least pause after a read that found nothing at a high rate.
const AWAKE_POLL: Duration = Duration::from_millis(1);
/// How often an instance that does not publish tries to take over.
const STANDBY_POLL: Duration = Duration::from_secs(1);
/// How long the self-test's notification may take to arrive.
const SELF_TEST_WAIT: Duration = Duration::from_secs(2);
/// The wait before a lost LISTEN session is opened again.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
/// The share of the cluster's notification queue above which no more is asked for: a full one would
/// fail the writers' commits.
const QUEUE_USAGE_MAX: f64 = 0.5;

/// The session lock of the instance that reads.
const PUBLISH_LOCK: (i32, i32) = (DDL_LOCK.0, DDL_LOCK.1 + 1);

/// Lists the holders of RowExclusiveLock on the change table's leaves: writers that captured
/// something. Planned once, because the reader falls asleep after each of a few changes.
const WRITERS: &str = "execute rowcall_writers";
const WRITERS_PREPARE: &str = "prepare rowcall_writers as \
    select distinct l.virtualtransaction from pg_catalog.pg_locks l \
    where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.granted \
    and l.database = (select oid from pg_catalog.pg_database where datname = current_database()) \
    and l.relation in (select 'rowcall.change'::regclass union all \
        select inhrelid from pg_catalog.pg_inherits where inhparent = 'rowcall.change'::regclass)";

/// Whether this instance reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It holds the publish lock, or there is no session that could.
    Publish,
    /// Another instance does.
    Standby,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// K is free.
    Awake,
    /// K is held; these writers may not have rung.
    Falling(Vec<String>),
    /// K is held, and every writer rings.
    Asleep,
    /// K is held, and somebody rang. It is let go of while the changes are read.
    Rung,
}

/// The reader's side of the doorbell.
pub struct Doorbell {
    url: String,
    database: Database,
    /// `None`: only the bell wakes the reader; for tests.
    safety_poll: Option<Duration>,
    session: Option<ListenSocket>,
    retry_session_at: Instant,
    /// Whether a notification reaches this session and the triggers ring.
    rings: bool,
    duty: Duty,
    phase: Phase,
    asleep: Asleep,
    /// When the session was last used to show that this instance lives.
    shown_at: Instant,
    pace: Pace,
    warn: Box<dyn Fn(Option<String>) + Send + Sync>,
    sleeps: metrics::Counter,
}

impl Doorbell {
    /// A doorbell of the repository at `url`. `warn` is told why the reader polls, and `None` when
    /// it no longer has to.
    #[must_use]
    pub fn new(
        url: &str,
        database: Database,
        safety_poll: Option<Duration>,
        warn: impl Fn(Option<String>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            url: url.to_owned(),
            database,
            safety_poll,
            session: None,
            retry_session_at: Instant::now(),
            rings: false,
            duty: Duty::Publish,
            phase: Phase::Awake,
            asleep: Asleep::default(),
            shown_at: Instant::now(),
            pace: Pace::default(),
            warn: Box::new(warn),
            sleeps: metrics::counter!(READER_SLEEPS),
        }
    }

    /// The same, of a database that is its own repository: when the reader looks by itself it asks
    /// with one statement whether there is anything to read.
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.asleep = Asleep::asking();
        self
    }

    /// To be asked before each read: opens the session if there is none, and tells whether this
    /// instance is the one that reads.
    pub async fn duty(&mut self) -> Result<Duty, DbError> {
        if self.session.is_none() && Instant::now() >= self.retry_session_at {
            self.open().await?;
        }
        if self.duty == Duty::Standby
            && let Err(error) = self.take_over().await
        {
            self.lost(&error);
        }
        self.show_alive().await;
        Ok(self.duty)
    }

    /// To be told after each read when it began and how many changes it found.
    pub async fn found(&mut self, changes: usize, began: Instant) {
        self.pace.count(changes, began);
        if changes > 0
            && let Err(error) = self.wake().await
        {
            self.lost(&error);
        }
    }

    /// Lets changes gather for a moment, if many come.
    pub async fn gather(&self) {
        self.pace.gather().await;
    }

    /// Waits until it is worth reading again; called after a read that found nothing.
    pub async fn rest(&mut self) {
        if self.duty == Duty::Standby {
            return tokio::time::sleep(STANDBY_POLL).await;
        }
        if let Err(error) = self.try_rest().await {
            self.lost(&error);
            tokio::time::sleep(IDLE_POLL).await;
        }
    }

    async fn try_rest(&mut self) -> Result<(), ListenError> {
        if self.pace.is_high() {
            // Changes come faster than falling asleep pays.
            let gathering = self.pace.gathering(Instant::now());
            tokio::time::sleep(gathering.max(AWAKE_POLL)).await;
            return Ok(());
        }
        let (true, Some(session)) = (self.rings, &mut self.session) else {
            tokio::time::sleep(IDLE_POLL).await;
            return Ok(());
        };
        match &mut self.phase {
            Phase::Awake => match try_lock(session).await? {
                Some(writers) => self.phase = Phase::Falling(writers),
                None => {
                    let _ = tokio::time::timeout(IDLE_POLL, session.notified()).await;
                }
            },
            Phase::Falling(writers) if !writers.is_empty() => {
                match tokio::time::timeout(IDLE_POLL, session.notified()).await {
                    Ok(rung) => {
                        rung?;
                        self.wake().await?;
                    }
                    Err(_) => {
                        let open = session.query(WRITERS).await?;
                        writers.retain(|writer| open.contains(writer));
                    }
                }
            }
            // The read before this call began after the last of those writers had ended.
            Phase::Falling(_) | Phase::Asleep => self.sleep().await?,
            Phase::Rung => self.wake().await?,
        }
        Ok(())
    }

    /// Lets go of K, so that writers no longer ring.
    async fn wake(&mut self) -> Result<(), ListenError> {
        if self.phase == Phase::Awake {
            return Ok(());
        }
        if let Some(session) = &mut self.session {
            session.query("select pg_catalog.pg_advisory_unlock('rowcall.change'::regclass::oid::integer, 1)")
                .await?;
        }
        self.phase = Phase::Awake;
        Ok(())
    }

    /// The session is gone, and with it K, the publish lock and the LISTEN.
    fn lost(&mut self, error: &ListenError) {
        tracing::warn!(%error, "polling until the LISTEN session is back");
        (self.warn)(Some(format!(
            "{error}; changes are polled every {IDLE_POLL:?}"
        )));
        self.session = None;
        self.rings = false;
        self.phase = Phase::Awake;
        // Without a session there is no publish lock; the cursor's revision still lets one
        // publisher win each batch.
        self.duty = Duty::Publish;
        self.retry_session_at = Instant::now() + RECONNECT_WAIT;
    }

    async fn open(&mut self) -> Result<(), DbError> {
        match self.try_open().await? {
            Ok(warning) => (self.warn)(warning),
            Err(error) => self.lost(&error),
        }
        Ok(())
    }

    async fn try_open(&mut self) -> Result<Result<Option<String>, ListenError>, DbError> {
        let mut session = match ListenSocket::connect(&self.url).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        // The change table grows faster than the planner learns of it.
        let begin = format!("listen rowcall; set enable_seqscan = off; {WRITERS_PREPARE}");
        if let Err(error) = session.query(&begin).await {
            return Ok(Err(error));
        }
        self.database
            .run(|connection| doorbell_ring(connection).map_err(DbError::from))
            .await?;
        let heard = tokio::time::timeout(SELF_TEST_WAIT, session.notified()).await;
        let prepared = match session
            .query("select current_setting('max_prepared_transactions')")
            .await
        {
            Ok(rows) => rows.first().is_some_and(|value| value != "0"),
            Err(error) => return Ok(Err(error)),
        };
        self.session = Some(session);
        let bell = match heard {
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => Bell::Unheard,
            Ok(Ok(())) if prepared => Bell::Unprepared,
            Ok(Ok(())) => Bell::Rings,
        };
        self.rings = bell == Bell::Rings;
        // A pooler that swallows notifications does not keep session locks either; there the
        // cursor's revision decides who publishes.
        self.duty = if bell == Bell::Unheard {
            Duty::Publish
        } else {
            Duty::Standby
        };
        let warning = bell.warning();
        Ok(Ok(warning.map(|text| {
            format!("{text}; changes are polled every {IDLE_POLL:?}")
        })))
    }

    /// Takes the publish lock if nobody holds it, or nobody who lives.
    async fn take_over(&mut self) -> Result<(), ListenError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if take_publish_lock(session).await? {
            self.duty = Duty::Publish;
        }
        Ok(())
    }
}

/// Whether a commit can wake the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bell {
    Rings,
    Unheard,
    Unprepared,
}

impl Bell {
    fn warning(self) -> Option<&'static str> {
        match self {
            Self::Rings => None,
            Self::Unheard => Some(
                "the self-test notification did not arrive: is there a pooler in transaction mode \
                 between Rowcall and Postgres? Give Rowcall a session connection",
            ),
            Self::Unprepared => Some(
                "the doorbell is off because max_prepared_transactions is not 0: a transaction \
                 that notified can't be prepared",
            ),
        }
    }
}

/// Tries K, unless the cluster's notification queue is already half full. If K is taken, these are
/// the writers that may not have rung: they are listed behind it, in the same message.
async fn try_lock(session: &mut ListenSocket) -> Result<Option<Vec<String>>, ListenError> {
    let sql = format!(
        "select case when pg_catalog.pg_notification_queue_usage() > {QUEUE_USAGE_MAX} then false else \
         pg_catalog.pg_try_advisory_lock('rowcall.change'::regclass::oid::integer, 1) end; {WRITERS}"
    );
    let mut answers = session.query(&sql).await?.into_iter();
    let is_taken = answers.next().is_some_and(|taken| taken == "t");
    Ok(is_taken.then(|| answers.collect()))
}
