//! What became of the numbers behind one, as a receiver asks for it.

use rowcall::auth::Role;
use serde_json::{Value, json};

use crate::{
    harness::{call, id_of, items, key, numbers, order, shop, since, subscription},
    support::{
        app::{ADMIN_KEY, TestApp},
        receiver::{Answer, Received, Receiver},
    },
};

const ALONE: &str = "mode = \"synchronous\"\nretry = { schedule = [\"0s\", \"1m\"] }";

async fn mirrored_to(receiver: &Receiver, more: &str) -> TestApp {
    shop(&format!(
        "{}{more}",
        subscription(receiver, "mirror", ALONE)
    ))
    .await
}

#[tokio::test]
async fn each_number_is_told_with_its_event_as_it_was_sent() {
    // GIVEN deliveries that were received, dead, and are to be tried again
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    order(&app, 1..=3, "EU");
    app.run_until_idle().await;
    receiver.script([Answer::Status(410)]);
    order(&app, [4], "EU");
    app.run_until_idle().await;
    // WHEN the receiver asks what it was sent
    let page = since(&app, "mirror", "0").await;
    // THEN each number has its event, also the one that was not received
    assert_eq!(
        items(&page),
        ["1 delivered", "2 delivered", "3 delivered", "4 pending"]
    );
    assert_eq!((numbers(&page), &page["next"]), ((4, 3), &Value::Null));
    let path = format!("/v1/subscriptions/{}/since/0", id_of(&app, "mirror"));
    let (_, text) = call(&app, ADMIN_KEY, "GET", &path, &Value::Null).await;
    let received: Vec<Received> = receiver.received();
    assert_eq!(received.len(), 4);
    for request in &received {
        // to the byte
        let sent = std::str::from_utf8(&request.body).unwrap();
        assert!(
            text.contains(&format!("\"event\":{sent}}}")),
            "{sent}\n{text}"
        );
    }
    // and behind a number only what follows it, in pages
    let page = since(&app, "mirror", "00000000000000000001?limit=2").await;
    assert_eq!(items(&page), ["2 delivered", "3 delivered"]);
    assert_eq!(page["next"], "00000000000000000003");
    let page = since(&app, "mirror", "3").await;
    assert_eq!((items(&page).len(), &page["next"]), (1, &Value::Null));
    // and nothing behind the last, nor behind one that was never given
    for after in ["4", "5", "99999999999999999999"] {
        let page = since(&app, "mirror", after).await;
        assert_eq!(items(&page), [""; 0], "{after}");
        assert_eq!((numbers(&page), &page["next"]), ((4, 3), &Value::Null));
    }
}

#[tokio::test]
async fn what_will_never_come_is_a_tombstone() {
    // GIVEN numbers whose deliveries were suppressed and removed
    let receiver = Receiver::start().await;
    let picky = "[constraint.picky]\napplies_to = { subscriptions = [\"mirror\"] }\n\
        condition = \"row.region != 'XX'\"\njudge = \"at_send\"\notherwise = \"suppress\"\n";
    let mut app = mirrored_to(&receiver, picky).await;
    order(&app, [1], "EU");
    order(&app, [2], "XX");
    order(&app, 3..=5, "EU");
    app.run_until_idle().await;
    app.sql("delete from rowcall.delivery where sequence in (3, 5)");
    app.sql("delete from rowcall.event where id = (select event_id from rowcall.delivery where sequence = 4)");
    // WHEN they are asked for
    let page = since(&app, "mirror", "0").await;
    // THEN each has an item, and counts as settled
    assert_eq!(
        items(&page),
        [
            "1 delivered",
            "2 suppressed",
            "3 removed",
            "4 removed",
            "5 removed"
        ]
    );
    assert_eq!(numbers(&page), (5, 5));
    let tombstone = &page["items"][1];
    assert_eq!(
        *tombstone,
        json!({"sequence": "00000000000000000002", "tombstone": "suppressed"})
    );
}

