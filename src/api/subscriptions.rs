//! `/v1/subscriptions`: registering, showing, changing and removing subscriptions.
//!
//! A key of the role subscriber sees and edits its own; another's id answers as if there were none.

mod fields;
mod store;
mod suspended;
pub(super) mod trust;

use std::collections::HashMap;

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use uuid::Uuid;

use super::{
    ApiState,
    caller::Caller,
    idempotency::Memory,
    input::{Body, Fields, Id, Parameters},
    page::{Page, PageRequest},
    problem::{Kind, Problem, Warning},
};
use crate::{
    auth::Action,
    catalog::model::Catalog,
    db::Connection,
    registry::registry_lock,
    start::shown::{StartShown, starts_shown},
    subscription::{
        model::{SecretSpec, Start, SubscriptionSpec},
        register::{Origin, Registration, Removal, check, register, remove, replace},
        secret::SecretKey,
        selection::selection_review,
        state::{Switch, subscription_pause, subscription_resume},
    },
};
use fields::StateAsked;
use suspended::SuspendedOn;
use trust::TrustShown;

/// A subscription as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: Uuid,
    name: String,
    state: String,
    /// Why Rowcall disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<String>,
    /// `folder` or `api`.
    origin: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(flatten)]
    spec: SubscriptionSpec,
    /// Of one that did not begin `now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<StartShown>,
    /// Where the filter can't be judged now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suspended: Vec<SuspendedOn>,
    /// Its public key, the rotation of its secret, and its verification, where there are such.
    #[serde(flatten)]
    trust: TrustShown,
    /// Only in the answer to the request that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

impl Shown {
    fn of(row: store::Row, starts: &mut HashMap<Uuid, StartShown>) -> Result<Self, Problem> {
        let spec = serde_json::from_str(&row.definition).map_err(|error| {
            tracing::error!(subscription = %row.id, %error, "a stored definition can't be read");
            Problem::internal()
        })?;
        Ok(Self {
            id: row.id,
            name: row.name,
            state: row.state,
            state_reason: row.state_reason,
            origin: row.origin,
            created_at: row.created_at,
            updated_at: row.updated_at,
            start: starts.remove(&row.id),
            spec: shown_spec(spec),
            suspended: Vec::new(),
            trust: TrustShown::default(),
            warnings: Vec::new(),
        })
    }

    fn warned(mut self, warnings: Vec<Warning>) -> Self {
        self.warnings = warnings;
        self
    }
}

/// Without its secret, and without the start, of which more is told than it says.
fn shown_spec(mut spec: SubscriptionSpec) -> SubscriptionSpec {
    if let Some(secret) = spec.sink.secret_mut() {
        *secret = None;
    }
    spec.start = Start::Now;
    spec
}

/// The answer to a registration, the one place where a secret is shown.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    shown: &'a Shown,
    /// Missing for a sink that signs nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

pub(super) async fn create(
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Action::WriteSubscriptions)?;
    let memory = Memory::read(
        &headers,
        caller.name(),
        "POST /v1/subscriptions",
        &body.bytes,
    )?;
    let (name, mut spec) = fields::registration_read(body.fields)?;
    trust::policy(&mut spec, state.verify)?;
    let owner = caller.name().to_owned();
    let now = state.clock.now();
    let (database, wake) = (state.database.clone(), state.wake.clone());
    let ask = state.ask.clone();
    let (shown, secret) = database
        .transaction(move |connection| {
            registry_lock(connection)?;
            if let Some(memory) = &memory
                && let Some(id) = memory.recall(connection)?
            {
                return created_before(connection, &state.secret_key, id);
            }
            let catalog = Catalog::load(connection)?;
            let warnings = judge(connection, &name, &spec, &catalog, &state)?;
            let registration = Registration {
                name,
                spec,
                origin: Origin::Api,
                owner: Some(owner),
            };
            let made = register(connection, &state.secret_key, &catalog, registration, now)?;
            if let Some(memory) = &memory {
                memory.remember(connection, made.id, now)?;
            }
            let shown = found(connection, made.id, None)?.warned(warnings);
            Ok::<_, Problem>((shown, made.secret))
        })
        .await?;
    wake.ring();
    ask.ring();
    let location = format!("/v1/subscriptions/{}", shown.id);
    let answer = Created {
        shown: &shown,
        secret: secret.as_ref().map(SecretString::expose_secret),
    };
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(answer),
    )
        .into_response())
}

/// The answer to a registration that is repeated under its Idempotency-Key.
fn created_before(
    connection: &mut Connection,
    key: &SecretKey,
    id: Uuid,
) -> Result<(Shown, Option<SecretString>), Problem> {
    let row = store::subscription_get(connection, id, None)?.ok_or_else(|| {
        Problem::new(
            Kind::NotFound,
            format!(
                "this Idempotency-Key registered the subscription {id}, which was deleted since; \
                 use another key to register anew"
            ),
        )
    })?;
    let opened = trust::secret_again(connection, key, id)?;
    let mut shown = [Shown::of(row, &mut starts_shown(connection, &[id])?)?];
    trust::mark(connection, &mut shown)?;
    let [shown] = shown;
    Ok((shown, opened))
}

pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Shown>>, Problem> {
    let owner = caller.owner_for(Action::ReadSubscriptions)?;
    let page = PageRequest::read(&Parameters::read(query.as_deref(), &["limit", "cursor"])?)?;
    let read = state.database.run(move |connection| {
        let (after, rows_max) = (page.after, page.rows_max());
        let rows = store::subscription_list(connection, owner.as_deref(), after, rows_max)?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut starts = starts_shown(connection, &ids)?;
        let shown = rows.into_iter().map(|row| Shown::of(row, &mut starts));
        let mut shown = shown.collect::<Result<Vec<Shown>, Problem>>()?;
        suspended::mark(connection, &mut shown)?;
        trust::mark(connection, &mut shown)?;
        Ok::<_, Problem>((page, shown))
    });
    let (page, shown) = read.await?;
    Ok(Json(page.page(shown, |shown| shown.id)))
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

/// JSON merge patch (RFC 7396) over the specification, and `state`.
pub(super) async fn patch(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    body: Body,
) -> Result<Json<Shown>, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let (asked, changes) = fields::patch_read(body.fields)?;
    let now = state.clock.now();
    let (database, wake) = (state.database.clone(), state.wake.clone());
    let ask = state.ask.clone();
    let shown = database
        .transaction(move |connection| {
            registry_lock(connection)?;
            let row = store::subscription_get(connection, id, owner.as_deref())?
                .ok_or_else(|| Problem::not_found("subscription", id))?;
            let mut warnings = Vec::new();
            if !changes.is_empty() {
                warnings = change(connection, &state, &row, changes, now)?;
            }
            let switch = match asked {
                None => Switch::Done,
                Some(StateAsked::Paused) => subscription_pause(connection, id, now)?,
                Some(StateAsked::Active) => subscription_resume(connection, id, now)?,
            };
            match switch {
                Switch::Done => Ok(found(connection, id, None)?.warned(warnings)),
                Switch::Absent => Err(Problem::not_found("subscription", id)),
            }
        })
        .await?;
    wake.ring();
    ask.ring();
    Ok(Json(shown))
}

fn change(
    connection: &mut Connection,
    state: &ApiState,
    row: &store::Row,
    changes: Fields,
    now: DateTime<Utc>,
) -> Result<Vec<Warning>, Problem> {
    refuse_folder(row, "change it there; only `state` can be changed here")?;
    let mut spec = fields::merged_read(&row.definition, changes)?;
    trust::policy(&mut spec, state.verify)?;
    let catalog = Catalog::load(connection)?;
    let warnings = judge(connection, &row.name, &spec, &catalog, state)?;
    replace(connection, &state.secret_key, &catalog, row.id, spec, now)?;
    Ok(warnings)
}

pub(super) async fn delete(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    // A body means nothing here (RFC 9110, section 9.3.5); it is read so that the connection lives
    // on.
    drop(body);
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let now = state.clock.now();
    let removal = state
        .database
        .transaction(move |connection| {
            registry_lock(connection)?;
            let row = store::subscription_get(connection, id, owner.as_deref())?
                .ok_or_else(|| Problem::not_found("subscription", id))?;
            refuse_folder(&row, "remove it there and apply the folder")?;
            Ok::<_, Problem>(remove(connection, id, now)?)
        })
        .await?;
    match removal {
        Removal::Removed => Ok(StatusCode::NO_CONTENT),
        Removal::Absent => Err(Problem::not_found("subscription", id)),
    }
}

fn refuse_folder(row: &store::Row, advice: &str) -> Result<(), Problem> {
    if row.origin != Origin::Folder.as_str() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::KeptInFolder,
        format!("`{}` is kept in the metadata folder; {advice}", row.name),
    ))
}

/// Refuses what is not valid; returns what will surprise.
fn judge(
    connection: &mut Connection,
    name: &str,
    spec: &SubscriptionSpec,
    catalog: &Catalog,
    state: &ApiState,
) -> Result<Vec<Warning>, Problem> {
    let mut problems = check(name, spec, catalog, &state.guard, state.mail.as_deref());
    let selection = selection_review(connection, spec, catalog)?;
    problems.extend(selection.problems);
    if let Some(SecretSpec::Environment { .. }) = spec.sink.secret() {
        problems.push(fields::environment_problem());
    }
    if problems.is_empty() {
        Ok(Warning::all_of(selection.warnings))
    } else {
        Err(Problem::of_body(problems))
    }
}

fn found(connection: &mut Connection, id: Uuid, owner: Option<&str>) -> Result<Shown, Problem> {
    let row = store::subscription_get(connection, id, owner)?;
    let row = row.ok_or_else(|| Problem::not_found("subscription", id))?;
    let mut shown = [Shown::of(row, &mut starts_shown(connection, &[id])?)?];
    suspended::mark(connection, &mut shown)?;
    trust::mark(connection, &mut shown)?;
    let [shown] = shown;
    Ok(shown)
}
