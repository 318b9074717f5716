//! Requests to the instance's API.

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::app::{ADMIN_KEY, TestApp};

/// The status and the JSON of the answer to a request with the bootstrap key.
pub(crate) async fn call(
    app: &TestApp,
    method: &str,
    path: &str,
    media_type: &str,
    text: &str,
) -> (u16, Value) {
    call_as(app, ADMIN_KEY, method, path, media_type, text).await
}

/// The same with another key.
pub(crate) async fn call_as(
    app: &TestApp,
    key: &str,
    method: &str,
    path: &str,
    media_type: &str,
    text: &str,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, media_type)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Body::from(text.to_owned()))
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

pub(crate) async fn get(app: &TestApp, path: &str) -> (u16, Value) {
    call(app, "GET", path, "application/json", "").await
}

/// Submits events, and tells of each whether it was there before.
pub(crate) async fn submit(app: &TestApp, media_type: &str, events: &Value) -> Vec<bool> {
    let text = events.to_string();
    let (status, answer) = call(app, "POST", "/v1/events", media_type, &text).await;
    assert_eq!(status, 202, "{answer}");
    let items = answer["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["duplicate"].as_bool().unwrap())
        .collect()
}
