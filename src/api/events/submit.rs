//! `POST /v1/events`: events that no row tells of.
//!
//! Guaranteed: all events of a request are accepted or none; one that is sent again, with the same
//! source and id, is published once. They are appended to the change table, so that cursor, order
//! and account are those of the rows.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    super::{ApiState, caller::Caller, idempotency::Memory, input::unread, problem::Problem},
    check::Item,
    intake::Sender,
};
use crate::auth::Action;

/// The longest `traceparent` header that is kept, in characters.
const TRACEPARENT_CHARS_MAX: usize = 255;

#[derive(Serialize)]
struct Accepted {
    items: Vec<Item>,
}

pub(crate) async fn submit(
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    caller.may(Action::SubmitEvents)?;
    let body = body.map_err(|rejection| unread(&rejection, state.limits.body_bytes_max))?;
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() <= TRACEPARENT_CHARS_MAX)
        .map(str::to_owned);
    let sender = Sender {
        memory: Memory::read(&headers, caller.name(), "POST /v1/events", &body)?,
        author: caller.name().to_owned(),
        traceparent,
    };
    let items = state.intake.accept(headers, body, sender).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { items })).into_response())
}
