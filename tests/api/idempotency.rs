//! A POST that is sent twice.

use axum::body::Body;
use rowcall::auth::Role;

use crate::harness::{ADMIN_KEY, Answer, Api, order_subscription, request};

async fn post(api: &Api, key: &str, idempotency_key: &str, name: &str) -> Answer {
    let request = request(key, "POST", "/v1/subscriptions")
        .header("Idempotency-Key", idempotency_key)
        .body(Body::from(order_subscription(name).to_string()))
        .unwrap();
    api.send(request).await
}

#[tokio::test]
async fn the_same_request_is_answered_the_same() {
    let api = Api::start();
    let first = post(&api, ADMIN_KEY, "k1", "erp").await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = post(&api, ADMIN_KEY, "k1", "erp").await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(
        api.get("/v1/subscriptions").await.json["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn another_request_under_the_key_is_refused_and_another_caller_is_not() {
    let api = Api::start();
    post(&api, ADMIN_KEY, "k1", "erp").await;
    let other = post(&api, ADMIN_KEY, "k1", "other").await;
    other.is_problem(422, "idempotency-key-reused", &["draw a new key"]);
    let subscriber = api.key(Role::Subscriber);
    assert_eq!(post(&api, &subscriber, "k1", "theirs").await.status, 201);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let api = Api::start();
    post(&api, ADMIN_KEY, "k1", "-bad")
        .await
        .is_problem(422, "invalid-body", &["/name"]);
    assert_eq!(post(&api, ADMIN_KEY, "k1", "good").await.status, 201);
}

#[tokio::test]
async fn of_two_at_once_one_registers_and_both_are_answered_alike() {
    let api = Api::start();
    let (a, b, c, d) = tokio::join!(
        post(&api, ADMIN_KEY, "k1", "erp"),
        post(&api, ADMIN_KEY, "k1", "erp"),
        post(&api, ADMIN_KEY, "k1", "erp"),
        post(&api, ADMIN_KEY, "k1", "erp"),
    );
    assert_eq!(a.status, 201, "{}", a.text);
    for other in [b, c, d] {
        assert_eq!((other.status, &other.text), (201, &a.text));
    }
    assert_eq!(
        api.get("/v1/subscriptions").await.json["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_key_whose_subscription_is_gone_says_so() {
    let api = Api::start();
    let first = post(&api, ADMIN_KEY, "k1", "erp").await;
    let path = format!("/v1/subscriptions/{}", first.json["id"].as_str().unwrap());
    api.call(ADMIN_KEY, "DELETE", &path, "").await;
    post(&api, ADMIN_KEY, "k1", "erp")
        .await
        .is_problem(404, "not-found", &["deleted since"]);
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused() {
    let api = Api::start();
    for key in ["", &"x".repeat(256)] {
        let answer = post(&api, ADMIN_KEY, key, "erp").await;
        answer.is_problem(400, "invalid-header", &["1 to 255"]);
    }
}
