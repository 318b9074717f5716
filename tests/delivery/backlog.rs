//! What is kept for a subscription that is sent nothing, and what is not.

use chrono::TimeDelta;
use rowcall::{account::account_read, config::Limits, stage::Stage as _};
use serde_json::json;

use crate::{
    shop::{ORDERS, api, deliveries, path_of, rows, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};

/// An instance that keeps four deliveries, and its mirror.
async fn keeping_four(receiver: &Receiver, more: &str) -> TestApp {
    let limits = Limits {
        backlog_deliveries_max: 4,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), more)]).await;
    app
}

async fn ask(app: &TestApp, state: &str) {
    let change = json!({"state": state});
    api(app, "PATCH", &path_of(app, "mirror"), &change).await;
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.run_until_idle().await;
}

fn adds_up(app: &TestApp) -> i64 {
    use diesel::Connection as _;
    let account = app
        .connect()
        .transaction(|connection| account_read(connection, "default"))
        .unwrap();
    assert!(account.adds_up(), "{account:?}");
    account.cancelled
}

/// The numbers of all deliveries that have one, in their order.
fn numbers(app: &TestApp) -> Vec<String> {
    app.texts("select sequence from rowcall.delivery where sequence is not null order by sequence")
}

#[tokio::test]
async fn of_a_disabled_subscription_the_newest_are_kept_and_the_oldest_cancelled_with_the_reason() {
    // GIVEN a subscription that was disabled, with changes of two objects since
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(410)]);
    let mut app = keeping_four(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    for revision in 2..=4 {
        app.sql(&format!(
            "update orders set revision = {revision} where id = 1"
        ));
        app.sql(&format!("insert into orders values ({revision})"));
        app.run_until_idle().await;
        app.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(deliveries(&app).len(), 7);
    // WHEN upkeep looks, more than once
    upkeep(&mut app).await;
    upkeep(&mut app).await;
    // THEN four are kept, and three are cancelled, also the one that was tried
    assert_eq!(
        deliveries(&app),
        [
            "cancelled/1",
            "cancelled/0",
            "cancelled/0",
            "pending/0",
            "pending/0",
            "pending/0",
            "pending/0"
        ]
    );
    assert_eq!(adds_up(&app), 3);
    let ids = app.texts("select event_id from rowcall.delivery order by position");
    let shown = api(
        &app,
        "GET",
        &format!("/v1/events/{}/deliveries", ids[1]),
        &json!(null),
    )
    .await;
    let reason = shown["items"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("limits.backlog_deliveries_max"), "{reason}");
    let path = format!("/v1/explain?event={}&subscription=mirror", ids[1]);
    let explained = api(&app, "GET", &path, &json!(null)).await;
    assert_eq!(explained["verdict"], "cancelled");
    let summary = explained["summary"].as_str().unwrap();
    assert!(summary.contains("backlog was larger"), "{summary}");
    // AND nothing of it is due while it is disabled
    assert_eq!(
        app.count(
            "select count(*) from rowcall.delivery where state = 'pending' and due_at < 'infinity'"
        ),
        0
    );
    // WHEN it is resumed THEN what was kept is sent, in order, and the numbers have no gap
    ask(&app, "active").await;
    app.run_until_idle().await;
    let sent = rows(&receiver.received()[1..]);
    let of_first: Vec<&String> = sent.iter().filter(|row| row.starts_with("1:")).collect();
    assert_eq!(of_first, ["1:3", "1:4"]);
    assert_eq!(sent.len(), 4);
    let numbers = numbers(&app);
    let numbered: Vec<String> = (1..=numbers.len())
        .map(|number| number.to_string())
        .collect();
    assert_eq!(numbers, numbered);
    let assigned = app.count("select assigned from rowcall.subscription_sequence");
    assert_eq!(assigned, numbers.len() as i64);
    // AND an active one is cut by nothing
    receiver.answer_with(|_| Answer::Status(503));
    app.sql("insert into orders values (11), (12), (13), (14), (15), (16)");
    app.run_until_idle().await;
    upkeep(&mut app).await;
    assert_eq!(adds_up(&app), 3);
}

#[tokio::test]
async fn what_a_disabled_subscription_is_owed_for_too_long_is_cancelled_and_of_a_paused_one_not() {
    for (stopped, cancelled) in [("disabled", 3), ("paused", 0)] {
        // GIVEN three changes that are owed, and two that came later
        let receiver = Receiver::start().await;
        let mut app = TestApp::start(ORDERS).await;
        subscribe(&app, &[subscription("mirror", receiver.url(), "")]).await;
        if stopped == "disabled" {
            receiver.script([Answer::Status(410)]);
            app.sql("insert into orders values (1)");
            app.run_until_idle().await;
        } else {
            ask(&app, "paused").await;
            app.sql("insert into orders values (1)");
        }
        app.sql("update orders set revision = 2; insert into orders values (2)");
        app.run_until_idle().await;
        app.clock.advance(TimeDelta::days(10));
        app.sql("update orders set revision = 3 where id = 1; insert into orders values (3)");
        app.run_until_idle().await;
        // WHEN the first are not yet as old as is kept THEN all are
        app.clock.advance(TimeDelta::days(4));
        upkeep(&mut app).await;
        assert_eq!(adds_up(&app), 0, "{stopped}");
        // WHEN they are older
        app.clock.advance(TimeDelta::seconds(1));
        upkeep(&mut app).await;
        // THEN those of the disabled one are cancelled, and the others wait for it
        assert_eq!(adds_up(&app), cancelled, "{stopped}");
        let reasons = app.texts("select distinct cancelled_by from rowcall.delivery order by 1");
        assert_eq!(reasons.contains(&"backlog_age".to_owned()), cancelled > 0);
        let before = receiver.received().len();
        ask(&app, "active").await;
        app.run_until_idle().await;
        let mut sent = rows(&receiver.received()[before..]);
        sent.retain(|row| row.starts_with("1:"));
        let expected: &[&str] = if cancelled > 0 {
            &["1:3"]
        } else {
            &["1:1", "1:2", "1:3"]
        };
        assert_eq!(sent, expected, "{stopped}");
    }
}

#[tokio::test]
async fn of_a_paused_subscription_no_more_is_kept_than_of_a_disabled_one() {
    let receiver = Receiver::start().await;
    let mut app = keeping_four(&receiver, "").await;
    ask(&app, "paused").await;
    app.sql("insert into orders select generate_series(1, 9)");
    app.run_until_idle().await;
    upkeep(&mut app).await;
    assert_eq!(adds_up(&app), 5);
    ask(&app, "active").await;
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()).len(), 4);
    assert_eq!(numbers(&app).len(), 9);
}

#[tokio::test]
async fn a_change_of_the_key_in_two_lanes_is_let_go_when_what_stands_before_it_is_cancelled() {
    // GIVEN a change of a key that waits for both its lanes, and something behind it
    let receiver = Receiver::start().await;
    let mut app = keeping_four(&receiver, "").await;
    ask(&app, "paused").await;
    app.sql("insert into orders values (1), (2)");
    app.sql("delete from orders where id = 2");
    app.sql("update orders set id = 2 where id = 1");
    app.sql("update orders set revision = 7 where id = 2");
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["pending/0"; 6]);
    // WHEN what stands before it is cancelled THEN it is the first, and all behind it follows
    upkeep(&mut app).await;
    ask(&app, "active").await;
    app.run_until_idle().await;
    let sent = rows(&receiver.received());
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert_eq!(sent.iter().filter(|row| *row == "2:7").count(), 1);
    let moved = sent.iter().position(|row| row == "2:1").unwrap();
    let later = sent.iter().position(|row| row == "2:7").unwrap();
    assert!(moved < later, "{sent:?}");
    assert_eq!(adds_up(&app), 2);
}
