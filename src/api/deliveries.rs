//! `/v1/deliveries`: what is owed to subscriptions and what became of it; dead letters above all.
//!
//! A key of the role subscriber sees those of its own subscriptions. How receivers answered, beyond
//! the status, is shown to those who may change the subscription.

mod store;

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    ApiState,
    attempts::{Attempt, attempts},
    caller::Caller,
    idempotency::Memory,
    input::{Id, Parameters},
    page::{Page, PageRequest},
    problem::{Kind, Problem},
    replays::{self, refuse_unfit},
};
use crate::{
    auth::Action,
    db::Connection,
    deliver::{attempt::store::Whose, lane::block::unblock},
    nearest::did_you_mean,
    registry::registry_lock,
    replay::order::{Order, Pace, Selection, Which, place},
};

const PARAMETERS: [&str; 4] = ["state", "subscription", "limit", "cursor"];

/// As the schema has them.
const STATES: [&str; 8] = [
    "pending",
    "held",
    "sending",
    "delivered",
    "dead",
    "suppressed",
    "withdrawn",
    "cancelled",
];

/// A delivery as lists have it.
#[derive(Debug, Serialize)]
pub(super) struct Delivery {
    id: Uuid,
    subscription: Named,
    /// Null for a part of a digest.
    event: Option<Uuid>,
    event_type: Option<String>,
    object_type: Option<String>,
    /// The object key as text.
    key: Option<String>,
    /// Null for an event.
    digest: Option<Uuid>,
    part: Option<i32>,
    state: String,
    /// It is dead, and later events of its object wait for it.
    blocks: bool,
    /// 20 digits.
    sequence: Option<String>,
    /// How often it was tried, without replays.
    tried: i32,
    /// The status that the receiver answered to the last attempt.
    last_status: Option<i32>,
    created_at: DateTime<Utc>,
    /// Null while it waits for an earlier one, for its subscription, or for nothing any more.
    due_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Named {
    pub(super) id: Uuid,
    pub(super) name: String,
}

/// One delivery with all that was tried.
#[derive(Debug, Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    delivery: Delivery,
    /// The last ones, in their order.
    attempts: Vec<Attempt>,
    /// How it was sent again, oldest first.
    replays: Vec<Again>,
}

#[derive(Debug, Serialize)]
struct Again {
    replay: Uuid,
    state: String,
    settled_at: Option<DateTime<Utc>>,
    attempts: Vec<Attempt>,
}

/// Oldest first, by id.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Delivery>>, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let page = PageRequest::read(&parameters)?;
    let filter = store::DeliveryFilter {
        state: parameters.value("state", state_read)?,
        subscription: parameters.value("subscription", |text| {
            Uuid::parse_str(text).map_err(|_| "the id of a subscription is expected".to_owned())
        })?,
        owner,
    };
    let rows = state
        .database
        .transaction(move |connection| {
            let rows = store::delivery_list(connection, &filter, page.after, page.rows_max())?;
            Ok::<_, Problem>(rows)
        })
        .await?;
    let deliveries = rows.into_iter().map(Delivery::from).collect();
    Ok(Json(
        page.page(deliveries, |delivery: &Delivery| delivery.id),
    ))
}

fn state_read(text: &str) -> Result<&'static str, String> {
    STATES
        .into_iter()
        .find(|state| *state == text)
        .ok_or_else(|| {
            let hint = did_you_mean(text, STATES);
            format!("expected is one of {}{hint}", STATES.join(", "))
        })
}

pub(super) async fn show(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
) -> Result<Json<Whole>, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let sees_answers = caller.may(Action::WriteSubscriptions).is_ok();
    let whole = state
        .database
        .transaction(move |connection| whole(connection, id, owner.as_deref(), sees_answers))
        .await?;
    Ok(Json(whole))
}

/// A delivery that the caller may see.
fn whole(
    connection: &mut Connection,
    id: Uuid,
    owner: Option<&str>,
    sees_answers: bool,
) -> Result<Whole, Problem> {
    let row = store::delivery_get(connection, id, owner)?;
    let row = row.ok_or_else(|| Problem::not_found("delivery", id))?;
    let mut tried = attempts(connection, Whose::Deliveries, &[id], sees_answers)?;
    let items = store::item_list(connection, id)?;
    let ids: Vec<Uuid> = items.iter().map(|item| item.id).collect();
    let mut by_item = attempts(connection, Whose::Items, &ids, sees_answers)?;
    let again = |item: store::ItemRow| Again {
        replay: item.replay_id,
        state: item.state,
        settled_at: item.settled_at,
        attempts: by_item.remove(&item.id).unwrap_or_default(),
    };
    Ok(Whole {
        replays: items.into_iter().map(again).collect(),
        delivery: Delivery::from(row),
        attempts: tried.remove(&id).unwrap_or_default(),
    })
}

