//! Batch subscriptions and their digests.

use rowcall::auth::Role;
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Api},
    support::postgres::execute,
};

fn batch(schedule: &Value) -> Value {
    json!({
        "name": "news",
        "object_types": ["sales.order"],
        "mode": "batch",
        "schedule": schedule,
        "sink": {"kind": "webhook", "url": "https://erp.example.com/hooks"},
    })
}

/// A condensed digest of the subscription, and an open one behind it.
fn gather(api: &Api, subscription: &str, last: u32) {
    execute(
        &api.database.url,
        &format!(
            "insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, \
                 closed_by, first_at, close_at, close_by, events, vanished, parts) \
             values ('019c132c-2222-7000-8000-00000000000{last}', '{subscription}', 1, \
                 'condensed', '2026-01-30T08:00:00Z', '2026-01-31T08:00:00Z', 'schedule', \
                 '2026-01-30T09:00:00Z', '2026-01-31T08:00:00Z', 'schedule', 9, 2, 1); \
             insert into rowcall.digest (id, subscription_id, state, opened_at, close_at, close_by) \
             values ('019c132c-3333-7000-8000-00000000000{last}', '{subscription}', 'open', \
                 '2026-01-31T08:00:00Z', '2026-02-01T08:00:00Z', 'schedule')"
        ),
    );
}

#[tokio::test]
async fn a_batch_subscription_keeps_its_schedule() {
    let api = Api::start();
    let schedule = json!({"cron": "0 8 * * mon-fri", "time_zone": "Europe/Berlin",
        "max_items": 500, "max_wait": "12h"});
    let mut body = batch(&schedule);
    body["condense"] = json!("net_effect");
    let created = api.post("/v1/subscriptions", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.json["schedule"], schedule);
    assert_eq!(created.json["condense"], "net_effect");
}

#[tokio::test]
async fn a_schedule_that_can_not_be_is_refused_with_its_place() {
    let api = Api::start();
    for (schedule, pointer, says) in [
        (json!({}), "/schedule", "at least one of `cron`"),
        (json!({"cron": "0 8 * *"}), "/schedule/cron", "five fields"),
        (
            json!({"cron": "0 0 30 2 *"}),
            "/schedule/cron",
            "never fires",
        ),
        (
            json!({"cron": "0 8 * * *", "time_zone": "Europe/Berln"}),
            "/schedule/time_zone",
            "did you mean `Europe/Berlin`?",
        ),
        (json!({"max_items": 0}), "/schedule/max_items", "from 1 to"),
        (json!({"max_wait": "0s"}), "/schedule/max_wait", "from 1s"),
    ] {
        let answer = api.post("/v1/subscriptions", &batch(&schedule)).await;
        answer.is_problem(422, "invalid-body", &[says]);
        assert_eq!(answer.pointers(), [pointer], "{schedule}");
    }
    // Without a schedule, and with one where there are no digests.
    let mut body = batch(&Value::Null);
    body.as_object_mut().unwrap().remove("schedule");
    let answer = api.post("/v1/subscriptions", &body).await;
    answer.is_problem(422, "invalid-body", &["needs to know when"]);
    let mut body = batch(&json!({"max_items": 5}));
    body["mode"] = json!("synchronous");
    body["condense"] = json!("keys");
    let answer = api.post("/v1/subscriptions", &body).await;
    answer.is_problem(422, "invalid-body", &["only the mode `batch`"]);
    assert_eq!(answer.pointers(), ["/schedule", "/condense"]);
}

#[tokio::test]
async fn digests_are_listed_newest_first_to_those_whose_they_are() {
    // GIVEN digests of two subscriptions
    let api = Api::start();
    let (mine, theirs) = (api.key(Role::Subscriber), api.key(Role::Subscriber));
    let mut ids = Vec::new();
    for (key, name) in [(&mine, "mine"), (&theirs, "theirs")] {
        let mut body = batch(&json!({"cron": "0 8 * * *"}));
        body["name"] = json!(name);
        let answer = api
            .call(key, "POST", "/v1/subscriptions", &body.to_string())
            .await;
        let id = answer.json["id"].as_str().unwrap().to_owned();
        ids.push(id);
        gather(&api, &ids[ids.len() - 1], ids.len() as u32);
    }
    // WHEN one of them is asked for THEN its digests are told, the open one first
    let answer = api
        .get(&format!("/v1/digests?subscription={}", ids[0]))
        .await;
    let subscription = json!({"id": ids[0], "name": "mine"});
    assert_eq!(
        answer.json,
        json!({"next": null, "items": [
            {
                "id": "019c132c-3333-7000-8000-000000000001", "subscription": subscription,
                "number": null, "state": "open",
                "window": {"from": "2026-01-31T08:00:00Z", "to": null},
                "close_at": "2026-02-01T08:00:00Z", "closed_by": null,
                "count": 0, "vanished": 0, "parts": null,
            },
            {
                "id": "019c132c-2222-7000-8000-000000000001", "subscription": subscription,
                "number": 1, "state": "condensed",
                "window": {"from": "2026-01-30T08:00:00Z", "to": "2026-01-31T08:00:00Z"},
                "close_at": null, "closed_by": "schedule",
                "count": 9, "vanished": 2, "parts": 1,
            },
        ]})
    );
    // AND a subscriber sees its own only, whatever it asks for
    let count = async |key: &str, query: &str| {
        let answer = api
            .call(key, "GET", &format!("/v1/digests{query}"), "")
            .await;
        answer.json["items"].as_array().unwrap().len()
    };
    assert_eq!(count(ADMIN_KEY, "").await, 4);
    assert_eq!(count(&mine, "").await, 2);
    assert_eq!(count(&mine, &format!("?subscription={}", ids[1])).await, 0);
    // AND pages lead from one to the next
    let mut seen = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = api.get(&format!("/v1/digests{query}")).await;
        let items = page.json["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.json["next"].as_str() else {
            break;
        };
        query = format!("?limit=3&cursor={next}");
    }
    let mut sorted = seen.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (4, &sorted));
    let wrong = api.get("/v1/digests?subscription=mine").await;
    wrong.is_problem(400, "invalid-parameter", &["the id of a subscription"]);
}
