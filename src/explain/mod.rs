//! Explaining: why an event was, or was not, sent to a subscription.
//!
//! Players: `store` reads what is recorded; `owed` tells what became of a delivery and what it
//! waits for, `gathered` the same of a digest's event, and `matching` judges anew where nothing is
//! recorded, because the event was not for the subscription. `text` is the answer for a terminal.
//!
//! Guaranteed: what is recorded is told as it was recorded, with the constraint's version of then;
//! what is judged anew says by which catalogue, and whether that is another than when the event was
//! published. Values of the event are told only to those who may read it, and those of masked and
//! excluded columns to nobody: expressions can't name them.

mod gathered;
mod matching;
mod owed;
mod store;
mod text;
mod values;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

pub use self::values::Values;
use self::{
    gathered::Digest,
    matching::{Match, Since},
    owed::{Delivery, Party, store as recorded},
    store::{EventRow, SubscriptionRow},
};
use crate::{
    db::{Connection, DbError},
    registry::alone::registered_alone,
    subscription::model::{State, Subscription},
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The event.
    pub event: Uuid,
    /// The id or the name of the subscription. Of a name the one that is not deleted, or else the
    /// last that was.
    pub subscription: String,
    /// Only among the subscriptions of this key; `None`: among all.
    pub owner: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Both were found.
    Explained(Box<Explanation>),
    /// There is no such event.
    NoEvent,
    /// There is no such subscription, or it is another key's.
    NoSubscription,
}

/// Why an event was, or was not, sent to a subscription.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The event.
    pub event: EventShown,
    /// The subscription as it is now.
    pub subscription: SubscriptionShown,
    /// What became of the one for the other.
    pub verdict: Verdict,
    /// That, and why, in one sentence.
    pub summary: String,
    /// What led to it, in its order.
    pub steps: Vec<Step>,
}

/// An event that is explained.
#[derive(Clone, Debug, Serialize)]
pub struct EventShown {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub r#type: String,
    /// Null for an event that came through the API.
    pub object_type: Option<String>,
    /// Null also for a caller who may not read the event.
    pub subject: Option<String>,
    /// When it happened.
    pub time: DateTime<Utc>,
}

/// A subscription that is explained.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionShown {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `active`, `paused`, `disabled` or `deleted`.
    pub state: String,
    /// Its mode.
    pub mode: String,
}

/// What became of an event for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The receiver acknowledged it, or all parts of the digest that it is in.
    Delivered,
    /// It will be sent, or is being sent.
    Pending,
    /// A constraint keeps it for a while.
    Held,
    /// A constraint forbade it.
    Suppressed,
    /// A constraint held it for too long.
    Withdrawn,
    /// It was tried as often as the subscription allows, and is kept.
    Dead,
    /// The subscription was deleted first.
    Cancelled,
    /// It is in a digest that was not sent yet.
    #[serde(rename = "in digest")]
    InDigest,
    /// It is in a digest that needed not tell of it.
    Condensed,
    /// It was not for this subscription.
    #[serde(rename = "not matched")]
    NotMatched,
}

impl Verdict {
    /// As it is answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Suppressed => "suppressed",
            Self::Withdrawn => "withdrawn",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::InDigest => "in digest",
            Self::Condensed => "condensed",
            Self::NotMatched => "not matched",
        }
    }
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Whether the subscription names the event's type.
    EventTypes,
    /// Whether it means the event's object.
    ObjectKeys,
    /// Whether its filter is true.
    Filter,
    /// What a publishing constraint said.
    Constraint,
    /// What became of the delivery.
    Delivery,
    /// What became of the digest.
    Digest,
    /// How often it was tried.
    Attempts,
}

/// One step of the way.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What it is about.
    pub step: About,
    /// `passed`, `failed` or `not judged`; of a constraint `hold`, `suppress` or `withdraw`; of a
    /// delivery or digest its state; of attempts how the last one ended.
    pub outcome: String,
    /// Why, in words.
    pub detail: String,
    /// What was looked at.
    pub values: Values,
}

impl Step {
    fn new(step: About, outcome: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            step,
            outcome: outcome.into(),
            detail: detail.into(),
            values: Values::default(),
        }
    }

    fn with(mut self, values: Values) -> Self {
        self.values = values;
        self
    }
}

/// What the parts answer: a verdict, its summary, its steps.
#[derive(Clone, Debug)]
struct Told {
    verdict: Verdict,
    /// One sentence.
    summary: String,
    steps: Vec<Step>,
}

