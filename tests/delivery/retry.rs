//! The retry schedule, and what ends it.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use serde_json::json;

use crate::{
    shop::{
        ORDERS, api, attempts, deliveries, mirrored_to, path_of, rows, step_to_due, subscribe,
        subscription,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};

const SCHEDULE: &str = r#"retry = { schedule = ["0s", "5s", "5m", "30m"] }"#;

#[tokio::test]
async fn the_schedule_is_followed_to_the_moment_and_then_the_delivery_is_dead() {
    // GIVEN a receiver that is out of order
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(503));
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    for (seconds, sent) in [(5, 2), (300, 3), (1800, 4)] {
        // WHEN the next attempt is not yet due THEN there is none
        app.advance(TimeDelta::seconds(seconds) - TimeDelta::milliseconds(1))
            .await;
        assert_eq!(receiver.received().len(), sent - 1);
        // WHEN it is due THEN there is one, at most a tenth later than the schedule says
        let wait = step_to_due(&app) + TimeDelta::seconds(seconds) - TimeDelta::milliseconds(1);
        app.run_until_idle().await;
        assert_eq!(receiver.received().len(), sent);
        assert!(
            wait >= TimeDelta::seconds(seconds) && wait * 10 <= TimeDelta::seconds(seconds * 11),
            "attempt {sent} came after {wait}"
        );
    }
    // THEN the last failure ends it: dead, kept, and each attempt written down
    assert_eq!(deliveries(&app), ["dead/4"]);
    assert_eq!(
        attempts(&app),
        ["1 retry 503", "2 retry 503", "3 retry 503", "4 dead 503"]
    );
    let details = app.texts("select distinct detail from rowcall.attempt where duration_ms >= 0");
    assert_eq!(details.len(), 1);
    assert!(details[0].contains("answered 503"), "{details:?}");
    app.advance(TimeDelta::days(3)).await;
    assert_eq!(receiver.received().len(), 4);
    // AND the object's next change goes its way
    receiver.answer_with(|_| Answer::Status(204));
    app.sql("update orders set revision = 2");
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["dead/4", "delivered/1"]);
    assert_eq!(attempts(&app)[4], "1 delivered 204");
    assert_eq!(
        app.count("select count(*) from rowcall.attempt where detail is null"),
        1
    );
}

#[tokio::test]
async fn the_first_entry_is_the_wait_before_the_first_attempt() {
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, r#"retry = { schedule = ["30s", "1m"] }"#).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(receiver.received().len(), 0);
    app.advance(TimeDelta::milliseconds(29_999)).await;
    assert_eq!(receiver.received().len(), 0);
    app.advance(TimeDelta::milliseconds(1)).await;
    assert_eq!(deliveries(&app), ["delivered/1"]);
}

#[tokio::test]
async fn retry_after_is_honoured_within_bounds() {
    let day = TimeDelta::days(1);
    for (header, least) in [
        ("120", TimeDelta::seconds(120)),
        ("Mon, 02 Mar 2026 09:10:00 GMT", TimeDelta::minutes(10)),
        // Less patience than the schedule has, and nonsense, are no wish.
        ("1", TimeDelta::seconds(5)),
        ("-7", TimeDelta::seconds(5)),
        // Absurd ones are cut to a day.
        ("99999999999999999999", day),
        ("Fri, 31 Dec 9999 23:59:59 GMT", day),
    ] {
        // GIVEN a receiver that asks to be left alone
        let receiver = Receiver::start().await;
        receiver.script([Answer::with_header(429, "retry-after", header)]);
        let mut app = mirrored_to(&receiver, SCHEDULE).await;
        app.sql("insert into orders values (1)");
        app.run_until_idle().await;
        // WHEN it is tried again THEN that is when it asked for
        let wait = step_to_due(&app);
        assert!(wait >= least && wait <= least * 11 / 10, "{header}: {wait}");
        app.run_until_idle().await;
        assert_eq!(deliveries(&app), ["delivered/2"], "{header}");
    }
}

