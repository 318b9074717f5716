//! The account over HTTP: who sees what of it.

use chrono::TimeDelta;
use rowcall::auth::Role;

use crate::{harness::Api, support::postgres::execute};

/// One event that the subscription has, and one that is lost.
fn owed(api: &Api, subscription: &str, number: u32) {
    execute(
        &api.database.url,
        &format!(
            "insert into rowcall.delivery (id, subscription_id, event_id, position, sequence, \
                 state, attempts, created_at, settled_at) \
             values (gen_random_uuid(), '{subscription}', gen_random_uuid(), {number}, 1, \
                 'delivered', 1, now(), now()); \
             update rowcall.subscription_sequence set matched = 2 \
             where subscription_id = '{subscription}'"
        ),
    );
}

#[tokio::test]
async fn the_whole_is_for_those_who_see_all_and_a_subscriber_sees_its_own() {
    // GIVEN subscriptions of two subscribers, one of which misses an event
    let api = Api::start();
    let (one, other) = (api.key(Role::Subscriber), api.key(Role::Subscriber));
    let own = api.registered(&one, "own").await;
    // Ids rise with the time.
    api.clock.advance(TimeDelta::seconds(1));
    let others = api.registered(&other, "others").await;
    owed(&api, &others, 1);
    // WHEN those ask who see all
    for role in [Role::Admin, Role::Viewer] {
        let answer = api.call(&api.key(role), "GET", "/v1/account", "").await;
        // THEN they see the whole, and each subscription
        assert_eq!(answer.status, 200, "{}", answer.text);
        let json = &answer.json;
        assert_eq!(json["adds_up"], false);
        assert_eq!(json["at"], "2026-01-31T08:00:01Z");
        assert_eq!(json["changes"]["captured"], 0);
        assert_eq!(json["events"], 0);
        assert_eq!(json["pairs"]["matched"], 2);
        let items = json["subscriptions"]["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[1]["id"], others);
        assert_eq!(items[1]["name"], "others");
        assert_eq!(items[1]["state"], "active");
        assert_eq!(items[1]["pairs"]["delivered"], 1);
        assert_eq!(json["suspects"][0]["kind"], "event_gone");
    }
    // WHEN a subscriber asks THEN it sees its own, whatever the others' do
    let answer = api.call(&one, "GET", "/v1/account", "").await;
    let json = &answer.json;
    assert_eq!(json["adds_up"], true, "{}", answer.text);
    assert!(json["changes"].is_null() && json["events"].is_null());
    assert_eq!(json["pairs"]["matched"], 0);
    let items = json["subscriptions"]["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["id"], own);
    assert_eq!(json["suspects"].as_array().unwrap().len(), 0);
    // AND another's is not there for it
    let path = format!("/v1/account?subscription={others}");
    let answer = api.call(&one, "GET", &path, "").await;
    answer.is_problem(404, "not-found", &[&others]);
    let answer = api.call(&other, "GET", &path, "").await;
    assert_eq!(answer.json["adds_up"], false, "{}", answer.text);
    // AND who may not see subscriptions is refused
    let publisher = api.key(Role::Publisher);
    let answer = api.call(&publisher, "GET", "/v1/account", "").await;
    answer.is_problem(403, "forbidden", &["admin or subscriber or viewer"]);
    let answer = api.call("", "GET", "/v1/account", "").await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn who_asks_often_gets_the_account_of_a_moment_ago() {
    // GIVEN an account that was asked for
    let api = Api::start();
    let own = api.registered(crate::harness::ADMIN_KEY, "own").await;
    assert_eq!(api.get("/v1/account").await.json["pairs"]["matched"], 0);
    // WHEN something happens THEN it is seen after a minute
    owed(&api, &own, 1);
    assert_eq!(api.get("/v1/account").await.json["pairs"]["matched"], 0);
    api.clock.advance(TimeDelta::minutes(1));
    let json = api.get("/v1/account").await.json;
    assert_eq!(json["pairs"]["matched"], 2);
    assert_eq!(json["at"], "2026-01-31T08:01:00Z");
    // AND then it is an alarm, too
    let warnings = api.readiness.report().warnings;
    assert!(warnings[0].contains("does not add up"), "{warnings:?}");
}

#[tokio::test]
async fn it_comes_in_pages_and_what_is_no_question_is_refused() {
    let api = Api::start();
    for name in ["a", "b", "c"] {
        api.registered(crate::harness::ADMIN_KEY, name).await;
        api.clock.advance(TimeDelta::seconds(1));
    }
    let first = api.get("/v1/account?limit=2").await.json;
    let items = first["subscriptions"]["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let cursor = first["subscriptions"]["next"].as_str().unwrap();
    let path = format!("/v1/account?limit=2&cursor={cursor}");
    let second = api.get(&path).await.json;
    assert_eq!(second["subscriptions"]["items"][0]["name"], "c");
    assert!(second["subscriptions"]["next"].is_null());
    for (path, says) in [
        ("/v1/account?subscription=x", "the id of a subscription"),
        ("/v1/account?source=x", "source"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(says), "{}", answer.text);
    }
}
