//! Registering subscriptions: what is made, and what is refused.

use diesel::{Connection as _, connection::SimpleConnection as _};
use rowcall::{
    catalog::model::Catalog,
    registry::registry_share,
    subscription::{
        list::store::subscription_load,
        register::{Origin, RegisterError, Registration, register},
    },
};
use serde_json::{Value, json};

use crate::harness::{ADMIN_KEY, Api, order_subscription};

#[tokio::test]
async fn a_registration_is_answered_whole_with_its_secret_once() {
    let api = Api::start();
    let answer = api
        .post("/v1/subscriptions", &order_subscription("erp-mirror"))
        .await;

    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json["id"].as_str().unwrap();
    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(answer.headers["location"], path.as_str());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json["name"], "erp-mirror");
    assert_eq!(answer.json["state"], "active");
    assert_eq!(answer.json["origin"], "api");
    assert_eq!(answer.json["created_at"], "2026-01-31T08:00:00Z");
    assert_eq!(answer.json["event_types"], json!(["sales.order.*"]));
    assert_eq!(answer.json["sink"]["url"], "https://erp.example.com/hooks");
    assert_eq!(answer.json["retry"]["schedule"][1], "5s");
    assert!(
        answer.json["secret"]
            .as_str()
            .unwrap()
            .starts_with("whsec_")
    );

    let shown = api.get(&path).await;
    assert_eq!(shown.status, 200);
    let mut without_secret = answer.json.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.json, without_secret);

    let stored = api.stored();
    assert_eq!((stored.revision, stored.sequences), (1, 1));
}

#[tokio::test]
async fn a_name_is_unique_until_its_subscription_is_deleted() {
    let api = Api::start();
    let id = api.registered(ADMIN_KEY, "erp").await;
    let again = api
        .post("/v1/subscriptions", &order_subscription("erp"))
        .await;
    again.is_problem(409, "name-taken", &["`erp`", "choose another", "/name"]);

    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(api.call(ADMIN_KEY, "DELETE", &path, "").await.status, 204);
    api.get(&path).await.is_problem(404, "not-found", &[&id]);
    api.call(ADMIN_KEY, "DELETE", &path, "")
        .await
        .is_problem(404, "not-found", &[&id]);
    api.registered(ADMIN_KEY, "erp").await;
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let api = Api::start();
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(api.registered(ADMIN_KEY, name).await);
        api.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let first = api.get("/v1/subscriptions?limit=2").await;
    let items = first.json["items"].as_array().unwrap();
    assert_eq!(
        items.iter().map(|item| &item["id"]).collect::<Vec<_>>(),
        [&ids[0], &ids[1]]
    );
    let next = first.json["next"].as_str().unwrap();
    let second = api
        .get(&format!("/v1/subscriptions?limit=2&cursor={next}"))
        .await;
    assert_eq!(second.json["items"][0]["id"], ids[2].as_str());
    assert_eq!(second.json["next"], Value::Null);
}

#[tokio::test]
async fn publishing_waits_for_a_registration_and_sees_it() {
    let api = Api::start();
    let (mut editor, mut publisher) = (api.database.connect(), api.database.connect());
    let catalog = Catalog::load(&mut editor).unwrap();
    let body = r#"{"object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": "https://example.com/"}}"#;
    let registration = Registration {
        name: "erp".to_owned(),
        spec: serde_json::from_str(body).unwrap(),
        origin: Origin::Folder,
        owner: None,
    };

    editor
        .transaction(|editor| {
            register(
                editor,
                &api.secret_key,
                &catalog,
                registration,
                api.clock.now(),
            )?;
            // WHEN publishing wants the lock before the registration is committed, it has to wait
            publisher.batch_execute("set lock_timeout = '1ms'").unwrap();
            let refused = registry_share(&mut publisher).unwrap_err();
            assert!(refused.to_string().contains("lock timeout"), "{refused}");
            Ok::<_, RegisterError>(())
        })
        .unwrap();

    // THEN it finds the registration, and the revision says that there is something to find
    let found = publisher.transaction(|publisher| {
        assert_eq!(registry_share(publisher)?, 1);
        subscription_load(publisher, &api.secret_key)
    });
    assert_eq!(found.unwrap().subscriptions.len(), 1);
}
