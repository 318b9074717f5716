//! Changing, pausing and resuming subscriptions.

use diesel::{
    RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Bool},
};
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Api},
    support::postgres::execute,
};

#[tokio::test]
async fn a_patch_merges_and_answers_the_whole() {
    let api = Api::start();
    let path = format!(
        "/v1/subscriptions/{}",
        api.registered(ADMIN_KEY, "erp").await
    );
    let change = json!({
        "labels": {"desk": "eu", "team": "a"},
        "sink": {"url": "https://other.example.com/"},
        "retry": {"schedule": ["0s", "1m"]},
    });
    api.clock.advance(chrono::TimeDelta::minutes(1));
    let answer = api.patch(&path, &change).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.json["sink"],
        json!({"kind": "webhook", "url": "https://other.example.com/"})
    );
    assert_eq!(answer.json["retry"], json!({"schedule": ["0s", "1m"]}));
    assert_eq!(answer.json["event_types"], json!(["sales.order.*"]));
    assert_eq!(answer.json["updated_at"], "2026-01-31T08:01:00Z");
    assert_eq!(answer.json.get("secret"), None);

    // WHEN null removes a member and a default
    let answer = api
        .patch(&path, &json!({"labels": {"team": null}, "retry": null}))
        .await;
    assert_eq!(answer.json["labels"], json!({"desk": "eu"}));
    assert_eq!(
        answer.json["retry"]["schedule"].as_array().unwrap().len(),
        10
    );
    assert_eq!(api.get(&path).await.json, answer.json);
}

#[tokio::test]
async fn a_patch_that_breaks_the_specification_changes_nothing() {
    let api = Api::start();
    let path = format!(
        "/v1/subscriptions/{}",
        api.registered(ADMIN_KEY, "erp").await
    );
    let before = api.get(&path).await.json;
    for (change, pointer, says) in [
        (
            json!({"event_types": null}),
            "/event_types",
            "name at least one",
        ),
        (json!({"sink": null}), "/sink", "missing"),
        (
            json!({"sink": {"url": "http://10.0.0.1/"}}),
            "/sink/url",
            "--allow-nets",
        ),
        (json!({"lables": {}}), "/lables", "did you mean `labels`?"),
        (json!({"name": "other"}), "/name", "a name stays"),
        (
            json!({"state": "deleted"}),
            "/state",
            "`active` or `paused`",
        ),
    ] {
        let answer = api.patch(&path, &change).await;
        answer.is_problem(422, "invalid-body", &[says]);
        assert_eq!(answer.pointers(), [pointer]);
    }
    assert_eq!(api.get(&path).await.json, before);
}

#[tokio::test]
async fn a_folder_subscription_can_only_be_paused_here() {
    let api = Api::start();
    let id = api.registered(ADMIN_KEY, "erp").await;
    execute(
        &api.database.url,
        "update rowcall.subscription set origin = 'folder', owner = null",
    );
    let path = format!("/v1/subscriptions/{id}");
    let answer = api.patch(&path, &json!({"labels": {"a": "b"}})).await;
    answer.is_problem(409, "kept-in-folder", &["`erp`", "change it there"]);
    let answer = api.call(ADMIN_KEY, "DELETE", &path, "").await;
    answer.is_problem(409, "kept-in-folder", &["apply the folder"]);
    let answer = api.patch(&path, &json!({"state": "paused"})).await;
    assert_eq!(
        (answer.status, &answer.json["state"]),
        (200, &json!("paused"))
    );
}

#[derive(diesel::QueryableByName)]
struct Due {
    #[diesel(sql_type = BigInt)]
    parked: i64,
    #[diesel(sql_type = BigInt)]
    due_now: i64,
    #[diesel(sql_type = Bool)]
    is_waiting_left: bool,
}

fn due(api: &Api) -> Due {
    sql_query(
        "select count(*) filter (where due_at = 'infinity') as parked, \
             count(*) filter (where due_at = '2026-01-31T08:00:00Z') as due_now, \
             bool_or(due_at is null) as is_waiting_left from rowcall.delivery",
    )
    .get_result(&mut api.database.connect())
    .unwrap()
}

#[tokio::test]
async fn resuming_makes_what_was_kept_due() {
    let api = Api::start();
    let id = api.registered(ADMIN_KEY, "erp").await;
    // GIVEN a delivery that is due later, and one that waits for it
    execute(
        &api.database.url,
        &format!(
            "insert into rowcall.delivery (id, subscription_id, event_id, position, lane, sequence, \
                 state, due_at, created_at) values \
             (gen_random_uuid(), '{id}', gen_random_uuid(), 1, 7, 1, 'pending', '2027-01-01', now()), \
             (gen_random_uuid(), '{id}', gen_random_uuid(), 2, 7, 2, 'pending', null, now())"
        ),
    );
    let path = format!("/v1/subscriptions/{id}");

    assert_eq!(
        api.patch(&path, &json!({"state": "paused"})).await.json["state"],
        "paused"
    );
    let paused = due(&api);
    assert_eq!(
        (paused.parked, paused.due_now, paused.is_waiting_left),
        (1, 0, true)
    );

    // WHEN it was disabled meanwhile, and is resumed
    execute(
        &api.database.url,
        "update rowcall.subscription set state = 'disabled', state_reason = '410 Gone'",
    );
    assert_eq!(api.get(&path).await.json["state_reason"], "410 Gone");
    let answer = api.patch(&path, &json!({"state": "active"})).await;
    assert_eq!(
        (&answer.json["state"], answer.json.get("state_reason")),
        (&json!("active"), None::<&Value>)
    );
    let resumed = due(&api);
    assert_eq!(
        (resumed.parked, resumed.due_now, resumed.is_waiting_left),
        (0, 1, true)
    );
}
