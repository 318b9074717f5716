//! Signing keys and their rotation, headers, and consent, as the API has them.

use axum::body::Body;
use chrono::TimeDelta;
use rowcall::{
    auth::Role,
    subscription::{
        credential::headers_of,
        list::{Loaded, store::subscription_load},
        rekey::keys_used,
        sealed::store::secret_forget,
        verify::Verify,
    },
    verification::store::verification_list,
};
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Answer, Api, order_subscription, request},
    support::postgres::TestDatabase,
};

fn loaded(api: &Api) -> Loaded {
    let list = subscription_load(&mut api.database.connect(), &api.secret_key).unwrap();
    assert!(list.unreadable.is_empty(), "{:?}", list.unreadable);
    list.subscriptions.into_iter().next_back().unwrap()
}

fn with_sink(name: &str, more: Value) -> Value {
    let mut body = order_subscription(name);
    let sink = body["sink"].as_object_mut().unwrap();
    let Value::Object(more) = more else {
        panic!("no object: {more}");
    };
    sink.extend(more);
    body
}

async fn made(api: &Api, more: Value) -> (String, Answer) {
    let answer = api.post("/v1/subscriptions", &with_sink("erp", more)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json["id"].as_str().unwrap();
    (format!("/v1/subscriptions/{id}"), answer)
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_the_old_one_signs_for_a_while() {
    // GIVEN a subscription with its first secret
    let api = Api::start();
    let (path, first) = made(&api, json!({})).await;
    let rotate = format!("{path}/rotate-secret");

    // WHEN it is rotated
    let rotated = api.post(&rotate, &json!({})).await;

    // THEN there is a new one, and the old one counts for a day
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_ne!(rotated.json["secret"], first.json["secret"]);
    assert_eq!(
        rotated.json["previous_secret_until"],
        "2026-02-01T08:00:00Z"
    );
    let now = loaded(&api);
    assert_eq!(
        now.secret.unwrap().expose(),
        rotated.json["secret"].as_str().unwrap()
    );
    let (previous, until) = now.kept.previous.unwrap();
    assert_eq!(previous.expose(), first.json["secret"].as_str().unwrap());
    assert_eq!(until - api.clock.now(), TimeDelta::hours(24));
    let shown = api.get(&path).await;
    assert_eq!(shown.json["previous_secret_until"], "2026-02-01T08:00:00Z");
    assert!(!shown.text.contains("whsec_"), "{}", shown.text);

    // WHEN its time is over, it is forgotten, and not before
    let forget = |api: &Api| secret_forget(&mut api.database.connect(), api.clock.now(), 10);
    assert_eq!(forget(&api).unwrap(), 0);
    api.clock.advance(TimeDelta::hours(24));
    assert_eq!(forget(&api).unwrap(), 1);
    assert_eq!(api.get(&path).await.json.get("previous_secret_until"), None);

    // WHEN a secret is brought, and the old one is to end at once
    let mine = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let asked = json!({"overlap": "0s", "secret": mine});
    let rotated = api.post(&rotate, &asked).await;
    assert_eq!(
        rotated.json,
        json!({"secret": mine, "previous_secret_until": null})
    );
    assert!(loaded(&api).kept.previous.is_none());
}

#[tokio::test]
async fn a_secret_that_is_patched_in_replaces_all_others_at_once() {
    // GIVEN a subscription that signs with two secrets
    let api = Api::start();
    let (path, _) = made(&api, json!({})).await;
    api.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert!(loaded(&api).kept.previous.is_some());
    // WHEN something else changes, THEN it still does
    let answer = api.patch(&path, &json!({"labels": {"a": "b"}})).await;
    assert!(
        answer.json["previous_secret_until"].is_string(),
        "{}",
        answer.text
    );
    // WHEN it is given one, THEN it signs with that alone
    let mine = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let answer = api.patch(&path, &json!({"sink": {"secret": mine}})).await;
    assert_eq!(
        answer.json.get("previous_secret_until"),
        None,
        "{}",
        answer.text
    );
    let now = loaded(&api);
    assert_eq!(now.secret.unwrap().expose(), mine);
    assert!(now.kept.previous.is_none());
}

#[tokio::test]
async fn a_rotation_is_refused_where_it_can_not_be() {
    let api = Api::start();
    let (path, _) = made(&api, json!({})).await;
    let rotate = format!("{path}/rotate-secret");
    for (asked, pointer) in [
        (json!({"overlap": "8days"}), "/overlap"),
        (json!({"overlap": 5}), "/overlap"),
        (json!({"secret": "whsec_x"}), "/secret"),
        (json!({"overlapp": "1h"}), "/overlapp"),
    ] {
        let answer = api.post(&rotate, &asked).await;
        answer.is_problem(422, "invalid-body", &[]);
        assert_eq!(answer.pointers(), [pointer], "{}", answer.text);
    }
    let stranger = api.key(Role::Subscriber);
    let answer = api.call(&stranger, "POST", &rotate, "{}").await;
    answer.is_problem(404, "not-found", &[]);
    let viewer = api.key(Role::Viewer);
    assert_eq!(api.call(&viewer, "POST", &rotate, "{}").await.status, 403);
    let mail = json!({"name": "mail", "event_types": ["sales.order.*"], "mode": "synchronous",
        "sink": {"kind": "email", "to": ["a@example.com"]}});
    let mail = api.post("/v1/subscriptions", &mail).await;
    let path = format!(
        "/v1/subscriptions/{}/rotate-secret",
        mail.json["id"].as_str().unwrap()
    );
    api.post(&path, &json!({}))
        .await
        .is_problem(422, "invalid-body", &["no secret"]);
}

#[tokio::test]
async fn a_rotation_that_is_repeated_under_its_key_is_done_once() {
    let api = Api::start();
    let (path, _) = made(&api, json!({})).await;
    let path = format!("{path}/rotate-secret");
    let send = || {
        let request = request(ADMIN_KEY, "POST", &path).header("Idempotency-Key", "r1");
        api.send(request.body(Body::from("{}")).unwrap())
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, &first.text), (200, &again.text));
}

#[tokio::test]
async fn of_a_key_pair_only_the_public_half_is_told() {
    // GIVEN a subscription that asks for ed25519
    let api = Api::start();
    let (path, first) = made(&api, json!({"signature": "v1a"})).await;
    assert_eq!(first.json.get("secret"), None, "{}", first.text);
    let public = first.json["public_key"].as_str().unwrap().to_owned();
    assert!(public.starts_with("whpk_"), "{public}");
    let shown = api.get(&path).await;
    assert_eq!(shown.json["public_key"], public);
    assert_eq!(shown.json["sink"]["signature"], "v1a");
    assert!(!shown.text.contains("whsk_"));
    assert_eq!(loaded(&api).secret.unwrap().public_key().unwrap(), public);

    // WHEN it is rotated, THEN the public half is another one
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(rotated.json.get("secret"), None);
    assert_ne!(rotated.json["public_key"], public);
    assert_eq!(
        loaded(&api).kept.previous.unwrap().0.public_key().unwrap(),
        public
    );

    // WHEN the scheme changes, a pair is made, but a shared secret must be brought
    let answer = api
        .patch(&path, &json!({"sink": {"signature": "v1"}}))
        .await;
    answer.is_problem(422, "invalid-body", &["/sink/secret", "give a secret"]);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let change = json!({"sink": {"signature": "v1", "secret": secret}});
    let answer = api.patch(&path, &change).await;
    assert_eq!(
        (answer.status, answer.json.get("public_key")),
        (200, None),
        "{}",
        answer.text
    );
    let answer = api
        .patch(&path, &json!({"sink": {"signature": "v1a"}}))
        .await;
    assert!(answer.json["public_key"].is_string(), "{}", answer.text);
    let wrong = with_sink("two", json!({"signature": "v1a", "secret": secret}));
    let answer = api.post("/v1/subscriptions", &wrong).await;
    answer.is_problem(422, "invalid-body", &["/sink/secret", "whsk_"]);
    let wrong = with_sink("two", json!({"signature": "v2"}));
    let answer = api.post("/v1/subscriptions", &wrong).await;
    answer.is_problem(422, "invalid-body", &["/sink/signature", "`v1a`"]);
}

#[tokio::test]
async fn headers_are_kept_and_never_shown() {
    let api = Api::start();
    let headers = json!({"headers": {"X-Api-Key": "hunter2"}, "bearer": "hunter3"});
    let (path, first) = made(&api, headers).await;
    assert!(!first.text.contains("hunter"), "{}", first.text);
    assert_eq!(
        first.json["sink"]["headers"],
        json!({"X-Api-Key": {"kept": true}})
    );
    assert_eq!(first.json["sink"]["bearer"], json!({"kept": true}));

    // WHEN other things change, or what was shown is sent back, they stay
    let sink = first.json["sink"].clone();
    for change in [json!({"labels": {"a": "b"}}), json!({ "sink": sink })] {
        let answer = api.patch(&path, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let sent = |api: &Api| {
        let one = loaded(api);
        let credentials = one.kept.credentials.unwrap();
        headers_of(&one.subscription.spec.sink, &credentials).unwrap()
    };
    assert_eq!(sent(&api)["x-api-key"], "hunter2");
    assert_eq!(sent(&api)["authorization"], "Bearer hunter3");

    // WHEN one goes and another comes
    let change = json!({"sink": {"bearer": null, "headers": {"X-Api-Key": null, "X-B": "b2"},
        "basic": {"user": "me", "password": "p"}}});
    let answer = api.patch(&path, &change).await;
    assert_eq!(
        answer.json["sink"]["basic"],
        json!({"user": "me", "password": {"kept": true}})
    );
    assert_eq!(sent(&api).len(), 2);
    assert_eq!(sent(&api)["authorization"], "Basic bWU6cA==");
    assert_eq!(sent(&api)["x-b"], "b2");
}

#[tokio::test]
async fn what_is_kept_goes_to_no_other_receiver() {
    // GIVEN a receiver and what only it and its subscriber may know
    let api = Api::start();
    let kept = json!({"headers": {"X-Api-Key": "hunter2"}, "basic": {"user": "me",
        "password": "hunter3"}});
    let (path, _) = made(&api, kept).await;

    // WHEN somebody else's key would have it sent elsewhere, or in the clear
    for url in [
        "https://evil.example.com/hooks",
        "https://erp.example.com:8443/hooks",
        "http://erp.example.com/hooks",
    ] {
        let answer = api.patch(&path, &json!({"sink": {"url": url}})).await;
        // THEN the values have to be given again
        answer.is_problem(422, "invalid-body", &["no value is kept for this receiver"]);
        let pointers = ["/sink/headers/X-Api-Key", "/sink/basic/password"];
        assert_eq!(answer.pointers(), pointers, "{url}");
    }
    let mail = json!({"sink": {"kind": "email", "url": null, "to": ["a@example.com"],
        "headers": null, "basic": null}});
    assert_eq!(api.patch(&path, &mail).await.status, 200);
    let back = json!({"sink": {"kind": "webhook", "url": "https://evil.example.com/", "to": null,
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "bearer": {"kept": true}}});
    let answer = api.patch(&path, &back).await;
    assert_eq!(answer.pointers(), ["/sink/bearer"], "{}", answer.text);

    // Another path of the same receiver is no other one, and new values go anywhere.
    api.clock.advance(TimeDelta::seconds(1));
    let body = with_sink("two", json!({"bearer": "hunter4"}));
    let answer = api.post("/v1/subscriptions", &body).await;
    let path = format!("/v1/subscriptions/{}", answer.json["id"].as_str().unwrap());
    for change in [
        json!({"url": "https://ERP.example.com:443/v2?a=b"}),
        json!({"url": "https://new.example.com/", "bearer": "hunter5"}),
    ] {
        let answer = api.patch(&path, &json!({ "sink": change })).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let two = loaded(&api);
    let sent = headers_of(&two.subscription.spec.sink, &two.kept.credentials.unwrap()).unwrap();
    assert_eq!(sent["authorization"], "Bearer hunter5");
}

#[tokio::test]
async fn who_deletes_a_subscription_leaves_no_secret() {
    // GIVEN a subscription with a secret, an older one, a header and a question to its receiver
    let api = Api::start();
    let (path, _) = made(&api, json!({"bearer": "hunter2", "verify": "handshake"})).await;
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let keys = || keys_used(&mut api.database.connect()).unwrap();
    assert_eq!(keys()[0].count, 3);

    // WHEN it is deleted, THEN there is nothing left to encrypt anew, or to be asked
    assert_eq!(api.call(ADMIN_KEY, "DELETE", &path, "").await.status, 204);
    assert_eq!(keys(), []);
    let asked: Vec<_> = {
        let id = path.rsplit('/').next().unwrap().parse().unwrap();
        verification_list(&mut api.database.connect(), &[id]).unwrap()
    };
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn a_sink_that_signs_nothing_keeps_no_previous_secret() {
    let api = Api::start();
    let (path, _) = made(&api, json!({})).await;
    api.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(keys_used(&mut api.database.connect()).unwrap()[0].count, 2);
    let mail = json!({"sink": {"kind": "email", "url": null, "to": ["a@example.com"]}});
    let answer = api.patch(&path, &mail).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json.get("previous_secret_until"), None);
    assert_eq!(keys_used(&mut api.database.connect()).unwrap(), []);
}

#[tokio::test]
async fn only_its_owner_may_have_a_receiver_asked_or_a_secret_rotated() {
    let api = Api::start();
    let owner = api.key(Role::Subscriber);
    let body = with_sink("mine", json!({"verify": "handshake"})).to_string();
    let made = api.call(&owner, "POST", "/v1/subscriptions", &body).await;
    let path = format!("/v1/subscriptions/{}", made.json["id"].as_str().unwrap());
    for action in ["verify", "rotate-secret"] {
        let path = format!("{path}/{action}");
        for (role, status) in [
            (Role::Subscriber, 404),
            (Role::Viewer, 403),
            (Role::Publisher, 403),
            (Role::Admin, 200),
        ] {
            let answer = api.call(&api.key(role), "POST", &path, "{}").await;
            assert_eq!(answer.status, status, "{action} {role}: {}", answer.text);
        }
        let answer = api.call(&owner, "POST", &path, "{}").await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text);
    }
}

#[tokio::test]
async fn headers_that_can_not_be_are_refused_with_their_place() {
    let api = Api::start();
    for (sink, pointer, says) in [
        (
            json!({"headers": {"Host": "a"}}),
            "/sink/headers/Host",
            "another name",
        ),
        (
            json!({"headers": {"webhook-id": "a"}}),
            "/sink/headers/webhook-id",
            "another name",
        ),
        (
            json!({"headers": {"X-A": "a\r\nB: c"}}),
            "/sink/headers/X-A",
            "no line breaks",
        ),
        (
            json!({"headers": {"X-A": {"env": "HOME"}}}),
            "/sink/headers/X-A",
            "metadata folder",
        ),
        (
            json!({"headers": {"X-A": {"kept": true}}}),
            "/sink/headers/X-A",
            "no value is kept",
        ),
        (
            json!({"headers": {"X-A": 7}}),
            "/sink/headers/X-A",
            "a text is expected",
        ),
        (json!({"bearer": ""}), "/sink/bearer", "a value is needed"),
        (
            json!({"bearer": "a", "basic": {"user": "u", "password": "p"}}),
            "/sink/basic",
            "same",
        ),
        (
            json!({"basic": {"user": "u:v", "password": "p"}}),
            "/sink/basic/user",
            "colon",
        ),
    ] {
        let answer = api
            .post("/v1/subscriptions", &with_sink("erp", sink.clone()))
            .await;
        answer.is_problem(422, "invalid-body", &[says]);
        assert_eq!(answer.pointers(), [pointer], "{sink}: {}", answer.text);
    }
    let many: serde_json::Map<String, Value> = (0..17)
        .map(|number| (format!("X-{number}"), json!("v")))
        .collect();
    let answer = api
        .post(
            "/v1/subscriptions",
            &with_sink("erp", json!({"headers": many})),
        )
        .await;
    answer.is_problem(422, "invalid-body", &["the limit is 16"]);
}

#[tokio::test]
async fn by_policy_every_receiver_has_to_consent() {
    // GIVEN an operator who wants it
    let api = Api::verifying(TestDatabase::create(), Verify::Handshake);
    crate::support::postgres::execute(&api.database.url, crate::harness::CATALOGUE);
    let (path, first) = made(&api, json!({})).await;
    assert_eq!(first.json["sink"]["verify"], "handshake");
    assert_eq!(first.json["state"], "paused");
    let reason = first.json["state_reason"].as_str().unwrap();
    assert!(reason.starts_with("unverified"), "{reason}");
    assert_eq!(first.json["verification"]["state"], "asking");

    // WHEN somebody will not, or would start it all the same, THEN it stays so
    let none = with_sink("two", json!({"verify": "none"}));
    let answer = api.post("/v1/subscriptions", &none).await;
    answer.is_problem(422, "invalid-body", &["/sink/verify", "consent"]);
    let answer = api.patch(&path, &json!({"sink": {"verify": "none"}})).await;
    answer.is_problem(422, "invalid-body", &["/sink/verify"]);
    let answer = api.patch(&path, &json!({"state": "active"})).await;
    assert_eq!(
        (answer.status, &answer.json["state"]),
        (200, &json!("paused"))
    );
    let answer = api
        .call(ADMIN_KEY, "POST", &format!("{path}/verify"), "")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["verification"]["attempts"], 0);
}

#[tokio::test]
async fn who_need_not_consent_is_not_asked() {
    let api = Api::start();
    let (path, first) = made(&api, json!({})).await;
    assert_eq!(first.json["state"], "active");
    assert_eq!(first.json.get("verification"), None);
    let answer = api
        .call(ADMIN_KEY, "POST", &format!("{path}/verify"), "")
        .await;
    answer.is_problem(409, "not-verified", &["sink.verify"]);
    // It is asked from when it has to be, and no more when it has not.
    let answer = api
        .patch(&path, &json!({"sink": {"verify": "handshake"}}))
        .await;
    assert_eq!(answer.json["state"], "paused", "{}", answer.text);
    let answer = api.patch(&path, &json!({"sink": {"verify": null}})).await;
    assert_eq!(answer.json["state"], "active", "{}", answer.text);
    assert_eq!(answer.json.get("verification"), None);
    // An owner's own pause stays one.
    api.patch(&path, &json!({"state": "paused"})).await;
    let answer = api
        .patch(&path, &json!({"sink": {"verify": "handshake"}}))
        .await;
    assert_eq!(answer.json.get("state_reason"), None, "{}", answer.text);
    let answer = api.patch(&path, &json!({"sink": {"verify": null}})).await;
    assert_eq!(answer.json["state"], "paused", "{}", answer.text);
}
