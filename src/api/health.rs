//! What operators and orchestrators ask. Open to all who reach the port: neither rows nor secrets.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::ApiState;
use crate::observe::metrics;

/// The program serves; whether it can work is /readyz's to say.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 503 only when capture or publishing can't work; holes are warnings.
pub(super) async fn readyz(State(state): State<ApiState>) -> Response {
    let report = state.readiness.report();
    let status = if report.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

/// The text format of Prometheus, version 0.0.4.
pub(super) async fn metrics() -> impl IntoResponse {
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], metrics::render())
}
