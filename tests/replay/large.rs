//! A large replay goes through restarts, and forgets nothing.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use rowcall::config::Limits;
use serde_json::json;

use crate::{
    house::{account, books, done, is_replay, mirrored_with, replay, replays, run_replays},
    support::{app::Options, receiver::Receiver},
};

const DELIVERIES: usize = 2_000;
const SOON: Duration = Duration::from_secs(20);

fn fast() -> Options {
    Options {
        limits: Limits {
            replay_sends_per_second_max: 2_000,
            ..Limits::for_testing()
        },
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_is_sent_again_through_restarts() {
    // GIVEN 2,000 delivered events
    let receiver = Receiver::start().await;
    let mut app = mirrored_with(&receiver, "", fast()).await;
    app.sql(&format!(
        "insert into orders select g from generate_series(1, {DELIVERIES}) g"
    ));
    app.run_until_idle().await;
    while receiver.received().len() < DELIVERIES {
        // What found its host's share of memory full is due a little later.
        app.advance(TimeDelta::seconds(1)).await;
    }
    let first = receiver.received();
    assert_eq!(first.len(), DELIVERIES);
    let (before, told) = (account(&app), books(&app));
    // WHEN all are replayed, and the instance is lost while it searches
    let body = json!({"subscription": "mirror", "state": "delivered", "filter": "row.id > 0"});
    let asked = done(&app, "POST", "/v1/replays", &body).await;
    replays(&mut app).await;
    let searching = replay(&app, &asked["id"]).await;
    assert_eq!(searching["state"], "searching");
    assert!((1..DELIVERIES as i64).contains(&searching["found"].as_i64().unwrap()));
    app = app.sibling_with(fast()).await;
    // AND twice while it sends
    for part in [300, 1_100] {
        let mut now = app.clock.now();
        while receiver.received().len() < DELIVERIES + part {
            replays(&mut app).await;
            app.clock.advance(TimeDelta::milliseconds(10));
            tokio::task::yield_now().await;
            assert!(
                app.clock.now() - now < TimeDelta::hours(1),
                "nothing is sent any more"
            );
        }
        // Whatever is under way is lost with it.
        app = app.sibling_with(fast()).await;
        now = app.clock.now();
        app.clock.advance(TimeDelta::seconds(11));
        assert!(app.clock.now() > now);
    }
    run_replays(&mut app).await;
    receiver.wait_for(2 * DELIVERIES, SOON).await;
    // THEN each was sent again at least once, with the same id, body and number
    let received = receiver.received();
    let mut again: HashMap<&str, usize> = HashMap::new();
    let bodies: HashMap<&str, &[u8]> = first
        .iter()
        .map(|request| (&*request.id, &*request.body))
        .collect();
    for request in &received[DELIVERIES..] {
        assert!(is_replay(request));
        assert_eq!(
            bodies[&*request.id], request.body,
            "another body, or another sequence"
        );
        *again.entry(&request.id).or_default() += 1;
    }
    assert_eq!(again.len(), DELIVERIES, "forgotten");
    // AND only what was under way at a restart was sent twice
    let repeated = received.len() - 2 * DELIVERIES;
    assert!(repeated <= 2 * 16, "{repeated} were sent twice");
    // AND the replay and the account say so
    let ended = replay(&app, &asked["id"]).await;
    let counts = ["found", "sent", "failed", "queued", "gone"];
    let counts = counts.map(|name| ended[name].as_u64().unwrap() as usize);
    assert_eq!(
        (&ended["state"], counts),
        (&"done".into(), [DELIVERIES, DELIVERIES, 0, 0, 0])
    );
    assert_eq!((account(&app), books(&app)), (before, told));
}
