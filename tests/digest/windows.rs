//! When windows close, and what follows one another.

use chrono::{DateTime, TimeDelta};
use rowcall::{
    clock::Clock,
    digest::gather::{Gathering, digest_gather},
};

use crate::{
    gathering::assert_exact,
    harness::{
        Made, advance, bodies, deliver_all, digest, digests, news, news_id, orders, parts, publish,
        resubscribe, schedule, write_events,
    },
    support::app::TestApp,
};

/// Sets the clock to a time that is later.
fn go_to(app: &TestApp, time: &str) {
    let time = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
    assert!(matches!(app.clock, Clock::Manual(_)));
    app.clock.advance(time - app.clock.now());
}

#[tokio::test]
async fn a_digest_leaves_at_its_local_time_on_both_sides_of_a_change_of_the_clock() {
    // GIVEN a digest at 02:30 in Berlin, where 02:30 is skipped on 29 March and comes twice on 25
    // October
    let cron = "cron = \"30 2 * * *\", time_zone = \"Europe/Berlin\"";
    let mut app = news(cron, "").await;
    let schedule = schedule(cron);
    for (from, fires) in [
        (
            "2026-03-28T00:00:00Z",
            ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "2026-10-24T00:00:00Z",
            ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
        ),
    ] {
        go_to(&app, from);
        let before = app.count("select count(*) from rowcall.digest where number is not null");
        // WHEN something is published every half hour for three days
        for _ in 0..3 * 24 * 2 {
            publish(&app, &schedule, &orders(1));
            advance(&mut app, TimeDelta::minutes(30)).await;
        }
        // THEN there is one digest a day, closed at that hour
        let closed = app.texts(&format!(
            "select to_char(closed_at, 'YYYY-MM-DD HH24:MI') from rowcall.digest \
             where number > {before} order by number"
        ));
        assert_eq!(closed, fires);
        // What was published since is closed, too, so that the next round begins with nothing.
        advance(&mut app, TimeDelta::days(1)).await;
    }
    assert_exact(&app);
    let told: i64 = bodies(&app)
        .iter()
        .map(|body| body["data"]["count"].as_i64().unwrap())
        .sum();
    assert_eq!(told, 2 * 3 * 24 * 2);
    deliver_all(&app);
}

