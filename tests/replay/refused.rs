//! What can't be sent again is refused, and says why.

use serde_json::{Value, json};

use crate::{
    house::{
        ONE_ATTEMPT, ask, assert_problem, done, ids, mirrored_to, mirrored_with, publish, replay,
        run_replays, subscribe,
    },
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Receiver},
    },
};
use rowcall::config::Limits;

fn path(app: &TestApp, state: &str) -> String {
    format!("/v1/deliveries/{}/replay", ids(app, state)[0])
}

#[tokio::test]
async fn only_what_is_settled_by_sending_is_sent_again() {
    // GIVEN deliveries in several states
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql("update orders set revision = 2");
    app.instance.outbox.close();
    publish(&mut app).await;
    // WHEN the replay of each is asked for THEN what waits is refused
    let refused = ask(&app, "POST", &path(&app, "pending"), &Value::Null).await;
    assert_problem(&refused, "not-replayable", &["it is pending", "by itself"]);
    app.sql(
        "update rowcall.delivery set state = 'withdrawn', due_at = null, settled_at = now() \
         where state = 'pending'",
    );
    let refused = ask(&app, "POST", &path(&app, "withdrawn"), &Value::Null).await;
    assert_problem(&refused, "not-replayable", &["it is withdrawn"]);
    let nobody = "/v1/deliveries/019c132c-2222-7000-8000-000000000001/replay";
    let refused = ask(&app, "POST", nobody, &Value::Null).await;
    assert_problem(&refused, "not-found", &[]);
    let refused = ask(&app, "POST", &path(&app, "dead"), &json!({"rate": "1/s"})).await;
    assert_problem(&refused, "invalid-body", &["leave the body out"]);
    // AND what retention has removed is told
    app.sql("delete from rowcall.event");
    let refused = ask(&app, "POST", &path(&app, "dead"), &Value::Null).await;
    assert_problem(&refused, "not-replayable", &["not kept any more"]);
}

#[tokio::test]
async fn a_subscription_that_gets_nothing_gets_no_replay() {
    // GIVEN a dead delivery of a subscription
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let id = app.texts("select id from rowcall.subscription")[0].clone();
    let all = json!({"subscription": "mirror"});
    // WHEN it is paused THEN a replay is refused, and says what to do
    for state in ["paused", "disabled"] {
        app.sql(&format!(
            "update rowcall.subscription set state = '{state}'"
        ));
        for (path, body) in [
            (path(&app, "dead"), &Value::Null),
            ("/v1/replays".into(), &all),
        ] {
            let refused = ask(&app, "POST", &path, body).await;
            assert_problem(&refused, "not-active", &[state, "resume it first"]);
        }
    }
    // WHEN its sink can't be reached any more THEN it is refused
    app.sql(
        "update rowcall.subscription set state = 'active', definition = replace( \
             definition::text, '127.0.0.1', '10.1.2.3')::json",
    );
    let refused = ask(&app, "POST", "/v1/replays", &all).await;
    assert_problem(&refused, "not-replayable", &["nothing can be sent"]);
    // WHEN it is deleted THEN there is nowhere to send
    app.sql(&format!(
        "update rowcall.subscription set state = 'deleted' where id = '{id}'"
    ));
    let refused = ask(&app, "POST", &path(&app, "dead"), &Value::Null).await;
    assert_problem(&refused, "not-replayable", &["was deleted"]);
    let refused = ask(&app, "POST", "/v1/replays", &all).await;
    assert_problem(&refused, "invalid-body", &["/subscription", "`mirror`"]);
}

