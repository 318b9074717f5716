//! `/v1/replays`: settled deliveries are sent again, because somebody asks for it.
//!
//! A key of the role subscriber asks for, sees and cancels those of its own subscriptions.

mod fields;
mod store;

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    ApiState,
    caller::Caller,
    deliveries::Named,
    idempotency::Memory,
    input::{Body, Id, Parameters},
    page::{Page, PageRequest},
    problem::{Kind, Problem},
};
use crate::{
    auth::Action,
    db::Connection,
    registry::registry_lock,
    replay::{
        order::{Order, RUNNING_MAX, Selection, place},
        store::{replay_cancel, replay_running_count},
    },
    sink::{check_email, check_url},
    subscription::model::{SinkSpec, SubscriptionSpec},
};

const PARAMETERS: [&str; 3] = ["subscription", "limit", "cursor"];

/// A replay as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: Uuid,
    subscription: Named,
    asked_by: String,
    /// What is sent again, as it was asked for.
    selection: Selection,
    rate: String,
    /// `searching`, `sending`, `done`, `cancelled` or `failed`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// From when on every event is kept, if a time was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_from: Option<DateTime<Utc>>,
    found: i64,
    /// Of those found: not yet, or just being sent.
    queued: i64,
    sent: i64,
    failed: i64,
    cancelled: i64,
    /// What they told is not kept any more.
    gone: i64,
}

pub(super) async fn create(
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let memory = Memory::read(&headers, caller.name(), "POST /v1/replays", &body.bytes)?;
    let now = state.clock.now();
    let per_second_max = state.limits.replay_sends_per_second_max;
    let asked = fields::asked_read(&body.fields, per_second_max, now)?;
    let asked_by = caller.name().to_owned();
    let (database, nudge) = (state.database.clone(), state.replays.clone());
    let shown = database
        .transaction(move |connection| {
            registry_lock(connection)?;
            if let Some(memory) = &memory
                && let Some(made) = memory.recall(connection)?
            {
                return found(connection, made, None);
            }
            let subscription =
                store::subscription_find(connection, &asked.subscription, owner.as_deref())?
                    .ok_or_else(|| {
                        let text = format!("there is no subscription `{}`", asked.subscription);
                        Problem::at(Kind::InvalidBody, "/subscription", text)
                    })?;
            let spec = refuse_unfit(connection, &state, subscription)?;
            fields::selection_check(connection, &spec, &asked.selection)?;
            let order = Order {
                subscription_id: subscription,
                asked_by,
                selection: asked.selection,
                pace: asked.pace,
            };
            let made = place(connection, &order, now)?;
            if let Some(memory) = &memory {
                memory.remember(connection, made, now)?;
            }
            found(connection, made, None)
        })
        .await?;
    nudge.ring();
    Ok(accepted(shown))
}

/// The answer to a replay that will be done.
pub(super) fn accepted(shown: Shown) -> Response {
    let location = format!("/v1/replays/{}", shown.id);
    let headers = [(header::LOCATION, location)];
    (StatusCode::ACCEPTED, headers, Json(shown)).into_response()
}