#[tokio::test]
async fn a_delivery_is_given_up_when_it_is_too_old_to_be_tried_again() {
    // GIVEN a schedule that takes longer than the subscriber wants
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(503));
    let retry = r#"retry = { schedule = ["0s", "5s", "5m", "30m", "40m"], give_up_after = "1h" }"#;
    let mut app = mirrored_to(&receiver, retry).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    app.run_until_idle().await;
    // WHEN it fails until the next attempt would come later than that
    for _ in 0..3 {
        step_to_due(&app);
        app.run_until_idle().await;
    }
    // THEN it is dead with the reason, and the next of its object has its own hour
    let expected = [
        "1 retry 503",
        "2 retry 503",
        "3 retry 503",
        "4 dead 503",
        "1 retry 503",
    ];
    assert_eq!(attempts(&app), expected);
    assert_eq!(deliveries(&app), ["dead/4", "pending/1"]);
    let details = app.texts("select detail from rowcall.attempt where outcome = 'dead'");
    assert!(
        details[0].contains("answered 503; given up") && details[0].contains("later than 1h"),
        "{details:?}"
    );
    assert!(step_to_due(&app) <= TimeDelta::seconds(6));
    receiver.answer_with(|_| Answer::Status(200));
    app.run_until_idle().await;
    assert_eq!(deliveries(&app), ["dead/4", "delivered/2"]);
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_day_each_time_is_not_waited_for_longer_than_is_tried() {
    // GIVEN a receiver that always asks for a day, in each of the ways there are
    let receiver = Receiver::start().await;
    let asks = [
        "86400",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "99999999999999999999",
    ];
    let mut asked = 0;
    receiver.answer_with(move |_| {
        asked += 1;
        Answer::with_header([429, 503][asked % 2], "retry-after", asks[asked % 3])
    });
    let waits = ["0s"; 32].map(|wait| format!("\"{wait}\"")).join(", ");
    let mut app = mirrored_to(&receiver, &format!("retry = {{ schedule = [{waits}] }}")).await;
    app.sql("insert into orders values (1)");
    let began = app.clock.now();
    app.run_until_idle().await;
    // WHEN it is left alone as it asks THEN that ends five days after the first attempt: cut to
    // what is left, and then by the schedule alone
    while receiver.received().len() < 6 {
        let wait = step_to_due(&app);
        assert!(wait <= TimeDelta::days(1), "{wait}");
        app.run_until_idle().await;
    }
    let took = app.clock.now() - began;
    assert!(
        took > TimeDelta::days(4) && took <= TimeDelta::days(5),
        "{took}"
    );
    // ... and by the breaker, which leaves it alone for some moments after ten failures in a row
    while deliveries(&app)[0].starts_with("pending/") {
        assert!(step_to_due(&app) <= TimeDelta::minutes(5));
        app.run_until_idle().await;
    }
    let states = deliveries(&app);
    assert!(states[0].starts_with("dead/"), "{states:?}");
}

#[tokio::test]
async fn a_receiver_that_flaps_is_tried_by_the_schedule_and_gets_everything_in_order() {
    // GIVEN a receiver that fails in another way with every second request
    let receiver = Receiver::start().await;
    let mut count = 0;
    receiver.answer_with(move |_| {
        count += 1;
        match count % 8 {
            1 => Answer::Status(503),
            3 => Answer::with_header(429, "retry-after", "-7"),
            5 => Answer::with_header(503, "retry-after", "9"),
            7 => Answer::with_header(429, "retry-after", "soon"),
            _ => Answer::Status(204),
        }
    });
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1)");
    for revision in 2..=8 {
        app.sql(&format!("update orders set revision = {revision}"));
    }
    app.run_until_idle().await;
    // WHEN each is tried again at its time
    for _ in 0..8 {
        let wait = step_to_due(&app);
        assert!(
            wait >= TimeDelta::seconds(5) && wait <= TimeDelta::seconds(9),
            "{wait}"
        );
        app.run_until_idle().await;
    }
    // THEN each took two attempts, and they came in order
    assert_eq!(deliveries(&app), ["delivered/2"; 8]);
    let mut sent = rows(&receiver.received());
    sent.dedup();
    let expected: Vec<String> = (1..=8).map(|revision| format!("1:{revision}")).collect();
    assert_eq!(sent, expected);
    // AND a receiver that takes something now and then is not failing
    assert_eq!(
        app.count("select count(*) from rowcall.subscription_failing"),
        0
    );
}

