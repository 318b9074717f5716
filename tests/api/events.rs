//! Events as they were stored, and what became of them.

use rowcall::auth::Role;
use serde_json::{Value, json};

use crate::{
    harness::{Api, order_subscription},
    support::postgres::execute,
};

const IDS: [&str; 3] = [
    "019c132c-0000-7000-8000-000000000001",
    "019c132c-0000-7000-8000-000000000002",
    "019c132c-0000-7000-8000-000000000003",
];

/// Three events at 8, 9 and 10 o'clock of 31 January 2026; the spaces in their bodies must survive.
fn publish(api: &Api) {
    for (index, (event_type, key)) in [
        ("sales.order.created", "1"),
        ("sales.order.updated", "1"),
        ("sales.order.created", "2"),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, hour) = (IDS[index], index + 8);
        execute(
            &api.database.url,
            &format!(
                "insert into rowcall.event (id, source, position, type, object_type, object_key, \
                     \"time\", published_at, change_seq, xid, body) \
                 values ('{id}', 'default', {index}, '{event_type}', 'sales.order', '{key}', \
                     '2026-01-31T{hour:02}:00:00Z', now(), 1, '1', \
                     '{{\"id\" : \"{id}\",  \"data\": {{\"n\": 1.10}}}}')"
            ),
        );
    }
}

fn owe(api: &Api, subscription: &str, event: &str) {
    execute(
        &api.database.url,
        &format!(
            "insert into rowcall.delivery (id, subscription_id, event_id, position, sequence, state, \
                 attempts, created_at, settled_at) \
             values ('019c132c-1111-7000-8000-000000000001', '{subscription}', '{event}', 1, 12, \
                 'delivered', 2, now(), '2026-01-31T08:00:05Z'); \
             insert into rowcall.attempt values \
                 ('019c132c-1111-7000-8000-000000000001', 1, gen_random_uuid(), \
                     '2026-01-31T08:00:00Z', 20, 'retry', 500, 'the receiver answered 500'), \
                 ('019c132c-1111-7000-8000-000000000001', 2, gen_random_uuid(), \
                     '2026-01-31T08:00:05Z', 7, 'delivered', 204, null)"
        ),
    );
}