/// Refuses where nothing can be sent: the subscription is not active, or has no sink that could be
/// reached, or too many replays are under way. Returns what the subscription asks for.
pub(super) fn refuse_unfit(
    connection: &mut Connection,
    state: &ApiState,
    subscription: Uuid,
) -> Result<SubscriptionSpec, Problem> {
    let row = store::subscription_get(connection, subscription)?
        .ok_or_else(|| Problem::not_found("subscription", subscription))?;
    let name = &row.name;
    let refused = |kind, text: String| Err(Problem::new(kind, text));
    match row.state.as_str() {
        "active" => {}
        "deleted" => {
            let text =
                format!("the subscription `{name}` was deleted: there is nowhere to send it");
            return refused(Kind::NotReplayable, text);
        }
        other => {
            let text = format!("the subscription `{name}` is {other}; resume it first");
            return refused(Kind::NotActive, text);
        }
    }
    let spec: SubscriptionSpec = serde_json::from_str(&row.definition).map_err(|error| {
        tracing::error!(%subscription, %error, "a stored definition can't be read");
        Problem::internal()
    })?;
    let unreachable = match &spec.sink {
        SinkSpec::Webhook { url, .. } => {
            let refusal = check_url(url, &state.guard).err();
            refusal.map(|refusal| refusal.to_string())
        }
        SinkSpec::Email(email) => check_email(email, spec.mode.as_str(), state.mail.as_deref())
            .into_iter()
            .next()
            .map(|(_, text)| text),
    };
    if let Some(text) = unreachable {
        let text = format!("nothing can be sent to the subscription `{name}`: {text}");
        return refused(Kind::NotReplayable, text);
    }
    if replay_running_count(connection)? >= RUNNING_MAX {
        let text = format!(
            "{RUNNING_MAX} replays are under way already, which is the limit; ask again when some \
             are done"
        );
        return refused(Kind::NotReplayable, text);
    }
    Ok(spec)
}

/// Newest first.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Shown>>, Problem> {
    let owner = caller.owner_for(Action::ReadSubscriptions)?;
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let page = PageRequest::read(&parameters)?;
    let subscription = parameters.value("subscription", |text| {
        Uuid::parse_str(text).map_err(|_| "the id of a subscription is expected".to_owned())
    })?;
    let shown = state
        .database
        .run(move |connection| {
            let rows = store::replay_list(
                connection,
                subscription,
                owner.as_deref(),
                page.after,
                page.rows_max(),
            )?;
            let shown = rows.into_iter().map(Shown::of);
            shown.collect::<Result<Vec<Shown>, Problem>>()
        })
        .await?;
    Ok(Json(page.page(shown, |shown: &Shown| shown.id)))
}

pub(super) async fn show(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
) -> Result<Json<Shown>, Problem> {
    let owner = caller.owner_for(Action::ReadSubscriptions)?;
    let shown = state
        .database
        .run(move |connection| found(connection, id, owner.as_deref()))
        .await?;
    Ok(Json(shown))
}

/// Cancels a replay; one that has ended stays as it is.
pub(super) async fn cancel(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    body: Bytes,
) -> Result<Json<Shown>, Problem> {
    // A body means nothing here (RFC 9110, section 9.3.5); it is read so that the connection lives
    // on.
    drop(body);
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let now = state.clock.now();
    let shown = state
        .database
        .transaction(move |connection| {
            found(connection, id, owner.as_deref())?;
            replay_cancel(connection, id, None, now)?;
            found(connection, id, owner.as_deref())
        })
        .await?;
    Ok(Json(shown))
}

/// A replay that the caller may see.
pub(super) fn found(
    connection: &mut Connection,
    id: Uuid,
    owner: Option<&str>,
) -> Result<Shown, Problem> {
    let row = store::replay_get(connection, id, owner)?;
    Shown::of(row.ok_or_else(|| Problem::not_found("replay", id))?)
}

impl Shown {
    fn of(row: store::ReplayRow) -> Result<Self, Problem> {
        let selection: Selection = serde_json::from_str(&row.selection).map_err(|error| {
            tracing::error!(replay = %row.id, %error, "a replay's selection can't be read");
            Problem::internal()
        })?;
        let first = row.first_kept;
        Ok(Self {
            id: row.id,
            subscription: Named {
                id: row.subscription_id,
                name: row.subscription_name,
            },
            asked_by: row.asked_by,
            complete_from: selection.from.and_then(|from| Some(first?.max(from))),
            selection,
            rate: row.rate,
            state: row.state,
            reason: row.reason,
            created_at: row.created_at,
            ended_at: row.ended_at,
            found: row.found,
            queued: row.found - row.sent - row.failed - row.cancelled - row.gone,
            sent: row.sent,
            failed: row.failed,
            cancelled: row.cancelled,
            gone: row.gone,
        })
    }
}
