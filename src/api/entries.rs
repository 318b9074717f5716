//! Event types and constraints have the same routes: list and make, show, replace and remove.
//!
//! Each edit is a version of the catalogue. Its author is the caller's key; the query parameter
//! `reason` says why.

mod state;
mod store;

use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::state::{State as EntryState, suspended};
use super::{
    ApiState,
    caller::Caller,
    fields::{name_take, spec_of},
    idempotency::Memory,
    input::{Body, Fields, Name, Parameters, invalid},
    problem::{Kind as ProblemKind, Problem, Warning},
};
use crate::{
    auth::Action,
    catalog::{
        edit::{By, Definition, EditError, Edited, entry_create, entry_remove, entry_replace},
        plan::Kind,
    },
    config::Limits,
    db::Connection,
    subscription::register::SpecProblem,
};

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// One kind of entries.
pub(super) trait Resource: 'static {
    /// As it is written.
    type Spec: DeserializeOwned + Send;
    const KIND: Kind;
    /// Of the list.
    const PATH: &'static str;
    fn definition(spec: Self::Spec) -> Definition;
    /// What serde can't tell apart.
    fn fields_check(_fields: &Fields) -> Option<SpecProblem> {
        None
    }
    /// Makes what depends on the entries what they now ask for, in the edit's transaction.
    fn settle(
        _connection: &mut Connection,
        _limits: &Limits,
        _now: DateTime<Utc>,
    ) -> Result<(), Problem> {
        Ok(())
    }
    /// Why the name can be neither made, changed nor removed, if so.
    fn name_check(_connection: &mut Connection, _name: &str) -> Result<(), Problem> {
        Ok(())
    }
}

/// An entry as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) name: String,
    /// Whether it exists without being written down.
    pub(super) standard: bool,
    state: EntryState,
    /// Why it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<String>,
    #[serde(flatten)]
    written: Option<Written>,
    #[serde(flatten)]
    pub(super) spec: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// When, by whom and why an entry was last changed.
#[derive(Debug, Serialize)]
struct Written {
    /// `folder` or `api`.
    origin: String,
    /// The catalogue's version.
    version: i64,
    changed_at: DateTime<Utc>,
    author: String,
    reason: String,
}

impl Shown {
    /// An entry that exists by itself.
    pub(super) fn standard(name: String, spec: Value) -> Self {
        Self {
            name,
            standard: true,
            state: EntryState::Active,
            state_reason: None,
            written: None,
            spec,
            warnings: Vec::new(),
        }
    }

    fn of(row: store::Row) -> Result<Self, Problem> {
        let spec = serde_json::from_str(&row.definition).map_err(|error| {
            tracing::error!(entry = row.name, %error, "a stored definition can't be read");
            Problem::internal()
        })?;
        Ok(Self {
            name: row.name,
            standard: false,
            state: EntryState::Active,
            state_reason: None,
            written: Some(Written {
                origin: row.origin,
                version: row.version,
                changed_at: row.changed_at,
                author: row.author,
                reason: row.reason,
            }),
            spec,
            warnings: Vec::new(),
        })
    }

    fn judged(mut self, suspended: &mut BTreeMap<String, String>) -> Self {
        self.state_reason = suspended.remove(&self.name);
        if self.state_reason.is_some() {
            self.state = EntryState::Suspended;
        }
        self
    }

    fn warned(mut self, edited: Edited) -> Self {
        self.warnings = Warning::all_of(edited.warnings);
        self
    }
}

/// All entries of a kind, by name.
pub(super) fn entries(connection: &mut Connection, kind: Kind) -> Result<Vec<Shown>, Problem> {
    let rows = store::entry_list(connection, kind.as_str(), None)?;
    let mut suspended = suspended(connection, kind, None)?;
    let rows = rows.into_iter();
    rows.map(|row| Ok(Shown::of(row)?.judged(&mut suspended)))
        .collect()
}

/// The entry called `name`; a problem if there is none.
pub(super) fn entry(connection: &mut Connection, kind: Kind, name: &str) -> Result<Shown, Problem> {
    let mut rows = store::entry_list(connection, kind.as_str(), Some(name))?;
    match rows.pop() {
        Some(row) => {
            let mut suspended = suspended(connection, kind, Some(name))?;
            Ok(Shown::of(row)?.judged(&mut suspended))
        }
        None => {
            let name = name.to_owned();
            Err(EditError::Absent { kind, name }.into())
        }
    }
}

