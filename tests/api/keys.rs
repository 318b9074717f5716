//! Who is let in, and how far.

use axum::http::header;
use rowcall::auth::{Role, store::key_revoke};
use serde_json::json;

use crate::harness::{ADMIN_KEY, Api, order_subscription, request};

#[tokio::test]
async fn without_a_key_the_answer_says_how_to_send_one() {
    let api = Api::start();
    let answer = api.call("", "GET", "/v1/subscriptions", "").await;
    answer.is_problem(
        401,
        "missing-key",
        &["Authorization: Bearer", "rowcall key create"],
    );
    assert_eq!(
        answer.headers[header::WWW_AUTHENTICATE],
        "Bearer realm=\"rowcall\""
    );
}

#[tokio::test]
async fn another_scheme_is_a_missing_key() {
    let api = Api::start();
    let request = request("", "GET", "/v1/subscriptions")
        .header(header::AUTHORIZATION, "Basic cm9vdDpyb290")
        .body(axum::body::Body::empty())
        .unwrap();
    api.send(request)
        .await
        .is_problem(401, "missing-key", &["Bearer"]);
}

#[tokio::test]
async fn a_mistyped_key_is_told_from_a_revoked_one() {
    let api = Api::start();
    let key = api.key(Role::Viewer);
    assert_eq!(
        api.call(&key, "GET", "/v1/subscriptions", "").await.status,
        200
    );

    // WHEN its last character is another
    let last = if key.ends_with('a') { "b" } else { "a" };
    let slip = format!("{}{last}", &key[..key.len() - 1]);
    let answer = api.call(&slip, "GET", "/v1/subscriptions", "").await;
    answer.is_problem(401, "invalid-key", &["mistyped", "check digits"]);
    assert!(
        answer.headers[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .contains("invalid_token")
    );

    // WHEN it is revoked
    let mut connection = api.database.connect();
    assert!(key_revoke(&mut connection, &key[4..16], api.clock.now()).unwrap());
    assert!(!key_revoke(&mut connection, &key[4..16], api.clock.now()).unwrap());
    // THEN it stops working at once, and the answer is that for a key that never was
    let revoked = api.call(&key, "GET", "/v1/subscriptions", "").await;
    revoked.is_problem(401, "invalid-key", &["not valid (any more)"]);
    let foreign = Api::start().key(Role::Viewer);
    let unknown = api.call(&foreign, "GET", "/v1/subscriptions", "").await;
    assert_eq!(unknown.json, revoked.json);
    let wrong = api
        .call(&ADMIN_KEY.replace('0', "1"), "GET", "/v1/subscriptions", "")
        .await;
    assert_eq!(wrong.json, revoked.json);
}

#[tokio::test]
async fn a_role_reaches_as_far_as_its_table_says() {
    let api = Api::start();
    let id = api.registered(ADMIN_KEY, "of-admin").await;
    let one = format!("/v1/subscriptions/{id}");
    for (role, list, show, create, delete, events) in [
        (Role::Viewer, 200, 200, 403, 403, 200),
        (Role::Publisher, 403, 403, 403, 403, 200),
        (Role::Subscriber, 200, 404, 201, 404, 200),
        (Role::Admin, 200, 200, 201, 204, 200),
    ] {
        let key = api.key(role);
        let body = order_subscription(&format!("of-{role}-2")).to_string();
        for (method, path, body, expected) in [
            ("GET", "/v1/subscriptions", "", list),
            ("GET", one.as_str(), "", show),
            ("POST", "/v1/subscriptions", body.as_str(), create),
            ("DELETE", one.as_str(), "", delete),
            ("GET", "/v1/events", "", events),
        ] {
            let answer = api.call(&key, method, path, body).await;
            assert_eq!(
                answer.status, expected,
                "{role}: {method} {path}: {}",
                answer.text
            );
            if expected == 403 {
                answer.is_problem(
                    403,
                    "forbidden",
                    &["needs a key of the role admin", role.as_str()],
                );
            }
        }
    }
}

#[tokio::test]
async fn a_subscriber_sees_and_edits_its_own() {
    let api = Api::start();
    let (mine, theirs) = (api.key(Role::Subscriber), api.key(Role::Subscriber));
    let my_id = api.registered(&mine, "mine").await;
    let their_id = api.registered(&theirs, "theirs").await;

    let list = api.call(&mine, "GET", "/v1/subscriptions", "").await;
    assert_eq!(list.json["items"].as_array().unwrap().len(), 1);
    assert_eq!(list.json["items"][0]["id"], my_id.as_str());

    let change = json!({"labels": {"desk": "eu"}}).to_string();
    let my_path = format!("/v1/subscriptions/{my_id}");
    assert_eq!(
        api.call(&mine, "PATCH", &my_path, &change).await.status,
        200
    );
    let their_path = format!("/v1/subscriptions/{their_id}");
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = api.call(&mine, method, &their_path, &change).await;
        answer.is_problem(404, "not-found", &["there is no subscription"]);
    }
    assert_eq!(api.call(&mine, "DELETE", &my_path, "").await.status, 204);
}
