//! Requests that are wrong before any resource sees them, and a database that is away.

use axum::{
    body::Body,
    http::{Request, header},
};
use rowcall::{auth::Role, observe::readiness::Need};
use tokio::sync::watch;

use crate::{
    harness::{ADMIN_KEY, Api, order_subscription, request},
    support::postgres::execute,
};

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_a_problem_document() {
    let api = Api::start();
    api.get("/v1/subscription")
        .await
        .is_problem(404, "no-such-route", &["docs/API.md"]);
    let answer = api.call(ADMIN_KEY, "PUT", "/v1/subscriptions", "{}").await;
    answer.is_problem(405, "method-not-allowed", &["PUT", "Allow"]);
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD,POST");
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_told_where_it_breaks() {
    let api = Api::start();
    for (body, status, slug, says) in [
        (
            "{\"name\": \"x\",\n  \"mode\": synchronous}",
            400,
            "malformed-json",
            "line 2 column",
        ),
        ("{\"name\": \"x\"", 400, "malformed-json", "line 1 column"),
        ("", 400, "malformed-json", "the body is empty"),
        ("[1, 2]", 422, "invalid-body", "a JSON object is expected"),
    ] {
        let answer = api.call(ADMIN_KEY, "POST", "/v1/subscriptions", body).await;
        answer.is_problem(status, slug, &[says]);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    let api = Api::start();
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(10_000));
    let answer = api
        .call(ADMIN_KEY, "POST", "/v1/subscriptions", &body)
        .await;
    answer.is_problem(413, "too-large", &["10000 bytes", "limits.body_bytes_max"]);
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    let api = Api::start();
    for media_type in [Some("text/plain"), None] {
        let mut request = Request::builder()
            .method("POST")
            .uri("/v1/subscriptions")
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"));
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let answer = api.send(request.body(Body::from("{}")).unwrap()).await;
        answer.is_problem(
            415,
            "unsupported-media-type",
            &["Content-Type: application/json"],
        );
    }
}

#[tokio::test]
async fn when_the_database_is_away_nothing_is_answered_with_success() {
    let api = Api::start();
    let key = api.key(Role::Admin);
    let parked = format!("{}_away", api.database.name);
    let admin = api.database.url.replace(&api.database.name, "postgres");
    api.registered(ADMIN_KEY, "before").await;

    // WHEN the database goes away, with the sessions that the pool holds
    let terminate = format!(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{}'",
        api.database.name
    );
    execute(&admin, &terminate);
    execute(
        &admin,
        &format!("alter database {} rename to {parked}", api.database.name),
    );
    let body = order_subscription("meanwhile").to_string();
    let answers = tokio::join!(
        api.call(&key, "GET", "/v1/subscriptions", ""),
        api.call(ADMIN_KEY, "GET", "/v1/events", ""),
        api.call(ADMIN_KEY, "POST", "/v1/subscriptions", &body),
    );
    for answer in [answers.0, answers.1, answers.2] {
        answer.is_problem(503, "unavailable", &["ask again"]);
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }

    // THEN it works again when the database is back
    execute(
        &admin,
        &format!("alter database {parked} rename to {}", api.database.name),
    );
    assert_eq!(
        api.call(&key, "POST", "/v1/subscriptions", &body)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn sessions_that_were_killed_are_replaced() {
    let api = Api::start();
    api.registered(ADMIN_KEY, "before").await;
    let admin = api.database.url.replace(&api.database.name, "postgres");
    let terminate = format!(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{}'",
        api.database.name
    );
    execute(&admin, &terminate);
    // One answer may tell of the broken session; the next has a new one.
    let first = api.get("/v1/subscriptions").await.status;
    assert!([200, 503].contains(&first), "{first}");
    assert_eq!(api.get("/v1/subscriptions").await.status, 200);
}

#[tokio::test]
async fn health_needs_no_key() {
    let api = Api::start();
    let ask = |path: &'static str| request("", "GET", path).body(Body::empty()).unwrap();
    let live = api.send(ask("/livez")).await;
    assert_eq!((live.status, live.text.as_str()), (200, "ok\n"));

    let (publish, health) = watch::channel(None);
    api.readiness.check_add("publish", Need::Necessary, health);
    api.readiness
        .warning_set("doorbell", "LISTEN does not work; polling");
    let ready = api.send(ask("/readyz")).await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json["status"], "ready");
    assert_eq!(ready.json["stages"]["publish"], "ok");
    assert_eq!(ready.json["warnings"][0], "LISTEN does not work; polling");

    publish.send_replace(Some("the database can't be reached".to_owned()));
    let not_ready = api.send(ask("/readyz")).await;
    assert_eq!(
        (not_ready.status, &not_ready.json["status"]),
        (503, &"not_ready".into())
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    rowcall::observe::metrics::install();
    let api = Api::start();
    api.get("/v1/events/019c132c-0000-7000-8000-00000000abcd")
        .await;
    let answer = api
        .send(request("", "GET", "/metrics").body(Body::empty()).unwrap())
        .await;
    assert_eq!(answer.status, 200);
    let line =
        "rowcall_api_requests_total{route=\"/v1/events/{id}\",method=\"GET\",status=\"404\"}";
    assert!(answer.text.contains(line), "{}", answer.text);
    assert!(!answer.text.contains("abcd"));
}
