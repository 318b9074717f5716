//! What an edit costs those who have the registration list in memory.

use std::{collections::BTreeMap, sync::Arc};

use diesel::PgConnection;
use rowcall::{
    registry::{
        live::{LiveRegistry, Registry},
        registered::Registered,
        registry_raise, registry_raise_for, registry_revision,
    },
    sink::{AddressGuard, WebhookClient},
    subscription::{
        model::State,
        secret::SecretKey,
        state::{subscription_pause, subscription_resume},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    shop::{ORDERS, api, subscribe, subscription},
    support::app::{SECRET_KEY, TestApp},
};

const URL: &str = "http://127.0.0.1:9/";

fn live() -> LiveRegistry {
    let key = SecretKey::parse(SECRET_KEY).unwrap();
    let client = WebhookClient::new(AddressGuard::new(Vec::new())).unwrap();
    LiveRegistry::new(Arc::new(key), client, None)
}

/// What `live` has at the present revision.
fn present(live: &LiveRegistry, connection: &mut PgConnection) -> Arc<Registry> {
    let revision = registry_revision(connection).unwrap();
    live.at(connection, revision).unwrap()
}

fn by_name(registry: &Registry) -> BTreeMap<String, Arc<Registered>> {
    let subscriptions = registry.subscriptions.iter();
    subscriptions
        .map(|one| (one.subscription.name.clone(), Arc::clone(one)))
        .collect()
}

fn id(registry: &Registry, name: &str) -> Uuid {
    by_name(registry)[name].subscription.id
}

/// The names of the subscriptions that were read again between two registries, or came.
fn read_between(before: &Registry, after: &Registry) -> Vec<String> {
    let before = by_name(before);
    let after = by_name(after).into_iter();
    let is_new = |(name, one): &(String, Arc<Registered>)| {
        let known = before.get(name);
        known.is_none_or(|known| !Arc::ptr_eq(known, one))
    };
    after.filter(is_new).map(|(name, _)| name).collect()
}

/// All that is known of each subscription, in words.
fn told(registry: &Registry) -> Vec<String> {
    let told = |one: &Arc<Registered>| {
        let subscription = &one.subscription;
        let place = registry.by_id.get(&subscription.id).unwrap();
        assert!(Arc::ptr_eq(one, &registry.subscriptions[*place as usize]));
        format!(
            "{subscription:?} {} {:?}",
            one.sink.is_ok(),
            one.filter(Some("sales.order"))
        )
    };
    let mut told: Vec<String> = registry.subscriptions.iter().map(told).collect();
    // Ids of one millisecond are in no order.
    told.sort_unstable();
    told
}

async fn three() -> TestApp {
    let app = TestApp::start(ORDERS).await;
    let filter = "filter = \"row.revision > 1\"";
    let names = ["first", "second", "third"];
    subscribe(&app, &names.map(|name| subscription(name, URL, filter))).await;
    app
}

#[tokio::test]
async fn an_edit_of_a_subscription_reads_that_one_alone() {
    // GIVEN three subscriptions in memory
    let app = three().await;
    let (live, mut connection) = (live(), app.connect());
    let before = present(&live, &mut connection);
    let second = id(&before, "second");
    // WHEN one is paused
    subscription_pause(&mut connection, second, app.clock.now()).unwrap();
    let paused = present(&live, &mut connection);
    // THEN that is known, and the others are the same as they were
    assert_eq!(read_between(&before, &paused), ["second"]);
    assert_eq!(by_name(&paused)["second"].subscription.state, State::Paused);
    // WHEN others are registered, changed and deleted, before anybody looks
    let spec = |filter| {
        json!({
            "name": "late", "object_types": ["sales.order"], "mode": "synchronous",
            "filter": filter, "sink": {"kind": "webhook", "url": URL},
        })
    };
    let late = api(&app, "POST", "/v1/subscriptions", &spec("row.id > 5")).await;
    let late = late["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/subscriptions/{late}");
    api(&app, "PATCH", &path, &json!({"filter": "row.id == 7"})).await;
    api(&app, "POST", &format!("{path}/rotate-secret"), &json!({})).await;
    subscription_resume(&mut connection, second, app.clock.now()).unwrap();
    let edited = present(&live, &mut connection);
    assert_eq!(read_between(&paused, &edited), ["late", "second"]);
    // THEN it is as if all had been read now
    assert_eq!(
        told(&edited),
        told(&present(&self::live(), &mut connection))
    );
    // AND what was deleted is found no more
    api(&app, "DELETE", &path, &json!({})).await;
    let deleted = present(&live, &mut connection);
    assert_eq!(read_between(&edited, &deleted), [""; 0]);
    assert_eq!(
        told(&deleted),
        told(&present(&self::live(), &mut connection))
    );
    assert_eq!(deleted.by_id.get(&late.parse().unwrap()), None);
}

#[tokio::test]
async fn any_other_edit_reads_all() {
    let app = three().await;
    let (live, mut connection) = (live(), app.connect());
    let before = present(&live, &mut connection);
    let all = ["first", "second", "third"];
    let first = id(&before, "first");
    // WHEN something else is edited besides
    registry_raise_for(&mut connection, first).unwrap();
    registry_raise(&mut connection).unwrap();
    let after = present(&live, &mut connection);
    // THEN all is read
    assert_eq!(read_between(&before, &after), all);
    // WHEN a table has got another column, of which only an edit of a subscription tells
    app.sql("alter table orders add column region text");
    registry_raise_for(&mut connection, first).unwrap();
    let altered = present(&live, &mut connection);
    // THEN all is compiled for that
    assert_eq!(read_between(&after, &altered), all);
    // WHEN a key was revoked, on which it depends whose subscriptions are the operators'
    app.sql(
        "insert into rowcall.api_key (id, name, role, salt, hash, created_at) \
         values ('keyofanadmin', 'k', 'admin', decode(repeat('00', 32), 'hex'), \
             decode(repeat('00', 32), 'hex'), now())",
    );
    let now = app.clock.now();
    assert!(rowcall::auth::store::key_revoke(&mut connection, "keyofanadmin", now).unwrap());
    assert!(!rowcall::auth::store::key_revoke(&mut connection, "keyofanadmin", now).unwrap());
    let revoked = present(&live, &mut connection);
    assert_eq!(read_between(&altered, &revoked), all);
}

#[tokio::test]
async fn edits_are_remembered_for_a_while() {
    let app = three().await;
    let (live, mut connection) = (live(), app.connect());
    let before = present(&live, &mut connection);
    let first = id(&before, "first");
    // WHEN more was edited than is remembered
    app.sql(&format!(
        "insert into rowcall.registry_edit (revision, subscription_id) \
         select revision + g, '{first}' from rowcall.registry, generate_series(1, 1500) g; \
         update rowcall.registry set revision = revision + 1500"
    ));
    registry_raise_for(&mut connection, first).unwrap();
    // THEN the oldest are forgotten, and all is read
    assert_eq!(
        app.count("select count(*) from rowcall.registry_edit"),
        1_000
    );
    let after = present(&live, &mut connection);
    assert_eq!(read_between(&before, &after).len(), 3);
    // AND from there on edits are enough again
    registry_raise_for(&mut connection, first).unwrap();
    let last = present(&live, &mut connection);
    assert_eq!(read_between(&after, &last), ["first"]);
}
