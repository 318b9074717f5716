//! The HTTP API under `/v1`, and what operators ask: `/livez`, `/readyz`, `/metrics`.
//!
//! The players: `caller` lets a request in, `input` reads it, one file a resource answers it, and
//! [`Problem`] is every answer that is no success. `layers` stands round all of them.
//!
//! Guaranteed: nothing is answered with success that is not committed; every refusal says what is
//! wrong, where, and what to do; bodies, pages and waits are bounded; a secret is in the answer to
//! the request that made it, and in no other.

mod account;
mod attempts;
mod caller;
mod constraints;
mod deliveries;
mod digests;
mod entries;
mod event_types;
mod events;
mod explain;
mod fields;
mod health;
mod idempotency;
mod input;
mod layers;
mod page;
mod problem;
mod replays;
mod since;
mod subscriptions;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, map_response},
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use constraints::Constraints;
use event_types::EventTypes;
pub use events::Intake;
pub use problem::Problem;

use crate::{
    account::Accounts,
    auth::{AdminKey, Keys},
    clock::Clock,
    config::Limits,
    db::Database,
    observe::readiness::Readiness,
    sink::{AddressGuard, MailSettings},
    stage::Nudge,
    subscription::{secret::SecretKey, verify::Verify},
};

/// What the API works with; clones share it.
#[derive(Clone)]
pub struct ApiState {
    /// The repository.
    pub database: Database,
    /// The time that is written.
    pub clock: Clock,
    /// Encrypts the secrets of subscriptions.
    pub secret_key: Arc<SecretKey>,
    /// Judges the URLs of subscriptions.
    pub guard: Arc<AddressGuard>,
    /// The operator's mail server, if there is one.
    pub mail: Option<Arc<MailSettings>>,
    /// The bootstrap key, if there is one.
    pub admin_key: Option<AdminKey>,
    /// The API keys.
    pub keys: Keys,
    /// Takes submitted events in.
    pub intake: Intake,
    /// `body_bytes_max` bounds the bodies.
    pub limits: Limits,
    /// What the receivers of webhooks must pass.
    pub verify: Verify,
    /// Rung after a commit that may have made deliveries due.
    pub wake: Nudge,
    /// Rung after a commit that asks for a replay.
    pub replays: Nudge,
    /// Rung after a commit by which a receiver may have to be asked.
    pub ask: Nudge,
    /// What /readyz tells.
    pub readiness: Readiness,
    /// The account as it was drawn up last.
    pub accounts: Accounts,
}

/// All routes.
pub fn router(state: ApiState) -> Router {
    let body_bytes_max = state.limits.body_bytes_max;
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route(
            "/v1/subscriptions",
            get(subscriptions::list).post(subscriptions::create),
        )
        .route(
            "/v1/subscriptions/{id}",
            get(subscriptions::show)
                .patch(subscriptions::patch)
                .delete(subscriptions::delete),
        )
        .route("/v1/subscriptions/{id}/since/{sequence}", get(since::show))
        .route(
            "/v1/subscriptions/{id}/rotate-secret",
            post(subscriptions::trust::rotate_secret),
        )
        .route(
            "/v1/subscriptions/{id}/verify",
            post(subscriptions::trust::verify),
        )
        .route(
            "/v1/event-types",
            get(event_types::list).post(entries::create::<EventTypes>),
        )
        .route(
            "/v1/event-types/{name}",
            get(event_types::show)
                .put(entries::replace::<EventTypes>)
                .delete(entries::remove::<EventTypes>),
        )
        .route("/v1/event-types/{name}/schema", get(event_types::schema))
        .route(
            "/v1/constraints",
            get(constraints::list).post(entries::create::<Constraints>),
        )
        .route(
            "/v1/constraints/{name}",
            get(constraints::show)
                .put(entries::replace::<Constraints>)
                .delete(entries::remove::<Constraints>),
        )
        .route("/v1/account", get(account::show))
        .route("/v1/digests", get(digests::list))
        .route("/v1/events", get(events::list).post(events::submit::submit))
        .route("/v1/events/{id}", get(events::show))
        .route("/v1/events/{id}/deliveries", get(events::deliveries))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/deliveries/{id}/replay", post(deliveries::replay))
        .route("/v1/deliveries/{id}/release", post(deliveries::release))
        .route("/v1/replays", get(replays::list).post(replays::create))
        .route(
            "/v1/replays/{id}",
            get(replays::show).delete(replays::cancel),
        )
        .route("/v1/explain", get(explain::show))
        .fallback(layers::no_such_route)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(from_fn(layers::bound_time))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(map_response(layers::forbid_caching))
        .layer(from_fn(layers::count))
        .with_state(state)
}