fn ids(json: &Value) -> Vec<&str> {
    json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn events_are_filtered_and_paged_oldest_first() {
    let api = Api::start();
    publish(&api);
    for (query, expected) in [
        ("", &IDS[..]),
        ("?type=sales.order.created", &[IDS[0], IDS[2]]),
        ("?object_type=sales.order&key=1", &IDS[..2]),
        ("?from=2026-01-31T09:00:00Z", &IDS[1..]),
        ("?to=2026-01-31T09:00:00Z", &IDS[..1]),
        (
            "?from=2026-01-31T10:00:00%2B01:00&to=2026-01-31T10:00:00Z",
            &IDS[1..2],
        ),
        ("?object_type=sales.nothing", &[]),
    ] {
        let answer = api.get(&format!("/v1/events{query}")).await;
        assert_eq!(ids(&answer.json), expected, "{query}");
    }
    let first = api.get("/v1/events?limit=2").await;
    let next = first.json["next"].as_str().unwrap();
    let second = api.get(&format!("/v1/events?limit=2&cursor={next}")).await;
    assert_eq!(
        (ids(&second.json), &second.json["next"]),
        (vec![IDS[2]], &Value::Null)
    );
}

#[tokio::test]
async fn an_event_that_is_dated_ahead_of_its_publishing_is_found_by_its_date() {
    let api = Api::start();
    publish(&api);
    // GIVEN one that was published at eight, as its id says, and is dated three days ahead
    execute(
        &api.database.url,
        &format!(
            "update rowcall.event set published_at = '2026-01-31T08:00:00Z', \
                 \"time\" = '2026-02-03T08:00:00Z' where id = '{}'",
            IDS[0]
        ),
    );
    let answer = api.get("/v1/events?from=2026-02-03T00:00:00Z").await;
    assert_eq!(ids(&answer.json), IDS[..1]);
}

#[tokio::test]
async fn bodies_are_answered_byte_for_byte() {
    let api = Api::start();
    publish(&api);
    let body = format!("{{\"id\" : \"{}\",  \"data\": {{\"n\": 1.10}}}}", IDS[0]);
    let one = api.get(&format!("/v1/events/{}", IDS[0])).await;
    assert_eq!(one.text, body);
    assert_eq!(one.headers["content-type"], "application/cloudevents+json");
    assert!(api.get("/v1/events").await.text.contains(&body));
}

#[tokio::test]
async fn deliveries_show_each_attempt() {
    let api = Api::start();
    publish(&api);
    let id = api.registered(crate::harness::ADMIN_KEY, "erp").await;
    owe(&api, &id, IDS[0]);
    let answer = api.get(&format!("/v1/events/{}/deliveries", IDS[0])).await;
    assert_eq!(
        answer.json,
        json!({"next": null, "items": [{
            "id": "019c132c-1111-7000-8000-000000000001",
            "subscription": {"id": id, "name": "erp"},
            "state": "delivered",
            "sequence": "00000000000000000012",
            "due_at": null,
            "settled_at": "2026-01-31T08:00:05Z",
            "attempts": [
                {"number": 1, "started_at": "2026-01-31T08:00:00Z", "duration_ms": 20,
                    "outcome": "retry", "status": 500, "detail": "the receiver answered 500"},
                {"number": 2, "started_at": "2026-01-31T08:00:05Z", "duration_ms": 7,
                    "outcome": "delivered", "status": 204, "detail": null},
            ],
        }]})
    );
    let none = api.get(&format!("/v1/events/{}/deliveries", IDS[1])).await;
    assert_eq!(none.json, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn a_subscriber_sees_the_events_owed_to_it() {
    let api = Api::start();
    publish(&api);
    let (mine, theirs) = (api.key(Role::Subscriber), api.key(Role::Subscriber));
    let body = order_subscription("mine").to_string();
    let id = api
        .call(&mine, "POST", "/v1/subscriptions", &body)
        .await
        .json["id"]
        .clone();
    owe(&api, id.as_str().unwrap(), IDS[1]);

    assert_eq!(
        ids(&api.call(&mine, "GET", "/v1/events", "").await.json),
        [IDS[1]]
    );
    assert!(ids(&api.call(&theirs, "GET", "/v1/events", "").await.json).is_empty());
    for (key, event, expected) in [
        (&mine, IDS[1], 200),
        (&mine, IDS[0], 404),
        (&theirs, IDS[1], 404),
    ] {
        for path in [
            format!("/v1/events/{event}"),
            format!("/v1/events/{event}/deliveries"),
        ] {
            assert_eq!(
                api.call(key, "GET", &path, "").await.status,
                expected,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let api = Api::start();
    for (query, pointer, says) in [
        ("limit=0", "?limit", "from 1 to 500"),
        ("limit=501", "?limit", "from 1 to 500"),
        ("cursor=zzz", "?cursor", "`next` of the page before"),
        ("from=yesterday", "?from", "2026-01-31T08:00:00Z"),
        ("key=1", "?key", "object_type"),
        ("typ=x", "?typ", "did you mean `type`?"),
        ("type=a&type=b", "?type", "given twice"),
    ] {
        let answer = api.get(&format!("/v1/events?{query}")).await;
        answer.is_problem(400, "invalid-parameter", &[says]);
        assert_eq!(answer.pointers(), [pointer]);
    }
    api.get(&format!("/v1/events/{}", IDS[0]))
        .await
        .is_problem(404, "not-found", &[IDS[0]]);
    api.get("/v1/events/no-uuid")
        .await
        .is_problem(404, "not-found", &["no UUID"]);
}
