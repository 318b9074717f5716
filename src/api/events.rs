//! `/v1/events`: submitting events, what was published, and what became of it.
//!
//! Events are answered as they were stored, byte for byte. A key of the role subscriber sees the
//! events that are or were owed to its own subscriptions, and of their deliveries its own.

mod attributes;
mod check;
mod data;
mod intake;
pub(super) mod ledger;
mod request;
mod schemas;
mod settle;
mod store;
pub(super) mod submit;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    ApiState,
    attempts::{Attempt, attempts},
    caller::Caller,
    input::{Id, Parameters, invalid},
    page::{Page, PageRequest},
    problem::Problem,
};
pub use intake::Intake;

use crate::{
    auth::Action, deliver::attempt::store::Whose, publish::floor::floor,
    upkeep::backlog::cancelled_because,
};

const PARAMETERS: [&str; 7] = [
    "type",
    "object_type",
    "key",
    "from",
    "to",
    "limit",
    "cursor",
];

/// Oldest first, by id.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let page = PageRequest::read(&parameters)?;
    let text = |name| parameters.text(name).map(str::to_owned);
    let filter = store::EventFilter {
        event_type: text("type"),
        object_type: text("object_type"),
        object_key: text("key"),
        from: parameters.value("from", time_read)?,
        to: parameters.value("to", time_read)?,
        owner,
    };
    if filter.object_key.is_some() && filter.object_type.is_none() {
        return Err(invalid(
            "key",
            "a key needs its object type; name it in `object_type`",
        ));
    }
    let rows = state
        .database
        .transaction(move |connection| {
            let floor = filter
                .from
                .map(|from| floor(connection, from))
                .transpose()?;
            let (after, rows_max) = (page.after, page.rows_max());
            let rows = store::event_list(connection, &filter, floor, after, rows_max)?;
            Ok::<_, Problem>(rows)
        })
        .await?;
    let Page { items, next } = page.page(rows, |row| row.id);
    Ok(spliced(&items, next.as_deref()))
}

/// Puts the stored bodies into a list as they are: to parse them only to write them again would
/// cost time and could change them.
fn spliced(items: &[store::EventRow], next: Option<&str>) -> Response {
    let bodies: Vec<&str> = items.iter().map(|row| row.body.as_str()).collect();
    // A cursor is base64: nothing in it needs an escape.
    let next = next.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
    let text = format!("{{\"items\":[{}],\"next\":{next}}}", bodies.join(","));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn time_read(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| {
            "a time such as 2026-01-31T08:00:00Z is expected (RFC 3339; write `+` as `%2B`)"
                .to_owned()
        })
}

pub(super) async fn show(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
) -> Result<Response, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let row = state
        .database
        .run(move |connection| {
            Ok::<_, Problem>(store::event_get(connection, id, owner.as_deref())?)
        })
        .await?
        .ok_or_else(|| Problem::not_found("event", id))?;
    Ok((
        [(header::CONTENT_TYPE, "application/cloudevents+json")],
        row.body,
    )
        .into_response())
}

/// What an event is owed to one subscription.
#[derive(Debug, Serialize)]
pub(super) struct Delivery {
    id: Uuid,
    subscription: Named,
    state: String,
    /// 20 digits.
    sequence: Option<String>,
    /// Null while it waits for an earlier one, for its subscription, or for nothing any more.
    due_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
    /// Why it was cancelled, if not because its subscription was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
struct Named {
    id: Uuid,
    name: String,
}

pub(super) async fn deliveries(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Delivery>>, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let page = PageRequest::read(&Parameters::read(query.as_deref(), &["limit", "cursor"])?)?;
    let (rows, mut by_delivery) = state
        .database
        .transaction(move |connection| {
            let owner = owner.as_deref();
            if store::event_get(connection, id, owner)?.is_none() {
                return Err(Problem::not_found("event", id));
            }
            let rows = store::delivery_list(connection, id, owner, page.after, page.rows_max())?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
            // How receivers answered is for those who look at one delivery.
            let attempts = attempts(connection, Whose::Deliveries, &ids, false)?;
            Ok((rows, attempts))
        })
        .await?;
    let deliveries = rows
        .into_iter()
        .map(|row| Delivery {
            id: row.id,
            subscription: Named {
                id: row.subscription_id,
                name: row.subscription_name,
            },
            state: row.state,
            sequence: row.sequence.map(|number| format!("{number:020}")),
            due_at: row.due_at,
            settled_at: row.settled_at,
            reason: cancelled_because(row.cancelled_by.as_deref()),
            attempts: by_delivery.remove(&row.id).unwrap_or_default(),
        })
        .collect();
    Ok(Json(
        page.page(deliveries, |delivery: &Delivery| delivery.id),
    ))
}
