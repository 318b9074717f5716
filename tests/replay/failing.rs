//! A replay on which working fails is put aside: the others go on, and it is tried again.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    house::{done, mirrored_to, replay, replays, run_replays},
    support::{app::TestApp, receiver::Receiver},
};

/// Has the statements that write items of this replay fail.
fn break_items(app: &TestApp, replay: &Value, event: &str) {
    app.sql(&format!(
        "create function public.broken() returns trigger language plpgsql as \
             $$ begin raise 'the disk is full'; end $$; \
         create trigger broken before {event} on rowcall.replay_item \
             for each row when (new.replay_id = '{}') execute function public.broken()",
        replay.as_str().unwrap()
    ));
}

fn mend_items(app: &TestApp) {
    app.sql("drop trigger broken on rowcall.replay_item; drop function public.broken()");
}

#[tokio::test]
async fn the_others_go_on_when_the_search_or_the_claim_of_one_fails() {
    for event in ["insert", "update"] {
        // GIVEN two replays, of which the first can't be searched for, or can't be claimed
        let receiver = Receiver::start().await;
        let mut app = mirrored_to(&receiver, "").await;
        app.sql("insert into orders values (1), (2)");
        app.run_until_idle().await;
        let body = json!({"subscription": "mirror", "state": "delivered"});
        let poisoned = done(&app, "POST", "/v1/replays", &body).await;
        let other = done(&app, "POST", "/v1/replays", &body).await;
        break_items(&app, &poisoned["id"], event);
        // WHEN the stage works
        app.run_until_idle().await;
        app.advance(TimeDelta::seconds(2)).await;
        // THEN the other is done
        assert_eq!(replay(&app, &other["id"]).await["state"], "done", "{event}");
        assert_eq!(receiver.received().len(), 4, "{event}");
        let waits = replay(&app, &poisoned["id"]).await;
        let expected = ["searching", "sending"][usize::from(event == "update")];
        assert_eq!(waits["state"], expected);
        // AND when nothing is wrong with the first any more, it is done a minute later
        mend_items(&app);
        app.clock.advance(TimeDelta::seconds(57));
        app.run_until_idle().await;
        assert_eq!(replay(&app, &poisoned["id"]).await["state"], expected);
        run_replays(&mut app).await;
        assert_eq!(replay(&app, &poisoned["id"]).await["sent"], 2, "{event}");
    }
}

#[tokio::test]
async fn of_a_search_that_ends_in_vain_nothing_is_left() {
    // GIVEN a replay that found something, and then can't be read, by an older program for instance
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders select g from generate_series(1, 40) g");
    app.run_until_idle().await;
    while receiver.received().len() < 40 {
        app.advance(TimeDelta::seconds(1)).await;
    }
    let body = json!({"subscription": "mirror", "state": "delivered", "filter": "row.id > 0"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    let id = asked["id"].as_str().unwrap();
    // WHEN it is as a chunk of the search leaves it
    app.sql(&format!(
        "insert into rowcall.replay_item (id, replay_id, delivery_id, due_at) \
             select gen_random_uuid(), '{id}', id, now() from rowcall.delivery order by id limit 5; \
         update rowcall.replay set found = 5, looked_at = ( \
             select id from rowcall.delivery order by id offset 4 limit 1); \
         update rowcall.replay set selection = '{{\"state\": \"lost\"}}'"
    ));
    replays(&mut app).await;
    // THEN it has failed, and says what became of what it had found
    app.sql("update rowcall.replay set selection = '{\"state\": \"delivered\"}'");
    let ended = replay(&app, &asked["id"]).await;
    assert_eq!(ended["state"], "failed");
    assert!(
        ended["reason"].to_string().contains("can't read"),
        "{ended}"
    );
    let counts = ["found", "cancelled", "queued", "sent"].map(|name| ended[name].as_i64().unwrap());
    assert_eq!(counts, [5, 5, 0, 0]);
    // AND no delivery is told to wait in it
    assert_eq!(app.count("select count(*) from rowcall.replay_item"), 0);
    assert_eq!(receiver.received().len(), 40);
}
