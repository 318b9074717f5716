//! Digests of subscriptions that are paused, deleted, or turned to another mode.

use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusBuilder;
use rowcall::{
    stage::Stage as _,
    subscription::state::{subscription_disable, subscription_pause, subscription_resume},
};

use crate::{
    gathering::assert_exact,
    harness::{
        advance, bodies, deliver_all, digest, digests, news, news_id, orders, parts, publish,
        schedule,
    },
    support::app::TestApp,
};

const WAIT: &str = "max_wait = \"1h\"";

/// Takes the subscription out of the folder.
async fn delete(app: &TestApp) {
    app.apply("[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\nkey = [\"id\"]")
        .await;
}

#[tokio::test]
async fn a_paused_subscription_gets_its_digests_when_it_is_resumed() {
    // GIVEN a paused subscription with an open digest
    let mut app = news(WAIT, "").await;
    publish(&app, &schedule(WAIT), &orders(2));
    let (id, now) = (news_id(&app), app.clock.now());
    subscription_pause(&mut app.connect(), id, now).unwrap();
    // WHEN the window closes, and another
    advance(&mut app, TimeDelta::hours(1)).await;
    publish(&app, &schedule(WAIT), &orders(1));
    advance(&mut app, TimeDelta::hours(1)).await;
    // THEN the digests are kept, and leave in order when it is resumed
    assert_eq!(parts(&app), ["1.1 pending parked", "2.1 pending blocked"]);
    subscription_resume(&mut app.connect(), id, app.clock.now()).unwrap();
    assert_eq!(parts(&app), ["1.1 pending due", "2.1 pending blocked"]);
    deliver_all(&app);
    assert_eq!(bodies(&app).len(), 2);
}

#[tokio::test]
async fn of_a_disabled_subscription_digests_that_are_too_old_are_cancelled_and_all_is_counted() {
    // GIVEN a disabled subscription with a digest, and another one ten days later
    let mut app = news("max_items = 2", "").await;
    let two = schedule("max_items = 2");
    let (id, now) = (news_id(&app), app.clock.now());
    subscription_disable(&mut app.connect(), id, "a test", None, now).unwrap();
    publish(&app, &two, &orders(2));
    digest(&mut app).await;
    app.clock.advance(TimeDelta::days(10));
    publish(&app, &two, &orders(2));
    digest(&mut app).await;
    assert_eq!(parts(&app), ["1.1 pending parked", "2.1 pending blocked"]);
    // WHEN the first is older than is kept
    app.clock
        .advance(TimeDelta::days(4) + TimeDelta::seconds(1));
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    // THEN it is cancelled, and the second waits as the first of what is kept
    assert_eq!(parts(&app), ["1.1 cancelled blocked", "2.1 pending parked"]);
    assert_exact(&app);
    subscription_resume(&mut app.connect(), id, now).unwrap();
    deliver_all(&app);
    // That it was disabled is an event that nobody asked for.
    app.instance.publish.run_once(now).await.unwrap();
}

#[tokio::test]
async fn a_deleted_subscriptions_digests_are_cancelled_in_every_state() {
    // GIVEN digests that are condensed, closed and open
    let mut app = news("max_items = 2", "").await;
    let two = schedule("max_items = 2");
    publish(&app, &two, &orders(2));
    digest(&mut app).await;
    publish(&app, &two, &orders(3));
    assert_eq!(
        digests(&app),
        ["condensed 2 max_items", "closed 2 max_items", "open 1"]
    );
    // WHEN the subscription is deleted
    delete(&app).await;
    digest(&mut app).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    // THEN nothing of them is sent
    assert_eq!(
        digests(&app),
        [
            "condensed 2 max_items",
            "cancelled 2 max_items",
            "cancelled 1 ended"
        ]
    );
    let states = app.texts("select state from rowcall.delivery");
    assert_eq!(states, ["cancelled"]);
    assert_exact(&app);
}