pub(super) async fn create<R: Resource>(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Action::WriteCatalogue)?;
    let by = by(&caller, &state, query.as_deref())?;
    let route = format!("POST {}", R::PATH);
    let memory = Memory::read(&headers, caller.name(), &route, &body.bytes)?;
    let mut fields = body.fields;
    let name = name_take(&mut fields);
    let (name, definition) = match (name, definition_read::<R>(&fields)) {
        (Ok(name), Ok(definition)) => (name, definition),
        (name, definition) => {
            let problems = name.err().into_iter().chain(definition.err());
            return Err(Problem::of_body(problems.collect()));
        }
    };
    let limits = state.limits.clone();
    let made = state.database.transaction(move |connection| {
        if let Some(memory) = &memory {
            // Before the lock this would be a race; the lock is taken again, which is free.
            crate::registry::registry_lock(connection)?;
            if memory.recall(connection)?.is_some() {
                return entry(connection, R::KIND, &name);
            }
        }
        R::name_check(connection, &name)?;
        let edited = entry_create(connection, &name, &definition, &by)?;
        R::settle(connection, &limits, by.now)?;
        if let Some(memory) = &memory {
            memory.remember(connection, memory_id(R::KIND, &name), by.now)?;
        }
        Ok::<_, Problem>(entry(connection, R::KIND, &name)?.warned(edited))
    });
    let shown = made.await?;
    let location = format!("{}/{}", R::PATH, shown.name);
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, location, Json(shown)).into_response())
}

pub(super) async fn replace<R: Resource>(
    caller: Caller,
    Name(name): Name,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Action::WriteCatalogue)?;
    let by = by(&caller, &state, query.as_deref())?;
    let mut fields = body.fields;
    if fields.contains_key("name") && name_take(&mut fields).as_ref() != Ok(&name) {
        let text = format!("the name stays `{name}`; make another entry for another name");
        return Err(Problem::of_body(vec![SpecProblem::new("/name", text)]));
    }
    let definition =
        definition_read::<R>(&fields).map_err(|problem| Problem::of_body(vec![problem]))?;
    let limits = state.limits.clone();
    let replaced = state.database.transaction(move |connection| {
        R::name_check(connection, &name)?;
        let edited = entry_replace(connection, &name, &definition, &by)?;
        R::settle(connection, &limits, by.now)?;
        let is_new = edited.is_new;
        Ok::<_, Problem>((entry(connection, R::KIND, &name)?.warned(edited), is_new))
    });
    let (shown, is_new) = replaced.await?;
    if !is_new {
        return Ok(Json(shown).into_response());
    }
    let location = format!("{}/{}", R::PATH, shown.name);
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, location, Json(shown)).into_response())
}

pub(super) async fn remove<R: Resource>(
    caller: Caller,
    Name(name): Name,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    // A body means nothing here (RFC 9110, section 9.3.5); it is read so that the connection lives
    // on.
    drop(body);
    caller.may(Action::WriteCatalogue)?;
    let by = by(&caller, &state, query.as_deref())?;
    let limits = state.limits.clone();
    let removed = state.database.transaction(move |connection| {
        R::name_check(connection, &name)?;
        entry_remove(connection, R::KIND, &name, &by)?;
        R::settle(connection, &limits, by.now)
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn definition_read<R: Resource>(fields: &Fields) -> Result<Definition, SpecProblem> {
    match R::fields_check(fields) {
        Some(problem) => Err(problem),
        None => spec_of(fields).map(R::definition),
    }
}

fn by(caller: &Caller, state: &ApiState, query: Option<&str>) -> Result<By, Problem> {
    let parameters = Parameters::read(query, &["reason"])?;
    let reason = parameters.text("reason").unwrap_or_default().trim();
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        let text = format!("write at most {REASON_CHARS_MAX} characters, on one line");
        return Err(invalid("reason", text));
    }
    Ok(By {
        author: caller.name().to_owned(),
        reason: reason.to_owned(),
        now: state.clock.now(),
    })
}

/// Entries have names and no ids; what is remembered under an Idempotency-Key has one.
fn memory_id(kind: Kind, name: &str) -> Uuid {
    let digest = Sha256::new()
        .chain_update(kind.as_str())
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What to say of what exists by itself.
pub(super) fn standard_problem(name: &str) -> Problem {
    Problem::new(
        ProblemKind::Standard,
        format!("`{name}` exists by itself and can't be made, changed or removed"),
    )
}
