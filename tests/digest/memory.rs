//! Parts of digests are large, so they take more of the memory of whoever sends them.

use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::{config::Limits, deliver::claim::store::delivery_claim};
use uuid::Uuid;

use crate::{
    harness::{advance, news, news_id, orders, parts, publish, resubscribe_to, schedule},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

const WAIT: &str = "max_wait = \"1h\"";

/// A digest of 20 parts, of which each has 700,000 bytes: ten places of 64 KiB and a bit.
async fn large_parts(ordering: &str) -> TestApp {
    let mut app = news(WAIT, &format!("ordering = \"{ordering}\"")).await;
    publish(&app, &schedule(WAIT), &orders(1));
    advance(&mut app, TimeDelta::hours(1)).await;
    app.sql(
        "insert into rowcall.digest_part select digest_id, n, '' \
             from rowcall.digest_part, generate_series(2, 20) as n; \
         update rowcall.digest_part set body = repeat('x', 700000); \
         update rowcall.digest set parts = 20; \
         insert into rowcall.delivery (id, subscription_id, digest_id, part, lane, position, \
                 sequence, urgency, state, due_at, created_at) \
             select gen_random_uuid(), subscription_id, digest_id, n, lane, position + n, n, 2, \
                 'pending', case when lane is null then due_at end, created_at \
             from rowcall.delivery, generate_series(2, 20) as n",
    );
    app
}

/// How many parts are claimed for so many places, and whether there may be more.
fn claimed(app: &TestApp, places: usize) -> (usize, bool) {
    let now = app.clock.now();
    app.connect()
        .transaction(|connection| {
            let found = delivery_claim(connection, Uuid::new_v4(), places, now, now, now)?;
            Ok::<_, diesel::result::Error>((found.claimed.len(), found.is_full))
        })
        .unwrap()
}

fn forget(app: &TestApp) {
    app.sql(
        "delete from rowcall.delivery; update rowcall.digest set state = 'cancelled', parts = null",
    );
}

#[tokio::test]
async fn no_more_parts_are_claimed_than_there_are_places_for_their_bytes() {
    // GIVEN parts that wait for nobody
    let app = large_parts("none").await;
    // WHEN there are places for a hundred events THEN there are some for ten parts, and the last
    // may be larger than what is left
    assert_eq!(claimed(&app, 99), (9, true));
    assert_eq!(claimed(&app, 100), (10, true));
    // AND the rest is there for the next who asks
    assert_eq!(claimed(&app, 1_000), (1, false));
    forget(&app);
    // WHEN they are ordered THEN those that follow the first are weighed, too
    for (places, count) in [(1, 1), (21, 1), (22, 2), (43, 3), (1_000, 8)] {
        let app = large_parts("key").await;
        assert_eq!(claimed(&app, places).0, count, "{places} places");
        forget(&app);
    }
}

#[tokio::test]
async fn a_part_that_is_larger_than_all_places_is_sent_and_they_are_free_again() {
    // GIVEN an instance with room for twenty events, and a digest one of whose parts takes more
    let receiver = Receiver::start().await;
    let limits = Limits {
        deliveries_in_memory_max: 20,
        digest_part_items_max: 1,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with("create table orders (id int primary key)", options).await;
    let more = "ordering = \"none\"\ncondense = \"none\"";
    resubscribe_to(&app, WAIT, more, receiver.url()).await;
    publish(&app, &schedule(WAIT), &orders(5));
    advance(&mut app, TimeDelta::hours(1)).await;
    app.sql(
        "update rowcall.digest_part set body = replace(body, '\"note\":\"new\"', \
             '\"note\":\"' || repeat('x', 1500000) || '\"') where part = 3",
    );
    // WHEN it is sent, and sent again where a busy machine took too long
    app.run_until_idle().await;
    app.advance(TimeDelta::minutes(10)).await;
    app.advance(TimeDelta::hours(10)).await;
    // THEN every part arrives, and nothing is held any more
    let told = parts(&app);
    assert!(
        told.iter().all(|part| part.contains("delivered")),
        "{told:?}"
    );
    let received = receiver.received();
    assert!(received.iter().any(|part| part.body.len() > 1_500_000));
    assert_eq!(app.instance.outbox.in_memory(), 0);
    assert_eq!(
        app.count(&format!(
            "select count(*) from rowcall.digest_member \
        where subscription_id = '{}'",
            news_id(&app)
        )),
        5
    );
}