#[tokio::test]
async fn a_subscription_that_is_no_batch_any_more_gets_what_was_gathered() {
    // GIVEN an open digest that would wait for a year
    let cron = "cron = \"0 0 1 1 *\"";
    let mut app = news(cron, "").await;
    publish(&app, &schedule(cron), &orders(2));
    digest(&mut app).await;
    // WHEN the mode becomes another
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
         key = [\"id\"]\n[subscription.news]\nobject_types = [\"sales.order\"]\n\
         mode = \"synchronous\"\nsink = { kind = \"webhook\", url = \"http://127.0.0.1:9/\", \
         secret = { env = \"SIGNING_SECRET\" } }",
    )
    .await;
    digest(&mut app).await;
    // THEN the digest leaves at once
    assert_eq!(digests(&app), ["condensed 2 ended"]);
    assert_eq!(bodies(&app)[0]["data"]["count"], 2);
    deliver_all(&app);
}

#[tokio::test]
async fn a_digest_that_can_not_be_condensed_stops_no_other_subscription() {
    // GIVEN two subscriptions with closed digests, of which one fails: the first that was closed
    let mut app = news("max_items = 1", "").await;
    let one = schedule("max_items = 1");
    publish(&app, &one, &orders(2));
    let poisoned = app.texts("select id from rowcall.digest where number = 1");
    app.sql(&format!(
        "alter table rowcall.digest_part add constraint poison \
         check (digest_id <> '{}')",
        poisoned[0]
    ));
    app.sql(
        "insert into rowcall.subscription (id, name, origin, state, mode, definition, \
             object_key_texts, secret, created_at, updated_at) \
         select '00000000-0000-7000-8000-000000000001', 'other', origin, state, mode, definition, \
             object_key_texts, secret, created_at, updated_at from rowcall.subscription; \
         insert into rowcall.subscription_sequence (subscription_id) \
             values ('00000000-0000-7000-8000-000000000001'); \
         insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, \
             closed_by, first_at, events) \
         select '00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 1, \
             'closed', now() + interval '1 year', now() + interval '1 year', 'max_items', now(), 1; \
         insert into rowcall.digest_member \
         select '00000000-0000-7000-8000-000000000002', position, event_id, \
             '00000000-0000-7000-8000-000000000001', event_type, object_type, object_key, \
             previous_key, \"time\" from rowcall.digest_member limit 1; \
         update rowcall.registry set revision = revision + 1",
    );
    // WHEN the stage runs THEN the other subscription's digest is condensed, and of the poisoned
    // one's nothing overtakes
    digest(&mut app).await;
    let states = app.texts(
        "select s.name || ' ' || d.number || ' ' || d.state from rowcall.digest d \
         join rowcall.subscription s on s.id = d.subscription_id order by s.name, d.number",
    );
    assert_eq!(
        states,
        ["news 1 closed", "news 2 closed", "other 1 condensed"]
    );
    // AND operators see for how long it waits, and when it waits no more
    let recorder = PrometheusBuilder::new().build_recorder();
    let told = recorder.handle();
    let waits = || {
        let rendered = told.render();
        let mut lines = rendered.lines();
        let line = lines.find(|line| line.starts_with("rowcall_digest_oldest_closed_seconds "));
        line.unwrap().to_owned()
    };
    {
        let _recording = metrics::set_default_local_recorder(&recorder);
        advance(&mut app, TimeDelta::seconds(7)).await;
    }
    assert_eq!(waits(), "rowcall_digest_oldest_closed_seconds 7");
    app.sql("alter table rowcall.digest_part drop constraint poison");
    let mut sibling = app.sibling().await;
    {
        let _recording = metrics::set_default_local_recorder(&recorder);
        digest(&mut sibling).await;
    }
    assert_eq!(waits(), "rowcall_digest_oldest_closed_seconds 0");
    drop(sibling);
    deliver_all(&app);
}