#[tokio::test]
async fn what_a_constraint_may_still_keep_is_not_told() {
    // GIVEN an event that a constraint holds at send, and one that it has not judged yet
    let receiver = Receiver::start().await;
    let night = "[constraint.night]\napplies_to = { subscriptions = [\"mirror\"] }\n\
        window = { from = \"00:00\", to = \"06:00\" }\njudge = \"at_send\"\notherwise = \"hold\"\n\
        hold_at_most = \"72h\"\n";
    let mut app = mirrored_to(&receiver, night).await;
    order(&app, [1], "EU");
    app.run_until_idle().await;
    order(&app, [2], "EU");
    let now = app.clock.now();
    rowcall::stage::Stage::run_once(&mut app.instance.publish, now)
        .await
        .unwrap();
    // WHEN they are asked for
    let page = since(&app, "mirror", "0").await;
    // THEN their numbers are told, and no more
    assert_eq!(items(&page), ["1 held", "2 pending"]);
    for item in page["items"].as_array().unwrap() {
        assert_eq!(item.as_object().unwrap().len(), 2, "{item}");
    }
    assert_eq!(numbers(&page), (2, 0));
    // until they may be sent
    app.advance(chrono::TimeDelta::hours(16)).await;
    let page = since(&app, "mirror", "0").await;
    assert_eq!(items(&page), ["1 delivered", "2 delivered"]);
    assert!(page["items"][0]["event"]["data"].is_object());
}

#[tokio::test]
async fn parts_of_digests_are_told_and_a_page_is_bounded_in_bytes() {
    // GIVEN a digest of parts, and events of which three fill a page
    let receiver = Receiver::start().await;
    let batch =
        "mode = \"batch\"\ncondense = \"none\"\nschedule = { max_items = 5, max_wait = \"10m\" }";
    let news = subscription(&receiver, "news", batch);
    let mut app = mirrored_to(&receiver, &news).await;
    order(&app, 1..=5, "EU");
    app.run_until_idle().await;
    let page = since(&app, "news", "0").await;
    assert_eq!(items(&page), ["1 delivered", "2 delivered", "3 delivered"]);
    let part = &page["items"][2]["event"];
    assert_eq!(
        (&part["type"], &part["data"]["part"]),
        (&json!("rowcall.digest"), &json!(3))
    );
    app.sql("update rowcall.event set body = left(body, -1) || ',\"pad\":\"' || repeat('x', 400000) || '\"}'");
    // WHEN all is asked for
    let mut pages = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = since(&app, "mirror", &after).await;
        pages.push(items(&page));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    // THEN it comes in pages, none of which is much larger than it may be
    assert_eq!(
        pages,
        [
            vec!["1 delivered", "2 delivered", "3 delivered"],
            vec!["4 delivered", "5 delivered"]
        ]
    );
}

#[tokio::test]
async fn only_who_may_see_the_subscription_is_answered() {
    // GIVEN a subscription of one key WHEN others ask
    let receiver = Receiver::start().await;
    let app = mirrored_to(&receiver, "").await;
    let owner = key(&app, Role::Subscriber);
    let body = json!({"name": "own", "object_types": ["sales.order"], "mode": "synchronous",
        "heartbeat": "30s", "sink": {"kind": "webhook", "url": receiver.url()}});
    let (status, text) = call(&app, &owner, "POST", "/v1/subscriptions", &body).await;
    assert_eq!(status, 201, "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["heartbeat"], "30s");
    let path = format!(
        "/v1/subscriptions/{}/since/0",
        shown["id"].as_str().unwrap()
    );
    for (who, expected) in [
        (owner.clone(), 200),
        (ADMIN_KEY.to_owned(), 200),
        (key(&app, Role::Viewer), 200),
        (key(&app, Role::Subscriber), 404),
        (key(&app, Role::Publisher), 403),
        ("rck_unknown".to_owned(), 401),
    ] {
        let (status, text) = call(&app, &who, "GET", &path, &Value::Null).await;
        assert_eq!(status, expected, "{text}");
    }
    // THEN what is asked wrongly is refused with what to do
    for (wrong, expected, says) in [
        (path.replace("since/0", "since/x"), 404, "of 1 to 20 digits"),
        (format!("{path}?limit=0"), 400, "a number from 1 to 500"),
        (format!("{path}?after=1"), 400, "there is no such parameter"),
        (
            "/v1/subscriptions/x/since/0".to_owned(),
            404,
            "subscription",
        ),
    ] {
        let (status, text) = call(&app, &owner, "GET", &wrong, &Value::Null).await;
        assert_eq!(status, expected, "{text}");
        assert!(text.contains(says), "{text}");
    }
    // and when it is deleted there is none
    let deleted = path.trim_end_matches("/since/0");
    let (status, _) = call(&app, &owner, "DELETE", deleted, &Value::Null).await;
    assert_eq!(status, 204);
    let (status, _) = call(&app, &owner, "GET", &path, &Value::Null).await;
    assert_eq!(status, 404);
}
