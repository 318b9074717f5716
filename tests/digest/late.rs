//! What becomes of windows that end while nobody is there to close them.

use chrono::{DateTime, TimeDelta};
use rowcall::digest::late::LATE_WINDOWS_MAX;
use serde_json::Value;

use crate::{
    gathering::assert_exact,
    harness::{advance, bodies, deliver_all, digest, digests, news, orders, publish, schedule},
    support::app::TestApp,
};

/// Sets the clock to a time that is later.
fn go_to(app: &TestApp, time: &str) {
    let time = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
    app.clock.advance(time - app.clock.now());
}

/// `from to count` of each digest that was told, without seconds.
fn windows(app: &TestApp) -> Vec<String> {
    let minute = |at: &Value| at.as_str().unwrap()[..16].to_owned();
    let told = |body: &Value| {
        let (data, window) = (&body["data"], &body["data"]["window"]);
        let (from, to) = (minute(&window["from"]), minute(&window["to"]));
        format!("{from} {to} {}", data["count"])
    };
    bodies(app).iter().map(told).collect()
}

/// Counts are exact, and no window begins before the one before it ended.
fn assert_in_order(app: &TestApp) {
    let wrong = app.count(
        "select count(*) from rowcall.digest d join rowcall.digest p \
             on p.subscription_id = d.subscription_id and p.number < coalesce(d.number, 1000000) \
         where d.opened_at < p.closed_at",
    );
    assert_eq!(wrong, 0, "windows overlap");
    let counted = app.count(
        "select count(*) from rowcall.digest d where events <> (select count(*) \
             from rowcall.digest_member m where m.digest_id = d.id)",
    );
    assert_eq!(counted, 0, "counts are wrong");
}

const MORNING: &str = "cron = \"0 8 * * *\", time_zone = \"Europe/Berlin\"";

#[tokio::test]
async fn after_five_days_one_window_is_closed_now_or_at_its_time() {
    for (late, window, next) in [
        (
            "",
            "2026-03-02T09:00 2026-03-07T10:00 3",
            "2026-03-07T10:00 2026-03-08T07:00 1",
        ),
        (
            ", late = \"each\"",
            "2026-03-02T09:00 2026-03-03T07:00 3",
            "2026-03-07T07:00 2026-03-08T07:00 1",
        ),
    ] {
        // GIVEN events in a window, and an instance that stops before it ends
        let spec = format!("{MORNING}{late}");
        let mut app = news(&spec, "").await;
        publish(&app, &schedule(&spec), &orders(3));
        // WHEN it is started five days later, and publishes another
        go_to(&app, "2026-03-07T10:00:00Z");
        digest(&mut app).await;
        publish(&app, &schedule(&spec), &orders(1));
        go_to(&app, "2026-03-08T07:00:00Z");
        digest(&mut app).await;
        // THEN the first window ends now, or when its time was, and the other does not reach back
        // further than that says
        assert_eq!(windows(&app), [window, next]);
        assert_in_order(&app);
        deliver_all(&app);
    }
}

#[tokio::test]
async fn windows_without_events_are_told_each_if_that_is_asked_for() {
    // GIVEN a daily window that is told also if it is empty, in the days round a change of the
    // clock
    let spec = format!("{MORNING}, late = \"each\", send_empty = true");
    let mut app = news(&spec, "").await;
    go_to(&app, "2026-03-27T10:00:00Z");
    digest(&mut app).await;
    publish(&app, &schedule(&spec), &orders(2));
    // WHEN nothing runs for three days
    go_to(&app, "2026-03-30T10:00:00Z");
    digest(&mut app).await;
    // THEN each window has ended at its hour
    let expected = [
        "2026-03-27T10:00 2026-03-28T07:00 2",
        "2026-03-28T07:00 2026-03-29T06:00 0",
        "2026-03-29T06:00 2026-03-30T06:00 0",
    ];
    assert_eq!(windows(&app), expected);
    assert_eq!(digests(&app)[3..], ["open 0"]);
    // AND with nobody late, windows are as they are otherwise
    go_to(&app, "2026-03-31T06:00:00Z");
    digest(&mut app).await;
    assert_eq!(windows(&app)[3..], ["2026-03-30T06:00 2026-03-31T06:00 0"]);
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn while_events_are_published_windows_pass_at_their_times_though_nobody_closes_them() {
    // GIVEN an instance that publishes, and none that closes windows
    for (empty, expected) in [
        (
            "",
            &[
                "2026-03-02T09:00 2026-03-03T07:00 1",
                "2026-03-04T07:00 2026-03-05T07:00 2",
                "2026-03-07T07:00 2026-03-08T07:00 3",
            ][..],
        ),
        (
            ", send_empty = true",
            &[
                "2026-03-02T09:00 2026-03-03T07:00 1",
                "2026-03-03T07:00 2026-03-04T07:00 0",
                "2026-03-04T07:00 2026-03-05T07:00 2",
                "2026-03-05T07:00 2026-03-06T07:00 0",
                "2026-03-06T07:00 2026-03-07T07:00 0",
                "2026-03-07T07:00 2026-03-08T07:00 3",
            ][..],
        ),
    ] {
        let spec = format!("{MORNING}, late = \"each\"{empty}");
        let mut app = news(&spec, "").await;
        // WHEN it publishes now and then
        let made = schedule(&spec);
        publish(&app, &made, &orders(1));
        go_to(&app, "2026-03-04T10:00:00Z");
        publish(&app, &made, &orders(1));
        publish(&app, &made, &orders(1));
        go_to(&app, "2026-03-07T23:00:00Z");
        publish(&app, &made, &orders(3));
        // THEN each event is told in the window in which it was published
        go_to(&app, "2026-03-08T07:00:00Z");
        digest(&mut app).await;
        assert_eq!(windows(&app), expected);
        assert_in_order(&app);
        if !empty.is_empty() {
            assert_exact(&app);
        }
        deliver_all(&app);
    }
}

#[tokio::test]
async fn with_max_wait_a_window_ends_when_its_first_event_has_waited() {
    // GIVEN a window that would end by an event's waiting
    let spec = "cron = \"0 8 * * *\", max_wait = \"1h\", late = \"each\", send_empty = true";
    let mut app = news(spec, "").await;
    publish(&app, &schedule(spec), &orders(1));
    // WHEN somebody comes a day and a half later THEN it has ended then, and the rest of the day is
    // the next
    go_to(&app, "2026-03-03T20:00:00Z");
    digest(&mut app).await;
    let expected = [
        "2026-03-02T09:00 2026-03-02T10:00 1",
        "2026-03-02T10:00 2026-03-03T08:00 0",
    ];
    assert_eq!(windows(&app), expected);
    assert_exact(&app);
    deliver_all(&app);
}

#[tokio::test]
async fn only_so_many_windows_are_told_and_the_last_has_the_rest_of_the_time() {
    // GIVEN a window every second
    let spec = "cron = \"* * * * * *\", late = \"each\", send_empty = true";
    let mut app = news(spec, "").await;
    digest(&mut app).await;
    // WHEN nothing runs for a day
    advance(&mut app, TimeDelta::days(1)).await;
    // THEN besides the one that was open there are as many as there may be, and no time is left out
    let windows = windows(&app);
    assert_eq!(windows.len(), 1 + LATE_WINDOWS_MAX);
    assert_eq!(
        windows.last().unwrap(),
        "2026-03-02T09:01 2026-03-03T09:00 0"
    );
    assert_exact(&app);
    deliver_all(&app);
}
