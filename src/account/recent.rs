//! The account as it was drawn up last, kept in memory: whoever asks often costs no more than
//! whoever asks once, and one that does not add up is told to operators.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::report::{Report, draw_up};
use crate::{
    db::{Database, DbError},
    observe::{
        metrics::{ACCOUNT_AT, ACCOUNT_CHANGES, ACCOUNT_IMBALANCE, ACCOUNT_PAIRS},
        readiness::Readiness,
    },
    stage::chain,
};

/// The name of the warning in /readyz that it does not add up.
const WARNING: &str = "account";
/// That of the warning that it could not be drawn up, which does not take the other's place: what
/// was missing is missing still.
const WARNING_FAILED: &str = "account not drawn up";

/// How long upkeep waits for it.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// How long after the start it is drawn up for the first time: a program that crashes again and
/// again does not read whole tables each time.
const FIRST_AFTER: TimeDelta = TimeDelta::minutes(1);

/// How long a statement of it may take where nobody waits for it, in seconds.
const TIMEOUT_S: u32 = 300;

/// How old an answer of the API may be.
const AGE_MAX: TimeDelta = TimeDelta::minutes(1);

/// Events and digests that the warning names.
const SHOWN_MAX: usize = 5;

/// The last account; clones share it.
#[derive(Clone, Debug)]
pub struct Accounts {
    readiness: Readiness,
    interval: TimeDelta,
    due_at: Arc<Mutex<Option<DateTime<Utc>>>>,
    // Held while it is drawn up, so that one at a time is.
    last: Arc<tokio::sync::Mutex<Option<Arc<Report>>>>,
}

impl Accounts {
    /// Nothing yet. It is drawn up every `interval_minutes`, and for whoever asks.
    #[must_use]
    pub fn new(readiness: Readiness, interval_minutes: u32) -> Self {
        Self {
            readiness,
            interval: TimeDelta::minutes(i64::from(interval_minutes)),
            due_at: Arc::default(),
            last: Arc::default(),
        }
    }

    /// Draws it up if that is due. That it can't be is told as a warning and fails nothing. Large
    /// tables take minutes to be read; whoever calls has other things to do, and waits for seconds
    /// only.
    pub async fn look(&self, database: &Database, now: DateTime<Utc>) {
        if !self.is_due(now) {
            return;
        }
        let (accounts, database) = (self.clone(), database.clone());
        let drawing = tokio::spawn(async move {
            if let Err(error) = accounts.recent(&database, now, TimeDelta::zero()).await {
                accounts.tell_failure(&error);
            }
        });
        // What takes longer goes on by itself, and tells by itself what comes of it.
        let _ = tokio::time::timeout(LOOK_MAX, drawing).await;
    }

    fn tell_failure(&self, error: &DbError) {
        let error = chain(error);
        tracing::warn!(error, "the account could not be drawn up");
        let text = format!(
            "the conservation account could not be drawn up, so nobody knows whether it adds up: \
             {error}; `rowcall account` takes more time"
        );
        self.readiness.warning_set(WARNING_FAILED, text);
    }

    /// The account, a minute old at most.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn shown(
        &self,
        database: &Database,
        now: DateTime<Utc>,
    ) -> Result<Arc<Report>, DbError> {
        self.recent(database, now, AGE_MAX).await
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        let mut due_at = self.due_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = due_at.is_some_and(|at| at <= now);
        if is_due {
            *due_at = Some(now + self.interval);
        } else if due_at.is_none() {
            *due_at = Some(now + FIRST_AFTER);
        }
        is_due
    }

    async fn recent(
        &self,
        database: &Database,
        now: DateTime<Utc>,
        age: TimeDelta,
    ) -> Result<Arc<Report>, DbError> {
        let (accounts, database) = (self.clone(), database.clone());
        // A task of its own: a caller who goes away leaves no second one beside the first.
        let drawing = tokio::spawn(async move {
            let mut last = accounts.last.lock().await;
            if let Some(report) = last.as_ref().filter(|report| now - report.at < age) {
                return Ok(Arc::clone(report));
            }
            let report = database
                .transaction(move |connection| draw_up(connection, TIMEOUT_S, now))
                .await?;
            let report = Arc::new(report);
            accounts.tell(&report);
            *last = Some(Arc::clone(&report));
            Ok(report)
        });
        drawing.await.map_err(|_| DbError::Panicked)?
    }

    /// Shows it as metrics, and raises or clears the alarm.
    fn tell(&self, report: &Report) {
        self.readiness.warning_clear(WARNING_FAILED);
        metrics::gauge!(ACCOUNT_AT).set(report.at.timestamp() as f64);
        metrics::gauge!(ACCOUNT_IMBALANCE).set(report.imbalance() as f64);
        let changes = &report.changes;
        for (what, count) in [
            ("captured", changes.captured),
            ("published", changes.published),
            ("unread", changes.unread),
        ] {
            metrics::gauge!(ACCOUNT_CHANGES, "what" => what).set(count as f64);
        }
        let pairs = report.pairs();
        for (what, count) in pairs
            .outcomes()
            .into_iter()
            .chain([("matched", pairs.matched)])
        {
            metrics::gauge!(ACCOUNT_PAIRS, "what" => what).set(count as f64);
        }
        if report.adds_up() {
            return self.readiness.warning_clear(WARNING);
        }
        let text = warning(report);
        tracing::error!("{text}");
        self.readiness.warning_set(WARNING, text);
    }
}

/// What everybody may read: counts and ids.
fn warning(report: &Report) -> String {
    let named = report.suspects.iter().filter_map(|suspect| {
        let event = suspect.event.map(|id| format!("event {id}"));
        let digest = || suspect.digest.map(|id| format!("digest {id}"));
        let change = || suspect.change.map(|seq| format!("change {seq}"));
        event.or_else(digest).or_else(change)
    });
    let named: Vec<String> = named.take(SHOWN_MAX).collect();
    let named = match named.as_slice() {
        [] => "nothing could be named".to_owned(),
        some => format!("among them {}", some.join(", ")),
    };
    let uneven = |entry: &&super::Entry| entry.pairs.missing() != 0;
    format!(
        "the conservation account does not add up: {} changes are missing, and the pairs of {} \
         subscriptions differ from what was matched, {named}; `rowcall account` says more",
        report.changes.missing(),
        report.subscriptions.iter().filter(uneven).count()
    )
}