#[tokio::test]
async fn a_selection_that_cannot_be_meant_is_refused_with_its_place() {
    let receiver = Receiver::start().await;
    let app = mirrored_to(&receiver, "").await;
    for (more, says) in [
        (
            json!({"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T08:00:00Z"}),
            vec!["/to", "later than `from`"],
        ),
        (
            json!({"from": "2027-01-01T00:00:00Z"}),
            vec!["/from", "in the future"],
        ),
        (json!({"from": "yesterday"}), vec!["/from", "RFC 3339"]),
        (json!({"key": "1"}), vec!["/key", "object type"]),
        (
            json!({"event_type": "sales.order.craeted"}),
            vec!["/event_type", "sales.order.created"],
        ),
        (
            json!({"event_type": "rowcall.digest"}),
            vec!["/event_type", "events that they tell of"],
        ),
        (
            json!({"event_type": "rowcall.capture.gaps"}),
            vec!["/event_type", "did you mean `rowcall.capture.gap`"],
        ),
        (
            json!({"object_type": "sales.ordr"}),
            vec!["/object_type", "sales.order"],
        ),
        (
            json!({"object_type": "sales\u{0}order"}),
            vec!["/object_type", "NUL"],
        ),
        (
            json!({"filter": "row.revison > 1"}),
            vec!["/filter", "revision"],
        ),
        (json!({"filter": "false"}), vec!["/filter", "never true"]),
        (json!({"state": "pending"}), vec!["/state", "`dead`"]),
        (
            json!({"rate": "100/s"}),
            vec!["/rate", "replay_sends_per_second_max"],
        ),
        (json!({"rate": "fast"}), vec!["/rate", "no rate"]),
        (json!({"form": "now"}), vec!["/form", "did you mean `from`"]),
        (json!({"subscription": 7}), vec!["/subscription"]),
    ] {
        let mut body = json!({"subscription": "mirror"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let refused = ask(&app, "POST", "/v1/replays", &body).await;
        assert_problem(&refused, "invalid-body", &says);
    }
    // A digest is no event.
    let batch = "mode = \"batch\"\nschedule = { max_items = 5 }";
    subscribe(&app, &receiver, batch).await;
    let body = json!({"subscription": "mirror", "filter": "row.revision > 1"});
    let refused = ask(&app, "POST", "/v1/replays", &body).await;
    assert_problem(&refused, "invalid-body", &["/filter", "no event"]);
}

#[tokio::test]
async fn so_many_may_be_under_way_and_no_more() {
    // GIVEN a hundred replays that wait
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    app.sql(
        "insert into rowcall.replay (id, subscription_id, asked_by, selection, rate, interval_us, \
             state, created_at, looked_at, looked_upto, paced_until, due_at) \
         select gen_random_uuid(), id, 'test', '{}', '1/s', 1000000, 'sending', now(), id, id, \
             'infinity', 'infinity' \
         from rowcall.subscription, generate_series(1, 100)",
    );
    // WHEN one more is asked for THEN it is refused, and says why
    let all = json!({"subscription": "mirror", "state": "delivered"});
    for (to, body) in [
        (path(&app, "delivered"), &Value::Null),
        ("/v1/replays".into(), &all),
    ] {
        let refused = ask(&app, "POST", &to, body).await;
        assert_problem(&refused, "not-replayable", &["100 replays are under way"]);
    }
    // until one of them has ended
    let one = app.texts("select id from rowcall.replay limit 1")[0].clone();
    done(&app, "DELETE", &format!("/v1/replays/{one}"), &Value::Null).await;
    let asked = done(&app, "POST", "/v1/replays", &all).await;
    app.run_until_idle().await;
    assert_eq!(replay(&app, &asked["id"]).await["found"], 1);
}

#[tokio::test]
async fn one_that_means_too_many_sends_none() {
    // GIVEN five delivered events, and a limit of four
    let receiver = Receiver::start().await;
    let limits = Limits {
        replay_deliveries_max: 4,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = mirrored_with(&receiver, "", options).await;
    app.sql("insert into orders select g from generate_series(1, 5) g");
    app.run_until_idle().await;
    // WHEN all are meant
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    run_replays(&mut app).await;
    // THEN it failed, says so, and has sent nothing
    let ended = replay(&app, &asked["id"]).await;
    assert_eq!(ended["state"], "failed");
    assert!(
        ended["reason"]
            .to_string()
            .contains("replay_deliveries_max"),
        "{ended}"
    );
    assert_eq!(receiver.received().len(), 5);
    // WHEN it is narrowed THEN it is done
    let body = json!({"subscription": "mirror", "state": "delivered", "filter": "row.id < 5"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    run_replays(&mut app).await;
    assert_eq!(replay(&app, &asked["id"]).await["sent"], 4);
}
