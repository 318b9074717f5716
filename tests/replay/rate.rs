//! What is sent again counts by the rate that the subscription asked for, as all that it is sent.

use chrono::TimeDelta;
use serde_json::json;

use crate::{
    house::{done, is_replay, mirrored_to, replay, run_replays},
    support::receiver::Receiver,
};

const TENTHS: usize = 40;

#[tokio::test]
async fn a_replay_takes_from_the_subscriptions_own_rate() {
    // GIVEN twenty delivered events of a receiver that wants ten requests a second
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "rate = \"10/s\"").await;
    app.sql("insert into orders select g from generate_series(1, 20) g");
    app.run_until_idle().await;
    while receiver.received().len() < 20 {
        app.advance(TimeDelta::milliseconds(100)).await;
    }
    app.advance(TimeDelta::seconds(10)).await;
    // WHEN they are replayed as fast as may be, and new ones are written meanwhile
    let body = json!({"subscription": "mirror", "state": "delivered"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    assert_eq!(asked["rate"], "50/s");
    app.sql("insert into orders select g from generate_series(21, 30) g");
    let mut counts = vec![20];
    for _ in 0..TENTHS {
        app.run_until_idle().await;
        counts.push(receiver.received().len());
        app.clock.advance(TimeDelta::milliseconds(100));
    }
    // THEN no second sees more than ten, and the one that the bucket holds
    for (from, to) in counts.iter().zip(&counts[10..]) {
        assert!(to - from <= 11, "{counts:?}");
    }
    // AND all are sent, the new ones among them
    run_replays(&mut app).await;
    let received = receiver.received();
    assert_eq!(received.len(), 50, "{counts:?}");
    assert_eq!(
        received[20..].iter().filter(|one| is_replay(one)).count(),
        20
    );
    assert_eq!(replay(&app, &asked["id"]).await["sent"], 20);
}
