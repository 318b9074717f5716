//! `/v1/account`: what came in, and what became of all of it.
//!
//! A key of the role subscriber sees its own subscriptions, and nothing of the whole. It reads
//! whole tables, so an answer may be a minute old; `at` says when it was drawn up.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    ApiState,
    caller::Caller,
    input::Parameters,
    page::{Page, PageRequest},
    problem::Problem,
};
use crate::{
    account::{Changes, Entry, Pairs, Report, suspects::Suspect},
    auth::Action,
};

const PARAMETERS: [&str; 3] = ["subscription", "limit", "cursor"];

/// What is answered.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    at: DateTime<Utc>,
    /// Whether everything that the caller sees adds up.
    adds_up: bool,
    /// Null for a caller who sees its own subscriptions only, as `events`.
    changes: Option<Changes>,
    events: Option<i64>,
    /// Of all subscriptions that the caller sees, also those on other pages.
    pairs: Pairs,
    subscriptions: Page<Entry>,
    suspects: Vec<Suspect>,
}

pub(super) async fn show(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Shown>, Problem> {
    let owner = caller.owner_for(Action::ReadSubscriptions)?;
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let page = PageRequest::read(&parameters)?;
    let wanted = parameters.value("subscription", |text| {
        Uuid::parse_str(text).map_err(|_| "the id of a subscription is expected".to_owned())
    })?;
    let now = state.clock.now();
    let report = state.accounts.shown(&state.database, now).await?;
    let seen = seen(&report, owner.as_deref(), wanted);
    if let Some(id) = wanted.filter(|_| seen.subscriptions.is_empty()) {
        return Err(Problem::not_found("subscription", id));
    }
    let is_whole = owner.is_none() && wanted.is_none();
    let behind = |entry: &&Entry| page.after.is_none_or(|after| entry.id > after);
    let rows = seen.subscriptions.iter().filter(behind).cloned();
    let rows = rows.take(usize::try_from(page.rows_max()).unwrap_or(usize::MAX));
    Ok(Json(Shown {
        at: seen.at,
        adds_up: seen.adds_up(),
        changes: is_whole.then_some(seen.changes),
        events: is_whole.then_some(seen.events),
        pairs: seen.pairs(),
        subscriptions: page.page(rows.collect(), |entry: &Entry| entry.id),
        suspects: seen.suspects,
    }))
}

/// What of a report is for this caller.
fn seen(report: &Report, owner: Option<&str>, wanted: Option<Uuid>) -> Report {
    if owner.is_none() && wanted.is_none() {
        return report.clone();
    }
    let is_seen = |entry: &&Entry| {
        owner.is_none_or(|owner| entry.owner.as_deref() == Some(owner))
            && wanted.is_none_or(|id| entry.id == id)
    };
    let subscriptions: Vec<Entry> = report
        .subscriptions
        .iter()
        .filter(is_seen)
        .cloned()
        .collect();
    let is_of_them = |suspect: &&Suspect| {
        let of = |id| subscriptions.iter().any(|entry| entry.id == id);
        suspect.subscription.is_some_and(of)
    };
    Report {
        at: report.at,
        changes: Changes::default(),
        events: 0,
        suspects: report.suspects.iter().filter(is_of_them).cloned().collect(),
        subscriptions,
    }
}
