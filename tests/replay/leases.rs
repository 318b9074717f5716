//! A replay whose sender is gone goes on; a late answer writes nothing.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    house::{account, books, done, ids, mirrored_to, replay, replays, run_replays},
    support::receiver::{Answer, Gate, Receiver},
};

const SOON: Duration = Duration::from_secs(10);
/// Longer than the lease of tests.
const LEASE: TimeDelta = TimeDelta::seconds(11);

#[tokio::test]
async fn what_a_lost_instance_was_sending_again_is_sent_by_another() {
    // GIVEN an instance that is gone while it sends two deliveries again
    let receiver = Receiver::start().await;
    let mut lost = mirrored_to(&receiver, "").await;
    lost.sql("insert into orders values (1), (2)");
    lost.run_until_idle().await;
    let (before, told) = (account(&lost), books(&lost));
    receiver.script([Answer::HangAfterAccept, Answer::HangAfterAccept]);
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let asked = done(&lost, "POST", "/v1/replays", &body).await;
    replays(&mut lost).await;
    replays(&mut lost).await;
    receiver.wait_for(4, SOON).await;
    let mut other = lost.sibling().await;
    drop(lost);
    // WHEN its leases hold THEN nobody else sends them
    replays(&mut other).await;
    assert_eq!(receiver.received().len(), 4);
    // WHEN they have ended THEN another does
    other.clock.advance(LEASE);
    run_replays(&mut other).await;
    let ended = replay(&other, &asked["id"]).await;
    assert_eq!(
        (&ended["state"], &ended["sent"]),
        (&"done".into(), &2.into())
    );
    assert_eq!(receiver.received().len(), 6);
    assert_eq!((account(&other), books(&other)), (before, told));
}

#[tokio::test]
async fn a_holder_that_wakes_after_its_lease_writes_nothing() {
    for late in [200, 503, 410] {
        // GIVEN a request under way when its holder's lease ends, and another that sends it
        let receiver = Receiver::start().await;
        let mut holder = mirrored_to(&receiver, "").await;
        let mut other = holder.sibling().await;
        holder.sql("insert into orders values (1)");
        holder.run_until_idle().await;
        let gate = Gate::default();
        receiver.script([Answer::Held(gate.clone(), late)]);
        let path = format!("/v1/deliveries/{}/replay", ids(&holder, "delivered")[0]);
        let asked = done(&holder, "POST", &path, &Value::Null).await;
        replays(&mut holder).await;
        receiver.wait_for(2, SOON).await;
        other.clock.advance(LEASE);
        run_replays(&mut other).await;
        // WHEN the holder gets its answer
        gate.open();
        holder.run_until_idle().await;
        // THEN nothing is changed by it
        let ended = replay(&other, &asked["id"]).await;
        assert_eq!(
            (&ended["state"], &ended["sent"]),
            (&"done".into(), &1.into())
        );
        let attempts = "select outcome || status from rowcall.replay_attempt";
        assert_eq!(other.texts(attempts), ["delivered200"]);
        assert_eq!(
            other.texts("select state from rowcall.subscription"),
            ["active"]
        );
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_the_subscription_and_the_replay_waits() {
    // GIVEN a delivered event, and a receiver that wants no more
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    receiver.script([Answer::Status(410)]);
    // WHEN it is sent again
    let path = format!("/v1/deliveries/{}/replay", ids(&app, "delivered")[0]);
    let asked = done(&app, "POST", &path, &Value::Null).await;
    app.run_until_idle().await;
    // THEN the subscription is disabled, and the replay waits until it is resumed
    assert_eq!(
        app.texts("select state from rowcall.subscription"),
        ["disabled"]
    );
    assert_eq!(replay(&app, &asked["id"]).await["queued"], 1);
    let id = app.texts("select id from rowcall.subscription")[0].clone();
    done(
        &app,
        "PATCH",
        &format!("/v1/subscriptions/{id}"),
        &json!({"state": "active"}),
    )
    .await;
    run_replays(&mut app).await;
    assert_eq!(replay(&app, &asked["id"]).await["sent"], 1);
}