/// Sends one delivery again.
pub(super) async fn replay(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    refuse_body(&body)?;
    let route = format!("POST /v1/deliveries/{id}/replay");
    let memory = Memory::read(&headers, caller.name(), &route, &body)?;
    let asked_by = caller.name().to_owned();
    let now = state.clock.now();
    let (database, nudge) = (state.database.clone(), state.replays.clone());
    let shown = database
        .transaction(move |connection| {
            registry_lock(connection)?;
            if let Some(memory) = &memory
                && let Some(made) = memory.recall(connection)?
            {
                return replays::found(connection, made, None);
            }
            let row = store::delivery_get(connection, id, owner.as_deref())?
                .ok_or_else(|| Problem::not_found("delivery", id))?;
            refuse_unsettled(&row)?;
            refuse_unfit(connection, &state, row.subscription_id)?;
            let order = Order {
                subscription_id: row.subscription_id,
                asked_by,
                selection: Selection {
                    delivery: Some(id),
                    state: Which::Any,
                    ..Selection::default()
                },
                pace: Pace::per_second(state.limits.replay_sends_per_second_max),
            };
            let made = place(connection, &order, now)?;
            if let Some(memory) = &memory {
                memory.remember(connection, made, now)?;
            }
            replays::found(connection, made, None)
        })
        .await?;
    nudge.ring();
    Ok(replays::accepted(shown))
}

/// Only what was sent, or tried for the last time, can be sent again.
fn refuse_unsettled(row: &store::DeliveryRow) -> Result<(), Problem> {
    let text = match row.state.as_str() {
        "dead" | "delivered" if row.is_kept => return Ok(()),
        "dead" | "delivered" => {
            "what it told is not kept any more, so it can't be sent again".to_owned()
        }
        state @ ("pending" | "held" | "sending") => {
            format!("it is {state}: it will be sent by itself")
        }
        state => format!("it is {state}: it was never to be sent"),
    };
    Err(Problem::new(Kind::NotReplayable, text))
}

fn refuse_body(body: &Bytes) -> Result<(), Problem> {
    let text = body.trim_ascii();
    if text.is_empty() || text == b"{}" {
        return Ok(());
    }
    let text = "nothing is expected here; leave the body out";
    Err(Problem::at(Kind::InvalidBody, "", text))
}

/// Lets the later events of the object go on, without the dead one.
pub(super) async fn release(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    body: Bytes,
) -> Result<Json<Whole>, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    refuse_body(&body)?;
    let now = state.clock.now();
    let barrier = TimeDelta::from_std(state.limits.barrier()).unwrap_or(TimeDelta::MAX);
    let by = caller.name().to_owned();
    let shown = state
        .database
        .transaction(move |connection| {
            let row = store::delivery_get(connection, id, owner.as_deref())?
                .ok_or_else(|| Problem::not_found("delivery", id))?;
            if unblock(connection, &[id], now, now + barrier)? == 0 {
                let text = format!(
                    "it is {}, and nothing waits for it to be released",
                    row.state
                );
                return Err(Problem::new(Kind::NotBlocking, text));
            }
            tracing::info!(delivery = %id, by, "released: later events of its object go on");
            whole(connection, id, owner.as_deref(), true)
        })
        .await?;
    state.wake.ring();
    Ok(Json(shown))
}

impl From<store::DeliveryRow> for Delivery {
    fn from(row: store::DeliveryRow) -> Self {
        Self {
            id: row.id,
            subscription: Named {
                id: row.subscription_id,
                name: row.subscription_name,
            },
            event: row.event_id,
            event_type: row.event_type,
            object_type: row.object_type,
            key: row.object_key,
            digest: row.digest_id,
            part: row.part,
            state: row.state,
            blocks: row.blocks,
            sequence: row.sequence.map(|number| format!("{number:020}")),
            tried: row.attempts,
            last_status: row.last_status,
            created_at: row.created_at,
            due_at: row.due_at,
            settled_at: row.settled_at,
        }
    }
}
