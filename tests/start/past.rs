//! Starting at a time: the events since then, each once and in order, and then those that come.

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::stage::{Progress, Stage as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    random::{Random, Writers},
    shop::{
        ask, event, mirror, publish, publish_all, register, send_all, shop, shop_with, start_of,
        told,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};

/// The time by the database's clock, which stamps changes.
fn database_now(app: &TestApp) -> String {
    app.texts("select to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF:00')")
        .remove(0)
        .replace("+00:00", "Z")
}

/// Publishes `count` updates of order 1, without anybody subscribed.
async fn history(app: &mut TestApp, from: i64, count: i64) {
    for n in from..from + count {
        app.sql(&format!(
            "update public.orders set amount = {n} where id = 1"
        ));
    }
    publish_all(app).await;
}

/// `amount` of each receipt's row.
fn amounts(receiver: &Receiver) -> Vec<i64> {
    let received = receiver.received();
    let amounts = received
        .iter()
        .map(|request| event(request)["data"]["after"]["amount"].as_i64());
    amounts.map(Option::unwrap).collect()
}

#[tokio::test]
async fn events_since_a_time_are_told_in_order_and_then_what_comes() {
    // GIVEN events before and after a moment
    let receiver = Receiver::start().await;
    let mut app = shop("insert into public.orders values (1), (2);").await;
    history(&mut app, 0, 30).await;
    let since = database_now(&app);
    history(&mut app, 30, 130).await;
    app.clock.advance(TimeDelta::seconds(1));
    // WHEN somebody starts at that moment, and more happens
    let id = register(&app, &mirror(&receiver, &json!({"start": since}))).await;
    let start = start_of(&app, &id).await;
    assert_eq!(
        (&start["asked"], &start["state"], &start["estimate"]),
        (&json!(since), &json!("running"), &json!(160))
    );
    assert_eq!(start["from"], start["asked"]);
    history(&mut app, 160, 5).await;
    app.run_until_idle().await;
    history(&mut app, 165, 5).await;
    app.run_until_idle().await;
    // THEN it is told exactly those, in order, with the ids they had
    assert_eq!(amounts(&receiver), (30..170).collect::<Vec<_>>());
    let sent: Vec<String> = receiver
        .received()
        .iter()
        .map(|request| request.id.clone())
        .collect();
    let stored = app.texts("select id from rowcall.event order by position");
    assert_eq!(sent, stored[30..]);
    assert_eq!(start_of(&app, &id).await["state"], "done");
    // AND explain says how an old event came to it
    let path = format!("/v1/explain?event={}&subscription={id}", stored[31]);
    let (_, answer) = ask(&app, "GET", &path, &Value::Null).await;
    assert_eq!(answer["verdict"], "delivered");
    assert!(
        answer["steps"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("before the subscription was registered")
    );
}

#[tokio::test]
async fn live_events_wait_for_the_past_and_none_is_told_twice() {
    // GIVEN a start that waits: fifty are undelivered
    let receiver = Receiver::start().await;
    let mut app = shop("insert into public.orders values (1), (2);").await;
    let since = database_now(&app);
    history(&mut app, 0, 120).await;
    receiver.answer_with(|_| Answer::Status(503));
    let id = register(&app, &mirror(&receiver, &json!({"start": since}))).await;
    publish_all(&mut app).await;
    let owed = "select count(*) from rowcall.delivery";
    assert_eq!(
        app.count(owed),
        100,
        "one chunk is as many changes as a batch has"
    );
    // WHEN events are published meanwhile
    app.sql("update public.orders set amount = 120 where id = 1");
    assert_eq!(publish(&mut app).await, Progress::Worked);
    // THEN they are not owed yet
    assert_eq!(app.count(owed), 100);
    assert_eq!(start_of(&app, &id).await["state"], "running");
    // AND they are when the start has come to them, even by another instance
    receiver.answer_with(|_| Answer::Status(200));
    let mut sibling = app.sibling().await;
    drop(app);
    sibling.run_until_idle().await;
    sibling.advance(TimeDelta::hours(1)).await;
    assert_eq!(start_of(&sibling, &id).await["state"], "done");
    let mut told = amounts(&receiver);
    told.dedup();
    assert_eq!(told, (0..=120).collect::<Vec<_>>());
    assert_eq!(sibling.count(owed), 121);
}

#[tokio::test]
async fn the_batch_in_which_the_past_ends_is_live_already() {
    // GIVEN a start with little before it
    let receiver = Receiver::start().await;
    let mut app = shop("insert into public.orders values (1), (2);").await;
    let since = database_now(&app);
    history(&mut app, 0, 3).await;
    let id = register(&app, &mirror(&receiver, &json!({"start": since}))).await;
    publish(&mut app).await;
    // WHEN it reaches the end in the batch of another change
    app.sql("update public.orders set amount = 3 where id = 1");
    publish(&mut app).await;
    // THEN both are owed by that one transaction
    assert_eq!(start_of(&app, &id).await["state"], "done");
    assert_eq!(app.count("select count(*) from rowcall.delivery"), 4);
    app.run_until_idle().await;
    assert_eq!(amounts(&receiver), [0, 1, 2, 3]);
}

#[tokio::test]
async fn the_past_is_filtered_as_what_comes_is() {
    // GIVEN events of several types and objects, before which there are others
    let metadata = r#"
        [event_type."sales.order.released"]
        object_type = "sales.order"
        when = "new.status == 'released'"
        [event_type."sales.campaign.opened"]
        schema = {}
        [constraint.small]
        applies_to = { event_types = ["sales.order.*"] }
        condition = "row.amount < 50"
        otherwise = "suppress"
    "#;
    let receiver = Receiver::start().await;
    let mut app = shop_with("", metadata, Options::default()).await;
    app.sql(
        "insert into public.orders values (1, 'new', 1), (2, 'released', 2), (3, 'released', 99)",
    );
    let campaign = json!({"specversion": "1.0", "id": "c", "source": "/shop",
        "type": "sales.campaign.opened", "subject": "spring", "data": 1});
    let (status, _) = ask(&app, "POST", "/v1/events", &campaign).await;
    assert_eq!(status, 202);
    app.sql(
        "update public.orders set id = 20 where id = 2; delete from public.orders where id = 1",
    );
    publish_all(&mut app).await;
    // WHEN subscriptions start at the beginning of time
    let asks = |name: &str, more: Value| {
        let mut body = mirror(
            &receiver,
            &json!({"name": name, "start": "1970-01-01T00:00:00Z", "object_types": null}),
        );
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (name, more, expected) in [
        (
            "released",
            json!({"event_types": ["sales.order.released", "sales.campaign.*"]}),
            vec!["create 2", "- spring", "update 20"],
        ),
        (
            "keyed",
            json!({"object_types": ["sales.order"], "object_keys": [{"id": 2}]}),
            vec!["create 2", "update 20"],
        ),
        (
            "filtered",
            json!({"object_types": ["sales.order"], "filter": "row.id != 1 && old.id == 2"}),
            vec!["update 20"],
        ),
    ] {
        let before = receiver.received().len();
        let id = register(&app, &asks(name, more)).await;
        app.run_until_idle().await;
        // THEN each is told what it would have been told; what a constraint forbids is suppressed
        let received = receiver.received();
        let mut told: Vec<String> = received[before..]
            .iter()
            .map(|request| {
                let event = event(request);
                format!(
                    "{} {}",
                    event["data"]["op"].as_str().unwrap_or("-"),
                    event["subject"].as_str().unwrap()
                )
            })
            .collect();
        told.retain(|text| expected.contains(&text.as_str()) || panic!("{name}: {text}"));
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, sorted, "{name}");
        let start = start_of(&app, &id).await;
        assert_eq!(start["state"], "done");
        let oldest = app
            .texts("select to_char(min(time), 'YYYY-MM-DD') from rowcall.event")
            .remove(0);
        assert!(
            start["from"].as_str().unwrap().starts_with(&oldest),
            "{start}"
        );
    }
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state = 'suppressed'"),
        1
    );
}

#[tokio::test]
async fn a_start_without_any_event_is_done_at_once() {
    let receiver = Receiver::start().await;
    let mut app = shop("").await;
    let id = register(
        &app,
        &mirror(&receiver, &json!({"start": "2026-01-01T00:00:00Z"})),
    )
    .await;
    app.run_until_idle().await;
    let start = start_of(&app, &id).await;
    assert_eq!(
        (&start["state"], &start["from"], &start["estimate"]),
        (&json!("done"), &Value::Null, &json!(0))
    );
    app.sql("insert into public.orders values (1)");
    app.run_until_idle().await;
    assert_eq!(told(&receiver), ["create 1"]);
}

#[tokio::test]
async fn a_past_that_starts_paused_is_told_when_it_is_resumed() {
    // GIVEN a start that is paused at once
    let receiver = Receiver::start().await;
    let mut app = shop("insert into public.orders values (1), (2);").await;
    let since = database_now(&app);
    history(&mut app, 0, 5).await;
    let id = register(&app, &mirror(&receiver, &json!({"start": since}))).await;
    let path = format!("/v1/subscriptions/{id}");
    ask(&app, "PATCH", &path, &json!({"state": "paused"})).await;
    history(&mut app, 5, 5).await;
    assert_eq!(app.count("select count(*) from rowcall.delivery"), 0);
    // WHEN it is resumed
    ask(&app, "PATCH", &path, &json!({"state": "active"})).await;
    app.run_until_idle().await;
    // THEN nothing is missing
    assert_eq!(amounts(&receiver), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_past_start_amid_writers_is_exact() {
    let seed = Uuid::new_v4().as_u64_pair().0;
    for round in 0..3 {
        amid_writers(seed.wrapping_add(round)).await;
    }
}

async fn amid_writers(seed: u64) {
    // GIVEN writers at work
    let receiver = Receiver::start().await;
    let mut app = shop("insert into public.orders select n from generate_series(1, 20) n;").await;
    let mut random = Random(seed);
    let writers = Writers::start(&app, (1..=3).map(|n| seed ^ n), |connection, random| {
        let id = 1 + random.below(20);
        let sql =
            format!("update public.orders set amount = coalesce(amount, 0) + 1 where id = {id}");
        connection.batch_execute(&sql).is_ok()
    });
    writers.go_on(40);
    for _ in 0..3 + random.below(4) {
        publish(&mut app).await;
    }
    // WHEN somebody starts mid-stream
    let since = database_now(&app);
    writers.go_on(40);
    for _ in 0..3 + random.below(4) {
        publish(&mut app).await;
    }
    let id = register(&app, &mirror(&receiver, &json!({"start": since}))).await;
    for _ in 0..15 {
        writers.go_on(random.below(8));
        publish(&mut app).await;
        let now = app.clock.now();
        app.instance.deliver.run_once(now).await.unwrap();
    }
    writers.finish();
    send_all(&mut app).await;
    // THEN it was owed exactly the events since then; and all that were published after it was
    // registered, also those that happened before in a transaction that was still open
    assert_eq!(start_of(&app, &id).await["state"], "done", "seed {seed}");
    let expected = app.texts(&format!(
        "select e.id from rowcall.event e, rowcall.start s \
         where e.time >= '{since}' or e.position > s.registered_at order by e.object_key, e.position"
    ));
    let owed = app.texts(
        "select e.id from rowcall.delivery d join rowcall.event e on e.id = d.event_id \
         order by e.object_key, e.position",
    );
    assert_eq!(owed, expected, "seed {seed}");
    // AND got them once, each object's in order
    let mut received: Vec<(String, usize, String)> = receiver
        .received()
        .iter()
        .map(|request| {
            (
                event(request)["subject"].as_str().unwrap().to_owned(),
                request.order,
                request.id.clone(),
            )
        })
        .collect();
    received.sort();
    let received: Vec<String> = received.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(received, expected, "seed {seed}");
}
