//! What is missing where the account does not add up, by name.
//!
//! Independent of the account's own numbers: rows are compared with rows, and events of which a
//! subscription has nothing are judged by its registration, as `rowcall explain` does. What is
//! looked at and what is named is bounded, so it may be less than what is missing.

mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use self::store::{
    Found, change_gone, change_untold, digest_uneven, event_gone, event_unowed, pair_twice,
};
use super::report::{Entry, Report};
use crate::{
    db::{Connection, DbError},
    explain::{Answer, Question, Verdict, explain},
};

/// What is named of each kind, and of each subscription, at most.
pub const NAMED_MAX: usize = 20;

/// Subscriptions that are looked at, at most.
const SUBSCRIPTIONS_MAX: usize = 20;

/// Events that are judged for each of them, at most; the newest.
const JUDGED_MAX: i64 = 200;

/// Something that the account misses, or has twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// What is wrong with it.
    pub kind: Kind,
    /// Whose, if it is of one subscription.
    pub subscription: Option<Uuid>,
    /// The event.
    pub event: Option<Uuid>,
    /// The digest.
    pub digest: Option<Uuid>,
    /// The number of the change in the change table.
    pub change: Option<i64>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The cursor has passed the change, and no event tells of it.
    ChangeUntold,
    /// The event tells of a change that is gone, though its leaf is kept.
    ChangeGone,
    /// There is a delivery of the event, or it is in a digest, and the event is gone.
    EventGone,
    /// The event is for the subscription, which has neither a delivery nor a digest with it.
    PairMissing,
    /// The event is owed to the subscription alone and in a digest.
    PairTwice,
    /// The digest has other events than it counts, or fewer deliveries than parts.
    DigestUneven,
}

impl Kind {
    /// In words, to be followed by what it is about.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ChangeUntold => "no event tells of this change",
            Self::ChangeGone => "the change that this event tells of is gone",
            Self::EventGone => "this event is owed, and gone",
            Self::PairMissing => "this event is for the subscription, and not owed to it",
            Self::PairTwice => "this event is owed alone, and in a digest",
            Self::DigestUneven => "this digest has other events or deliveries than it should",
        }
    }
}

impl Suspect {
    fn of(kind: Kind, found: Found) -> Self {
        Self {
            kind,
            subscription: found.subscription_id,
            event: found.event_id,
            digest: found.digest_id,
            change: found.change,
        }
    }
}

/// Names what is missing in `report`. Of the same snapshot.
pub(super) fn suspects(
    connection: &mut Connection,
    report: &Report,
    now: DateTime<Utc>,
) -> Result<Vec<Suspect>, DbError> {
    let mut named = Vec::new();
    let mut name = |kind, found: Vec<Found>| {
        named.extend(found.into_iter().map(|found| Suspect::of(kind, found)));
    };
    if report.changes.missing() != 0 {
        name(Kind::ChangeUntold, change_untold(connection)?);
        name(Kind::ChangeGone, change_gone(connection)?);
    }
    let uneven = |entry: &&Entry| entry.pairs.missing() != 0;
    let uneven: Vec<&Entry> = report.subscriptions.iter().filter(uneven).collect();
    let ids: Vec<Uuid> = uneven.iter().map(|entry| entry.id).collect();
    if !ids.is_empty() {
        name(Kind::EventGone, event_gone(connection, &ids)?);
        name(Kind::PairTwice, pair_twice(connection, &ids)?);
        name(Kind::DigestUneven, digest_uneven(connection, &ids)?);
    }
    for entry in uneven.into_iter().take(SUBSCRIPTIONS_MAX) {
        if entry.pairs.missing() > 0 {
            named.extend(pairs_missing(connection, entry.id, now)?);
        }
    }
    Ok(named)
}

/// The events that are for a subscription by what is in force now, and of which it has nothing.
fn pairs_missing(
    connection: &mut Connection,
    subscription: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<Suspect>, DbError> {
    let mut missing = Vec::new();
    for event in event_unowed(connection, subscription, JUDGED_MAX)? {
        if missing.len() == NAMED_MAX {
            break;
        }
        let question = Question {
            event,
            subscription: subscription.to_string(),
            owner: None,
        };
        let Answer::Explained(explained) = explain(connection, &question, now)? else {
            continue;
        };
        let is_for_it = explained.verdict == Verdict::NotMatched
            && explained.steps.iter().all(|step| step.outcome != "failed");
        if is_for_it {
            missing.push(Suspect {
                kind: Kind::PairMissing,
                subscription: Some(subscription),
                event: Some(event),
                digest: None,
                change: None,
            });
        }
    }
    Ok(missing)
}
