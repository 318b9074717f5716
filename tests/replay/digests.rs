//! A part of a digest that is sent again is what is stored.

use serde_json::json;

use crate::{
    house::{account, done, is_replay, mirrored_to, replay, run_replays},
    support::receiver::{Answer, Receiver},
};

#[tokio::test]
async fn a_dead_part_is_sent_again_to_the_byte() {
    // GIVEN a digest that was given up
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(500)]);
    let batch = "mode = \"batch\"\nschedule = { max_items = 2 }\nretry = { schedule = [\"0s\"] }";
    let mut app = mirrored_to(&receiver, batch).await;
    app.sql("insert into orders values (1), (2)");
    app.run_until_idle().await;
    let before = account(&app);
    assert_eq!((before.dead, before.adds_up()), (2, true));
    // WHEN the digests are replayed that tell of another object THEN it is none of them
    let mut body = json!({"subscription": "mirror", "object_type": "sales.order", "key": "9"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    run_replays(&mut app).await;
    assert_eq!(replay(&app, &asked["id"]).await["found"], 0);
    // WHEN those are that tell of its object THEN it is sent again, and stays dead in the account
    body["key"] = "2".into();
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    run_replays(&mut app).await;
    assert_eq!(replay(&app, &asked["id"]).await["sent"], 1);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(
        (&received[0].id, &received[0].body),
        (&received[1].id, &received[1].body)
    );
    assert!(is_replay(&received[1]) && received[0].id.ends_with(".1"));
    assert_eq!(account(&app), before);
}
