//! What digests tell, in all three ways, and in parts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use rowcall::config::Limits;
use serde_json::{Value, json};

use crate::{
    gathering::assert_exact,
    harness::{
        Made, advance, bodies, deliver_all, digest, digests, news, orders, parts, publish,
        resubscribe, schedule,
    },
    support::app::{Options, TestApp},
};

const WAIT: &str = "max_wait = \"1h\"";

async fn condensed(condense: &str, made: &[Made]) -> (TestApp, Vec<Value>) {
    let mut app = news(WAIT, &format!("condense = \"{condense}\"")).await;
    publish(&app, &schedule(WAIT), made);
    advance(&mut app, TimeDelta::hours(1)).await;
    let bodies = bodies(&app);
    (app, bodies)
}

#[tokio::test]
async fn keys_tell_who_changed_how_often_and_when() {
    // GIVEN events of two types about three orders, at different times
    let mut app = news(WAIT, "").await;
    let hourly = schedule(WAIT);
    publish(&app, &hourly, &orders(2));
    app.clock.advance(TimeDelta::minutes(5));
    let later = [
        Made::updated(2, "new", "paid"),
        Made::updated(1, "new", "paid"),
    ];
    publish(&app, &hourly, &later);
    app.clock.advance(TimeDelta::minutes(5));
    publish(&app, &hourly, &[Made::updated(2, "paid", "sent")]);
    // WHEN the window closes
    advance(&mut app, TimeDelta::hours(1)).await;
    // THEN each type has its keys, in the order of their first events
    let body = &bodies(&app)[0];
    let at = |minute: &str| format!("2026-03-02T09:{minute}:00.000000Z");
    let key = |id: i64, count: i64, first: &str, last: &str| json!({"key": {"id": id}, "count": count, "first_at": at(first), "last_at": at(last)});
    assert_eq!(
        body["data"]["events"],
        json!([
            {
                "type": "sales.order.created", "object_type": "sales.order", "count": 2,
                "keys": [key(1, 1, "00", "00"), key(2, 1, "00", "00")],
            },
            {
                "type": "sales.order.updated", "object_type": "sales.order", "count": 3,
                "keys": [key(2, 2, "05", "10"), key(1, 1, "05", "05")],
            },
        ])
    );
    assert_eq!(body["data"]["count"], 5);
    assert_eq!(body["data"]["subscription"], "news");
    assert_eq!(body["type"], "rowcall.digest");
    let id = app.texts("select id || '.1' from rowcall.digest");
    assert_eq!(body["id"], id[0].as_str());
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn none_carries_the_stored_events_byte_by_byte() {
    let made = [
        Made::created(1, "a"),
        Made::updated(1, "a", r"\u0000 \u00e4"),
        Made::deleted(1, "b"),
    ];
    let (app, parts) = condensed("none", &made).await;
    let stored = app.texts("select body from rowcall.event order by position");
    let body = app.texts("select body from rowcall.digest_part");
    assert!(body[0].ends_with(&format!("\"items\":[{}]}}}}", stored.join(","))));
    assert_eq!(parts.len(), 1);
    deliver_all(&app);
}

#[tokio::test]
async fn the_net_effect_folds_what_was_captured_and_tells_no_more() {
    let made = [
        Made::created(1, "new"),
        Made::updated(2, "a", "b"),
        Made::updated(1, "new", "paid"),
        Made::updated(3, "x", "y"),
        Made::updated(3, "y", "x"),
        Made::created(4, "fleeting"),
        Made::deleted(4, "fleeting"),
        Made::renamed(2, 5, "b"),
    ];
    let (app, parts) = condensed("net_effect", &made).await;
    assert_eq!(
        parts[0]["data"]["objects"],
        json!([
            {
                "object_type": "sales.order", "key": {"id": 1}, "op": "create",
                "before": null, "after": {"id": 1, "note": "paid"}, "count": 2,
            },
            {
                "object_type": "sales.order", "key": {"id": 5}, "previous_key": {"id": 2},
                "op": "update", "before": {"id": 2, "note": "a"},
                "after": {"id": 5, "note": "b"}, "count": 2,
            },
        ])
    );
    // The images are copied: even the blank that a parser would drop is there.
    let body = app.texts("select body from rowcall.digest_part");
    assert!(body[0].contains(r#""after":{"id":1, "note":"paid"}"#));
    assert_eq!(parts[0]["data"]["count"], 8);
    assert_eq!(app.count("select vanished from rowcall.digest"), 4);
    deliver_all(&app);
}

#[tokio::test]
async fn a_window_in_which_all_was_undone_sends_nothing() {
    let made = [Made::created(1, "a"), Made::deleted(1, "a")];
    let (app, parts) = condensed("net_effect", &made).await;
    assert!(parts.is_empty());
    assert_eq!(digests(&app), ["empty 2 max_wait"]);
    assert_eq!(app.count("select vanished from rowcall.digest"), 2);
    assert_eq!(app.count("select count(*) from rowcall.delivery"), 0);
}

/// An instance whose parts are small.
async fn in_small_parts(condense: &str, bytes: usize, items: usize) -> TestApp {
    let limits = Limits {
        digest_part_bytes_max: bytes,
        digest_part_items_max: items,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let app = TestApp::start_with("create table orders (id int primary key)", options).await;
    resubscribe(&app, WAIT, &format!("condense = \"{condense}\"")).await;
    app
}

#[tokio::test]
async fn a_large_digest_has_parts_that_are_whole_and_bounded() {
    const BYTES: usize = 8_192;
    for (condense, member, items) in [
        ("keys", "events", 40),
        ("net_effect", "objects", 10_000),
        ("none", "items", 10_000),
        ("none", "items", 7),
    ] {
        // GIVEN a digest of 300 events, one of which is larger than a part may be
        let mut app = in_small_parts(condense, BYTES, items).await;
        let mut made = orders(300);
        made[150] = Made::created(151, &"x".repeat(2 * BYTES));
        publish(&app, &schedule(WAIT), &made);
        advance(&mut app, TimeDelta::hours(1)).await;
        // THEN its parts are numbered, within the limits, and one delivery each
        let texts = app.texts("select body from rowcall.digest_part order by part");
        let bodies = bodies(&app);
        assert!(bodies.len() > 3, "{condense}: {}", bodies.len());
        assert_eq!(parts(&app).len(), bodies.len());
        let mut ids = BTreeSet::new();
        let mut told: BTreeMap<u64, u64> = BTreeMap::new();
        for (place, (body, text)) in bodies.iter().zip(&texts).enumerate() {
            let data = &body["data"];
            assert_eq!(data["part"], place + 1);
            assert_eq!(data["parts"], bodies.len());
            assert_eq!(data["count"], 300);
            assert!(ids.insert(body["id"].as_str().unwrap().to_owned()));
            let listed = data[member].as_array().unwrap();
            let entries: Vec<&Value> = if condense == "keys" {
                let keys = |group: &'_ Value| group["keys"].as_array().unwrap().len() as u64;
                assert!(listed.iter().all(|group| group["count"] == keys(group)));
                let keys = listed.iter().map(|group| group["keys"].as_array().unwrap());
                keys.flatten().collect()
            } else {
                listed.iter().collect()
            };
            assert!(
                text.len() <= BYTES || entries.len() == 1,
                "{condense}: {}",
                text.len()
            );
            assert!(entries.len() <= items);
            for entry in entries {
                let key = if condense == "none" {
                    &entry["data"]["key"]
                } else {
                    &entry["key"]
                };
                *told.entry(key["id"].as_u64().unwrap()).or_default() += 1;
            }
        }
        // AND each order is told once
        assert_eq!(told, (1..=300).map(|id| (id, 1)).collect());
        assert_exact(&app);
        deliver_all(&app);
    }
}

#[tokio::test]
async fn what_is_stored_is_what_is_sent_again() {
    // GIVEN a digest that was condensed
    let (mut app, _) = condensed("keys", &orders(3)).await;
    let stored = app.texts("select body from rowcall.digest_part");
    // WHEN events go, the subscription is changed, and the stage runs again
    app.sql("update rowcall.event set body = '{}'");
    resubscribe(&app, WAIT, "condense = \"none\"").await;
    advance(&mut app, TimeDelta::hours(5)).await;
    digest(&mut app).await;
    // THEN nothing of it is made anew
    assert_eq!(app.texts("select body from rowcall.digest_part"), stored);
    assert_eq!(digests(&app), ["condensed 3 max_wait"]);
    deliver_all(&app);
}

#[tokio::test]
async fn events_that_are_lost_are_counted_as_not_told() {
    // GIVEN a digest of which somebody has deleted an event by hand
    let mut app = news(WAIT, "condense = \"none\"").await;
    publish(&app, &schedule(WAIT), &orders(3));
    app.sql("delete from rowcall.event where position = 2");
    // WHEN it is condensed THEN the others are told, and the account still adds up
    advance(&mut app, TimeDelta::hours(1)).await;
    assert_eq!(
        bodies(&app)[0]["data"]["items"].as_array().unwrap().len(),
        2
    );
    assert_eq!(app.count("select vanished from rowcall.digest"), 1);
    deliver_all(&app);
}
