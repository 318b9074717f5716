//! What stands round every route: the deadline, panics, counting, and the routes that aren't there.

use std::{any::Any, time::Duration};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::problem::{Kind, Problem};
use crate::observe::metrics::API_REQUESTS;

/// The deadline of one request, to the last byte of its body and to its commit: longer than the
/// pool waits for a connection, shorter than most clients wait for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

pub(super) async fn no_such_route(uri: Uri) -> Problem {
    Problem::new(
        Kind::NoSuchRoute,
        format!("nothing is at {}; docs/API.md lists the paths", uri.path()),
    )
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        format!(
            "{} has no {method}; the Allow header lists what it has",
            uri.path()
        ),
    )
}

/// Answers when the time is up. What was begun may still be committed, as after any lost answer.
pub(super) async fn bound_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Kind::Timeout,
            format!(
                "no answer within {} s; ask whether it was done before you send it again, or send \
                 it with an Idempotency-Key",
                REQUEST_TIMEOUT.as_secs()
            ),
        )
        .into_response(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer asks for this signature"
)]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(
        panic = text.unwrap_or("of another kind"),
        "a request panicked"
    );
    Problem::internal().into_response()
}

/// Answers hold secrets and what only their caller may see, so no cache keeps them.
pub(super) async fn forbid_caching(mut response: Response) -> Response {
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Counts by route, never by path: paths are without number.
pub(super) async fn count(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!(API_REQUESTS, "route" => route, "method" => method, "status" => status)
        .increment(1);
    response
}
