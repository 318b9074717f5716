//! `/v1/digests`: the digests of batch subscriptions.
//!
//! A key of the role subscriber sees those of its own subscriptions.

mod store;

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
use crate::auth::Action;

const PARAMETERS: [&str; 3] = ["subscription", "limit", "cursor"];

/// A digest as it is now.
#[derive(Debug, Serialize)]
pub(super) struct Digest {
    id: Uuid,
    subscription: Named,
    /// From 1, in the order of their closes; null while it is open.
    number: Option<i64>,
    state: String,
    window: Window,
    /// When it is closed at the latest; null: by its number of events only, or it is closed.
    close_at: Option<DateTime<Utc>>,
    closed_by: Option<String>,
    /// Its events.
    count: i64,
    /// Of these, how many are in no part.
    vanished: i64,
    /// Null until it is condensed.
    parts: Option<i32>,
}

#[derive(Debug, Serialize)]
struct Named {
    id: Uuid,
    name: String,
}

#[derive(Debug, Serialize)]
struct Window {
    from: DateTime<Utc>,
    /// Null while it is open.
    to: Option<DateTime<Utc>>,
}

/// Newest first.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Digest>>, Problem> {
    let owner = caller.owner_for(Action::ReadEvents)?;
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let page = PageRequest::read(&parameters)?;
    let subscription = parameters.value("subscription", |text| {
        Uuid::parse_str(text).map_err(|_| "the id of a subscription is expected".to_owned())
    })?;
    let rows = state
        .database
        .run(move |connection| {
            let owner = owner.as_deref();
            let before = page.after;
            let rows = store::digest_list(connection, subscription, owner, before, page.rows_max());
            Ok::<_, Problem>(rows?)
        })
        .await?;
    let digests = rows.into_iter().map(Digest::from).collect();
    Ok(Json(page.page(digests, |digest: &Digest| digest.id)))
}

impl From<store::DigestRow> for Digest {
    fn from(row: store::DigestRow) -> Self {
        Self {
            id: row.id,
            subscription: Named {
                id: row.subscription_id,
                name: row.subscription_name,
            },
            number: row.number,
            state: row.state,
            window: Window {
                from: row.opened_at,
                to: row.closed_at,
            },
            close_at: row.close_at,
            closed_by: row.closed_by,
            count: row.events,
            vanished: row.vanished,
            parts: row.parts,
        }
    }
}
