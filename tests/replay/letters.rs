//! Dead letters: listed in pages, shown with what the receiver answered, to those who may see it.

use rowcall::auth::Role;
use serde_json::{Value, json};

use crate::{
    house::{
        ONE_ATTEMPT, ask, ask_as, assert_problem, deliveries, done, ids, key, mirrored_to, publish,
    },
    support::{
        app::SIGNING_SECRET,
        receiver::{Answer, Receiver},
    },
};

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer::StatusWith {
        status,
        headers: Vec::new(),
        body: body.to_vec(),
    }
}

#[tokio::test]
async fn dead_letters_come_in_pages() {
    // GIVEN five dead deliveries, one delivered, and one that waits
    let receiver = Receiver::start().await;
    receiver.script((0..5).map(|_| Answer::Status(500)));
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    for id in 1..=6 {
        app.sql(&format!("insert into orders values ({id})"));
        app.run_until_idle().await;
    }
    app.instance.outbox.close();
    app.sql("insert into orders values (7)");
    publish(&mut app).await;
    assert_eq!(
        deliveries(&app)[4..],
        ["dead/1", "delivered/1", "pending/0"]
    );
    let subscription = app.texts("select id from rowcall.subscription")[0].clone();
    // WHEN they are listed by two THEN each is on one page
    let mut listed = Vec::new();
    let mut path = format!("/v1/deliveries?state=dead&subscription={subscription}&limit=2");
    loop {
        let page = done(&app, "GET", &path, &Value::Null).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        for item in items {
            assert_eq!(item["subscription"]["name"], "mirror");
            assert_eq!(item["event_type"], "sales.order.created");
            assert_eq!(
                (&item["tried"], &item["last_status"]),
                (&1.into(), &500.into())
            );
            listed.push(item["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/deliveries?state=dead&limit=2&cursor={next}");
    }
    assert!(listed.is_sorted());
    let mut dead = ids(&app, "dead");
    dead.sort();
    assert_eq!(listed, dead);
    // AND all states can be asked for, and nothing else
    let all = done(&app, "GET", "/v1/deliveries", &Value::Null).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 7);
    let refused = ask(&app, "GET", "/v1/deliveries?state=daed", &Value::Null).await;
    assert_problem(&refused, "invalid-parameter", &["did you mean `dead`"]);
    app.sql("delete from rowcall.delivery where state = 'pending'");
}

#[tokio::test]
async fn an_answer_is_shown_to_those_who_may_change_the_subscription() {
    // GIVEN a subscription of a key, whose receiver answers with what it should not
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, ONE_ATTEMPT).await;
    app.sql("update rowcall.subscription set state = 'deleted'");
    let (owner, other) = (key(&app, Role::Subscriber), key(&app, Role::Subscriber));
    let spec = json!({"name": "own", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": receiver.url(), "secret": SIGNING_SECRET},
        "retry": {"schedule": ["0s"]}});
    let (status, made) = ask_as(&app, &owner, "POST", "/v1/subscriptions", &spec).await;
    assert_eq!(status, 201, "{made}");
    let mut told = format!("no\0 such order\u{1b} {SIGNING_SECRET} ").into_bytes();
    told.extend([0xff, 0xfe]);
    told.extend("\u{e9}".repeat(3_000).into_bytes());
    receiver.script([answer(422, &told)]);
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    let path = format!("/v1/deliveries/{}", ids(&app, "dead")[0]);
    // WHEN the owner and an admin look THEN they see how it begins, without the secret
    let (_, seen) = ask_as(&app, &owner, "GET", &path, &Value::Null).await;
    let shown = seen["attempts"][0]["answer"].as_str().unwrap();
    assert!(
        shown.starts_with("no such order whsec_*** \u{fffd}"),
        "{shown}"
    );
    assert_eq!(shown.chars().count(), 1_000);
    assert_eq!(done(&app, "GET", &path, &Value::Null).await, seen);
    // WHEN others look THEN they see the status only, or nothing
    for role in [Role::Viewer, Role::Publisher] {
        let (_, seen) = ask_as(&app, &key(&app, role), "GET", &path, &Value::Null).await;
        assert_eq!(seen["attempts"][0]["status"], 422, "{role}: {seen}");
        assert!(
            seen["attempts"][0].get("answer").is_none(),
            "{role}: {seen}"
        );
        let replay = format!("{path}/replay");
        let refused = ask_as(&app, &key(&app, role), "POST", &replay, &Value::Null).await;
        assert_problem(&refused, "forbidden", &["admin or subscriber"]);
    }
    for (method, path) in [
        ("GET", path.clone()),
        ("POST", format!("{path}/replay")),
        ("POST", format!("{path}/release")),
    ] {
        let hidden = ask_as(&app, &other, method, &path, &Value::Null).await;
        assert_problem(&hidden, "not-found", &[]);
    }
    let listed = ask_as(&app, &other, "GET", "/v1/deliveries", &Value::Null)
        .await
        .1;
    assert_eq!(listed["items"], json!([]));
    // AND a replay is the owner's: another's key sees none
    let (status, asked) = ask_as(
        &app,
        &owner,
        "POST",
        &format!("{path}/replay"),
        &Value::Null,
    )
    .await;
    assert_eq!(status, 202, "{asked}");
    let replay = format!("/v1/replays/{}", asked["id"].as_str().unwrap());
    for method in ["GET", "DELETE"] {
        let hidden = ask_as(&app, &other, method, &replay, &Value::Null).await;
        assert_problem(&hidden, "not-found", &[]);
    }
    let body = json!({"subscription": "own"});
    let refused = ask_as(&app, &other, "POST", "/v1/replays", &body).await;
    assert_problem(&refused, "invalid-body", &["/subscription"]);
    app.run_until_idle().await;
    // AND an acknowledgement's body is kept by nobody
    assert_eq!(
        app.count("select count(answer) from rowcall.replay_attempt"),
        0
    );
}