#[tokio::test]
async fn the_first_event_waits_no_longer_than_max_wait() {
    // GIVEN a digest that is sent an hour after its first event
    let mut app = news("max_wait = \"1h\"", "").await;
    let schedule = schedule("max_wait = \"1h\"");
    publish(&app, &schedule, &orders(1));
    // WHEN others follow, up to the last moment
    advance(&mut app, TimeDelta::minutes(59)).await;
    publish(&app, &schedule, &orders(2));
    assert_eq!(digests(&app), ["open 3"]);
    advance(&mut app, TimeDelta::minutes(1)).await;
    // THEN it leaves an hour after the first, and tells its window
    assert_eq!(digests(&app), ["condensed 3 max_wait"]);
    let window = &bodies(&app)[0]["data"]["window"];
    assert_eq!(window["from"], "2026-03-02T09:00:00.000000Z");
    assert_eq!(window["to"], "2026-03-02T10:00:00.000000Z");
    // AND the next begins where that one ended
    app.clock.advance(TimeDelta::days(3));
    publish(&app, &schedule, &orders(1));
    advance(&mut app, TimeDelta::hours(2)).await;
    let window = &bodies(&app)[1]["data"]["window"];
    assert_eq!(window["from"], "2026-03-02T10:00:00.000000Z");
    assert_eq!(window["to"], "2026-03-05T12:00:00.000000Z");
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn an_empty_window_is_told_only_if_asked_for() {
    // GIVEN a subscription that is told nothing of empty windows
    let cron = "cron = \"0 * * * *\"";
    let mut app = news(cron, "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::hours(3)).await;
    assert!(digests(&app).is_empty());
    // WHEN it asks to be told
    resubscribe(&app, &format!("{cron}, send_empty = true"), "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::hours(1)).await;
    publish(&app, &schedule(cron), &orders(1));
    advance(&mut app, TimeDelta::hours(1)).await;
    // THEN each hour has a digest, those without events say so
    assert_eq!(
        digests(&app),
        ["condensed 0 schedule", "condensed 1 schedule", "open 0"]
    );
    let empty = &bodies(&app)[0]["data"];
    assert_eq!(empty["count"], 0);
    assert_eq!(empty["events"], serde_json::json!([]));
    assert_eq!(empty["parts"], 1);
    // WHEN nothing runs for five hours THEN these are one window
    advance(&mut app, TimeDelta::hours(5)).await;
    assert_eq!(digests(&app)[2..], ["condensed 0 schedule", "open 0"]);
    // WHEN it asks no more THEN the open one ends without a word
    resubscribe(&app, cron, "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::hours(1)).await;
    assert_eq!(digests(&app)[3..], ["empty 0 schedule"]);
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn max_wait_counts_from_the_first_event_also_in_a_digest_that_was_open_before() {
    // GIVEN an open digest without events
    let both = "cron = \"0 8 * * *\", send_empty = true, max_wait = \"1h\"";
    let mut app = news(both, "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::hours(2)).await;
    assert_eq!(digests(&app), ["open 0"]);
    // WHEN an event comes THEN its time begins, and the cron expression's would be later
    publish(&app, &schedule(both), &orders(1));
    advance(&mut app, TimeDelta::minutes(59)).await;
    assert_eq!(digests(&app), ["open 1"]);
    advance(&mut app, TimeDelta::minutes(1)).await;
    assert_eq!(digests(&app), ["condensed 1 max_wait", "open 0"]);
    deliver_all(&app);
}

#[tokio::test]
async fn another_schedule_holds_for_the_open_digest_too() {
    // GIVEN an event that would wait for a year
    let mut app = news("cron = \"0 0 1 1 *\"", "").await;
    publish(&app, &schedule("cron = \"0 0 1 1 *\""), &orders(1));
    digest(&mut app).await;
    // WHEN the schedule becomes an hourly one
    resubscribe(&app, "cron = \"0 * * * *\"", "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::hours(1)).await;
    // THEN it leaves within the hour
    assert_eq!(digests(&app), ["condensed 1 schedule"]);
    // WHEN a number of events is all that closes THEN no time does
    publish(&app, &schedule("cron = \"0 * * * *\""), &orders(1));
    resubscribe(&app, "max_items = 2", "").await;
    digest(&mut app).await;
    advance(&mut app, TimeDelta::days(400)).await;
    assert_eq!(digests(&app)[1..], ["open 1"]);
    publish(&app, &schedule("max_items = 2"), &[Made::created(2, "x")]);
    digest(&mut app).await;
    assert_eq!(digests(&app)[1..], ["condensed 2 max_items"]);
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn digests_and_their_parts_leave_in_order() {
    // GIVEN two digests of two parts each
    let mut limits = rowcall::config::Limits::for_testing();
    limits.digest_part_items_max = 2;
    let options = crate::support::app::Options {
        limits,
        ..Default::default()
    };
    let mut app = TestApp::start_with("create table orders (id int primary key)", options).await;
    resubscribe(&app, "max_items = 3", "condense = \"none\"").await;
    let three = schedule("max_items = 3");
    publish(&app, &three, &orders(3));
    digest(&mut app).await;
    // WHEN the second is condensed while the first is not delivered THEN it waits behind it
    publish(&app, &three, &orders(3));
    digest(&mut app).await;
    assert_eq!(
        parts(&app),
        [
            "1.1 pending due",
            "1.2 pending blocked",
            "2.1 pending blocked",
            "2.2 pending blocked"
        ]
    );
    // AND each is released by the one before it
    deliver_all(&app);
    let gone = parts(&app);
    assert!(
        gone.iter().all(|part| part.contains("delivered")),
        "{gone:?}"
    );
    // WHEN order is not asked for THEN none waits
    resubscribe(
        &app,
        "max_items = 3",
        "condense = \"none\"\nordering = \"none\"",
    )
    .await;
    publish(&app, &three, &orders(3));
    digest(&mut app).await;
    assert_eq!(parts(&app)[4..], ["3.1 pending due", "3.2 pending due"]);
    deliver_all(&app);
}

#[tokio::test]
async fn what_was_being_published_when_a_window_closed_waits_for_the_next_time() {
    // GIVEN a transaction that begins to publish just before a digest's hour, and waits
    let cron = "cron = \"0 8 * * *\"";
    let mut app = news(cron, "").await;
    let schedule = schedule(cron);
    go_to(&app, "2030-01-01T07:00:00Z");
    publish(&app, &schedule, &orders(1));
    go_to(&app, "2030-01-01T07:59:59.900Z");
    let (id, began_at) = (news_id(&app), app.clock.now());

    // WHEN the window closes first
    go_to(&app, "2030-01-01T08:00:00.010Z");
    digest(&mut app).await;
    app.connect()
        .build_transaction()
        .run(|connection| {
            let gathering = Gathering {
                subscription_id: id,
                schedule: &schedule,
                grouping: None,
                members: write_events(connection, &orders(1), 1, began_at),
            };
            digest_gather(connection, &[gathering], began_at)
        })
        .unwrap();
    go_to(&app, "2030-01-01T08:00:01Z");
    digest(&mut app).await;

    // THEN its events are the next day's, not a second digest of this one
    assert_eq!(digests(&app), ["condensed 1 schedule", "open 1"]);
    let closes = "select close_at::text from rowcall.digest where state = 'open'";
    assert_eq!(app.texts(closes), ["2030-01-02 08:00:00+00"]);
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn a_window_that_another_clock_has_closed_early_is_not_closed_twice() {
    // GIVEN a daily digest that is told if it is empty, too
    let spec = "cron = \"0 8 * * *\", send_empty = true";
    let mut app = news(spec, "").await;
    digest(&mut app).await;
    // WHEN an instance whose clock is ahead has closed it, and one whose clock is behind looks
    app.sql(
        "update rowcall.digest set state = 'closed', number = 1, closed_by = 'schedule', \
             closed_at = '2026-03-03 08:00:00.05Z'",
    );
    go_to(&app, "2026-03-03T07:59:59.95Z");
    digest(&mut app).await;
    go_to(&app, "2026-03-03T08:00:01Z");
    digest(&mut app).await;
    // THEN the next window ends a day later, and not at once
    assert_eq!(digests(&app), ["condensed 0 schedule", "open 0"]);
    let closes = "select close_at::text from rowcall.digest where state = 'open'";
    assert_eq!(app.texts(closes), ["2026-03-04 08:00:00+00"]);
    assert_exact(&app);
    // WHEN the registration list is edited before that instance's clock shows the hour THEN that
    // changes nothing
    app.sql("update rowcall.digest set opened_at = '2026-03-03 09:00:00Z' where state = 'open'");
    let hourly = "cron = \"0 * * * *\", send_empty = true";
    go_to(&app, "2026-03-03T08:59:59.9Z");
    resubscribe(&app, hourly, "").await;
    digest(&mut app).await;
    assert_eq!(app.texts(closes), ["2026-03-03 10:00:00+00"]);
    deliver_all(&app);
}

#[tokio::test]
async fn a_shorter_wait_ends_a_window_now_and_not_before_its_events() {
    // GIVEN a window that ends on time, with events of nine and of one o'clock
    let spec = |wait: &str| format!("cron = \"0 8 * * *\", max_wait = \"{wait}\", late = \"each\"");
    let mut app = news(&spec("12h"), "").await;
    publish(&app, &schedule(&spec("12h")), &orders(1));
    go_to(&app, "2026-03-02T13:00:00Z");
    publish(&app, &schedule(&spec("12h")), &orders(1));
    // WHEN its first event is to wait for an hour only
    go_to(&app, "2026-03-02T14:00:00Z");
    resubscribe(&app, &spec("1h"), "").await;
    digest(&mut app).await;
    // THEN it ends now: both were published in it
    assert_eq!(digests(&app), ["condensed 2 max_wait"]);
    let window = &bodies(&app)[0]["data"]["window"];
    assert_eq!(window["to"], "2026-03-02T14:00:00.000000Z");
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn a_shorter_wait_is_reckoned_from_the_first_event_and_not_from_the_last() {
    // GIVEN events half an hour apart
    let mut app = news("max_wait = \"12h\"", "").await;
    let long = schedule("max_wait = \"12h\"");
    publish(&app, &long, &orders(1));
    app.clock.advance(TimeDelta::minutes(30));
    publish(&app, &long, &orders(1));
    // WHEN the first is to wait for an hour only
    resubscribe(&app, "max_wait = \"1h\"", "").await;
    advance(&mut app, TimeDelta::minutes(29)).await;
    assert_eq!(digests(&app), ["open 2"]);
    // THEN both leave an hour after it
    advance(&mut app, TimeDelta::minutes(1)).await;
    assert_eq!(digests(&app), ["condensed 2 max_wait"]);
    deliver_all(&app);
}