#[tokio::test]
async fn a_receiver_that_closes_its_connections_costs_no_attempt() {
    // GIVEN a receiver that closes a connection after its third answer without saying so, or when
    // the fourth request is written to it
    for closing in [Answer::StatusThenClose(200), Answer::Reset] {
        let receiver = Receiver::start().await;
        let (is_reset, mut on_connection) = (matches!(closing, Answer::Reset), HashMap::new());
        receiver.answer_with(move |request| {
            let count: &mut usize = on_connection.entry(request.connection).or_default();
            *count += 1;
            let is_last = *count == if is_reset { 4 } else { 3 };
            if is_last {
                closing.clone()
            } else {
                Answer::Status(200)
            }
        });
        let mut app = mirrored_to(&receiver, SCHEDULE).await;
        app.sql("insert into orders values (1)");
        for revision in 2..=20 {
            app.sql(&format!("update orders set revision = {revision}"));
        }
        // WHEN twenty changes are sent, one after the other
        app.run_until_idle().await;
        // THEN each took one attempt, in order; of what was cut off there are two receipts with the
        // same id and body, and no third
        assert_eq!(deliveries(&app), ["delivered/1"; 20]);
        let received = receiver.received();
        let mut sent = rows(&received);
        sent.dedup();
        let expected: Vec<String> = (1..=20).map(|revision| format!("1:{revision}")).collect();
        assert_eq!(sent, expected);
        let ids: HashSet<&str> = received.iter().map(|one| one.id.as_str()).collect();
        let bodies: HashSet<&[u8]> = received.iter().map(|one| one.body.as_slice()).collect();
        assert_eq!((ids.len(), bodies.len()), (20, 20));
        let repeated = if is_reset { 6 } else { 0 };
        assert_eq!(received.len(), 20 + repeated, "is_reset: {is_reset}");
        assert!(receiver.connections() >= 6);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.script([Answer::Redirect(elsewhere.url().to_owned())]);
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    assert_eq!(attempts(&app), ["1 retry 302"]);
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(deliveries(&app), ["delivered/2"]);
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn an_address_that_may_not_be_reached_is_final() {
    // GIVEN an instance that may reach no private address, and a name that turns out to be one
    let receiver = Receiver::start().await;
    let options = Options {
        allow_nets: &[],
        ..Options::default()
    };
    let mut app = TestApp::start_with(ORDERS, options).await;
    let url = format!("http://localhost:{}/hook", receiver.port());
    subscribe(&app, &[subscription("mirror", &url, SCHEDULE)]).await;
    // WHEN two changes are owed to it
    app.sql("insert into orders values (1)");
    app.sql("update orders set revision = 2");
    app.run_until_idle().await;
    // THEN each is dead after one attempt that says why
    assert_eq!(deliveries(&app), ["dead/1", "dead/1"]);
    let details = app.texts("select detail from rowcall.attempt where status is null");
    assert!(
        details.len() == 2 && details[0].contains("loopback"),
        "{details:?}"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_the_operator_can_mend_is_tried_by_the_schedule() {
    // GIVEN a subscription whose address this instance may no longer reach
    let receiver = Receiver::start().await;
    let app = mirrored_to(&receiver, SCHEDULE).await;
    let options = Options {
        allow_nets: &[],
        ..Options::default()
    };
    let mut strict = app.sibling_with(options).await;
    drop(app);
    strict.sql("insert into orders values (1)");
    strict.run_until_idle().await;
    assert_eq!(attempts(&strict), ["1 retry"]);
    // WHEN it may again THEN the delivery is made
    let mut app = strict.sibling().await;
    drop(strict);
    app.advance(TimeDelta::seconds(6)).await;
    assert_eq!(deliveries(&app), ["delivered/2"]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_subscription_until_it_is_resumed() {
    // GIVEN three changes of an object and one of another
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(410));
    let mut app = mirrored_to(&receiver, SCHEDULE).await;
    app.sql("insert into orders values (1); update orders set revision = 2");
    // WHEN the receiver answers that it is gone
    app.run_until_idle().await;
    app.sql("update orders set revision = 3; insert into orders values (9)");
    app.run_until_idle().await;
    // THEN the subscription is disabled with a reason, and nothing is sent, and nothing is lost
    let shown = api(&app, "GET", &path_of(&app, "mirror"), &json!(null)).await;
    assert_eq!(shown["state"], "disabled");
    assert!(
        shown["state_reason"].as_str().unwrap().contains("410"),
        "{shown}"
    );
    assert_eq!(attempts(&app), ["1 retry 410"]);
    app.advance(TimeDelta::days(2)).await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(
        deliveries(&app),
        ["pending/1", "pending/0", "pending/0", "pending/0"]
    );
    // WHEN its owner resumes it THEN all are delivered, in order
    receiver.answer_with(|_| Answer::Status(200));
    let change = json!({"state": "active"});
    let shown = api(&app, "PATCH", &path_of(&app, "mirror"), &change).await;
    assert_eq!(
        (&shown["state"], shown.get("state_reason")),
        (&json!("active"), None)
    );
    app.run_until_idle().await;
    assert_eq!(
        deliveries(&app),
        ["delivered/2", "delivered/1", "delivered/1", "delivered/1"]
    );
    let mut sent = rows(&receiver.received()[1..]);
    sent.retain(|row| row != "9:1");
    assert_eq!(sent, ["1:1", "1:2", "1:3"]);
}