/// Explains. To be called at the start of a transaction, which it makes read-only and of one
/// snapshot.
///
/// # Errors
///
/// Those of the database.
pub fn explain(
    connection: &mut Connection,
    question: &Question,
    now: DateTime<Utc>,
) -> Result<Answer, DbError> {
    store::snapshot_begin(connection)?;
    let owner = question.owner.as_deref();
    let Some(subscription) = store::subscription_find(connection, &question.subscription, owner)?
    else {
        return Ok(Answer::NoSubscription);
    };
    let Some(event) = store::event_find(connection, question.event, owner)? else {
        return Ok(Answer::NoEvent);
    };
    let since = store::since_read(connection, &event, &subscription)?;
    let party = Party {
        state: subscription.state.clone(),
        sees_others: owner.is_none(),
        now,
    };
    let told = if let Some(row) = recorded::delivery_find(connection, event.id, subscription.id)? {
        let mut told = delivery(connection, row, &party)?.told(&party);
        told.steps
            .insert(0, matching::was_matched(&event, &subscription, &since));
        told
    } else if let Some(member) = store::member_find(connection, event.id, subscription.id)? {
        let mut told = digest(connection, &event, member, &subscription, &party)?.told(&party);
        told.steps
            .insert(0, matching::was_matched(&event, &subscription, &since));
        told
    } else {
        unmatched(connection, &event, &subscription, &since)?
    };
    Ok(Answer::Explained(Box::new(Explanation {
        event: EventShown {
            id: event.id,
            r#type: event.event_type,
            object_type: event.object_type,
            subject: event.object_key.filter(|_| event.is_readable),
            time: event.time,
        },
        subscription: SubscriptionShown {
            id: subscription.id,
            name: subscription.name,
            state: subscription.state,
            mode: subscription.mode,
        },
        verdict: told.verdict,
        summary: told.summary,
        steps: told.steps,
    })))
}

/// A delivery with all that is recorded of it and that it waits for.
fn delivery(
    connection: &mut Connection,
    row: recorded::DeliveryRow,
    party: &Party,
) -> Result<Delivery, DbError> {
    let judgements =
        recorded::judgement_list(connection, row.subscription_id, row.event_id, row.digest_id)?;
    let attempts = recorded::attempt_list(connection, row.id)?;
    let ahead = recorded::delivery_ahead(connection, &row)?;
    let untried = match row.event_id {
        Some(event) if row.waits_for_others(party.now) => {
            recorded::delivery_untried(connection, event)?
        }
        _ => Vec::new(),
    };
    Ok(Delivery {
        row,
        judgements,
        attempts,
        ahead,
        untried,
    })
}

fn digest(
    connection: &mut Connection,
    event: &EventRow,
    member: store::MemberRow,
    subscription: &SubscriptionRow,
    party: &Party,
) -> Result<Digest, DbError> {
    let is_told = if member.vanished == 0 || member.vanished == member.events {
        member.vanished == 0
    } else {
        store::member_is_told(connection, event, member.digest_id)?
    };
    let part = match recorded::part_decisive(connection, member.digest_id)? {
        Some(row) => Some(delivery(connection, row, party)?),
        None => None,
    };
    let max_items = subscription
        .spec()
        .ok()
        .and_then(|spec| spec.schedule)
        .and_then(|schedule| schedule.max_items);
    // One that was held is gathered when it is released.
    let judgements = recorded::judgement_list(connection, subscription.id, Some(event.id), None)?;
    Ok(Digest {
        judgements,
        member,
        is_told,
        part,
        max_items,
    })
}

/// Nothing is recorded, so it is judged by what is in force now.
fn unmatched(
    connection: &mut Connection,
    event: &EventRow,
    subscription: &SubscriptionRow,
    since: &Since,
) -> Result<Told, DbError> {
    let spec = match subscription.spec() {
        Ok(spec) => spec,
        Err(error) => return Ok(matching::unreadable(&error)),
    };
    let judged = Subscription {
        id: subscription.id,
        name: subscription.name.clone(),
        state: State::parse(&subscription.state).unwrap_or(State::Disabled),
        spec,
        object_key_texts: subscription.object_key_texts.clone(),
        // Asked of the database instead.
        owner: None,
        is_operators: false,
    };
    let is_entitled = store::subscription_is_entitled(connection, event, subscription.id)?;
    let (catalog, registered) = registered_alone(connection, judged)?;
    let found = Match {
        event,
        subscription,
        catalog: &catalog,
        registered: &registered,
        since,
        is_entitled,
    };
    Ok(found.told())
}

/// A time in words.
fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
