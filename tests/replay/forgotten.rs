//! Replays are forgotten a month after their end, a part of one in each transaction.

use chrono::TimeDelta;
use serde_json::json;

use crate::{
    house::{ask, books, done, mirrored_to, replay, replays, run_replays},
    support::receiver::Receiver,
};

/// More items than one transaction forgets.
const ITEMS: i64 = 2_500;

#[tokio::test]
async fn one_that_ended_long_ago_is_forgotten_with_all_of_it_and_nothing_else() {
    // GIVEN a replay that is done, a large one that was cancelled, and one that goes on
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let small = done(&app, "POST", "/v1/replays", &body).await;
    run_replays(&mut app).await;
    app.advance(TimeDelta::minutes(1)).await;
    let large = done(&app, "POST", "/v1/replays", &body).await;
    let large_id = large["id"].as_str().unwrap();
    done(
        &app,
        "DELETE",
        &format!("/v1/replays/{large_id}"),
        &json!({}),
    )
    .await;
    app.sql(&format!(
        "insert into rowcall.event (id, source, position, type, \"time\", published_at, change_seq, \
             xid, body) \
         select md5(n::text)::uuid, 'default', -n, 't', now(), now(), -n, '1', '{{}}' \
         from generate_series(1, {ITEMS}) n; \
         insert into rowcall.delivery (id, subscription_id, event_id, position, state, created_at, \
             settled_at) \
         select md5('d' || n)::uuid, s.id, md5(n::text)::uuid, -n, 'suppressed', now(), now() \
         from generate_series(1, {ITEMS}) n, rowcall.subscription s; \
         insert into rowcall.replay_item (id, replay_id, delivery_id, state, settled_at) \
         select gen_random_uuid(), '{large_id}', d.id, 'cancelled', now() \
         from rowcall.delivery d where d.state = 'suppressed'"
    ));
    let before = books(&app);
    // WHEN 29 days have gone by THEN all are told of
    app.advance(TimeDelta::days(29)).await;
    let running = done(&app, "POST", "/v1/replays", &body).await;
    let count = "select count(*) from rowcall.replay";
    assert_eq!(app.count(count), 3);
    // WHEN it is a day more, and the stage works THEN no transaction forgets more than its part
    app.clock
        .advance(TimeDelta::days(1) + TimeDelta::minutes(30));
    // One that has not looked a short time ago.
    let mut app = app.sibling().await;
    let items = "select count(*) from rowcall.replay_item";
    let mut left = app.count(items);
    while app.count(count) > 1 {
        replays(&mut app).await;
        let now = app.count(items);
        assert!(left - now <= 2_000, "{} at once", left - now);
        left = now;
    }
    // AND what is not old is there, and so is every delivery
    run_replays(&mut app).await;
    assert_eq!(replay(&app, &running["id"]).await["sent"], 2);
    for old in [small, large] {
        let path = format!("/v1/replays/{}", old["id"].as_str().unwrap());
        assert_eq!(ask(&app, "GET", &path, &json!(null)).await.0, 404);
    }
    assert_eq!(app.count("select count(*) from rowcall.replay_attempt"), 2);
    assert_eq!(books(&app), before);
}
